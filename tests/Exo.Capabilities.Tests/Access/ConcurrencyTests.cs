// SPDX-License-Identifier: MIT
namespace Exo.Capabilities.Tests.Access;

/// <summary>Checks race changes and revocations; every answer is counted and none is lost or wrong.</summary>
public sealed class ConcurrencyTests
{
    [Fact]
    public void Checks_race_changes_of_the_list()
    {
        CapabilityAuthority machine = CapabilityAuthority.Create();
        AccessControlList acl = new(CapabilityName.Create(1), authority: machine);
        Credential root = Credential.Of(machine.Root);
        Credential owner = Credential.Of(machine.Root.Forge(CapabilityName.Create(1), Rights.All));
        Credential sometimes = Credential.Of(machine.Root.Forge(CapabilityName.Create(2), Rights.Write));
        Credential never = Credential.Of(machine.Root.Forge(CapabilityName.Create(3), Rights.All));
        const int Checkers = 3;
        const int Rounds = 50_000;
        long ownerPassed = 0, sometimesAnswered = 0, neverPassed = 0, changed = 0;
        int running = Checkers;

        Parallel.Invoke(new ParallelOptions { MaxDegreeOfParallelism = -1 }, [.. Enumerable.Repeat(Checker, Checkers), Changer]);

        Assert.Equal(Checkers * Rounds, ownerPassed);
        Assert.Equal(Checkers * Rounds, sometimesAnswered);
        Assert.Equal(0, neverPassed);
        Assert.True(changed > 0);

        void Checker()
        {
            for (int i = 0; i < Rounds; i++)
            {
                Add(ref ownerPassed, acl.Check(owner, Rights.All) == AccessRefusal.None);
                Add(ref sometimesAnswered, acl.Check(sometimes, Rights.Write) is AccessRefusal.None or AccessRefusal.NotDominated);
                Add(ref neverPassed, acl.Check(never, Rights.Read) == AccessRefusal.None);
            }

            Interlocked.Decrement(ref running);
        }

        void Changer()
        {
            do
            {
                int index = 1 + (int)(changed % 7);
                AclEntry? entry = changed % 2 == 0 ? new AclEntry(CapabilityName.Create(2, 5), Rights.Write) : null;
                Assert.True(acl.TryModify(root, index, entry, out _));
                changed++;
            }
            while (Volatile.Read(ref running) > 0);
        }

        static void Add(ref long counter, bool happened)
        {
            if (happened)
            {
                Interlocked.Increment(ref counter);
            }
        }
    }

    [Fact]
    public void Nothing_forged_while_its_source_is_revoked_survives()
    {
        Capability root = CapabilityAuthority.Create().Root;
        Credential by = Credential.Of(root);
        const int Forgers = 3;
        const int Rounds = 300;
        const int Each = 20;
        int made = 0, refused = 0;
        for (int round = 0; round < Rounds; round++)
        {
            Capability source = root.Forge(CapabilityName.Create(1), Rights.All);
            Capability bystander = root.Forge(CapabilityName.Create(1), Rights.All);
            Capability?[] forged = new Capability?[Forgers * Each];
            Action[] work = [.. Enumerable.Range(0, Forgers).Select(forger => (Action)(() =>
            {
                Capability from = source;
                for (int i = 0; i < Each; i++)
                {
                    try
                    {
                        // Every other one from the one before: chains as well as fans.
                        Capability next = from.Forge(CapabilityName.Create(1), Rights.All);
                        forged[(forger * Each) + i] = next;
                        from = i % 2 == 0 ? next : source;
                    }
                    catch (AccessDeniedException denied) when (denied.Refusal == AccessRefusal.NoValidCapability)
                    {
                        Interlocked.Increment(ref refused);
                    }
                }
            })), () => source.Revoke(by)];
            Parallel.Invoke(work);

            made += forged.Count(c => c is not null);
            Assert.DoesNotContain(forged, c => c is { IsValid: true });
            Assert.True(bystander.IsValid);
        }

        Assert.Equal(Rounds * Forgers * Each, made + refused);
    }

    [Fact]
    public void Of_many_takers_of_one_offer_one_gets_it()
    {
        Capability root = CapabilityAuthority.Create().Root;
        CapabilityList giver = new(root.Forge(CapabilityName.Create(1), Rights.All));
        CapabilityList taker = new(root.Forge(CapabilityName.Create(2), Rights.All));
        for (int round = 0; round < 500; round++)
        {
            Assert.Equal(AccessRefusal.None, giver.Offer(taker, 0, CapabilityName.Create(1, 1), Rights.Write));
            int taken = 0, missed = 0;
            Parallel.For(1, 9, slot =>
            {
                switch (taker.Acquire(giver, slot))
                {
                    case AccessRefusal.None: Interlocked.Increment(ref taken); break;
                    case AccessRefusal.NotOffered: Interlocked.Increment(ref missed); break;
                }
            });
            Assert.Equal((1, 7), (taken, missed));
        }
    }
}
