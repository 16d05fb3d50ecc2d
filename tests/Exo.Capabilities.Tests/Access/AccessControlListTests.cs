// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Tests;

namespace Exo.Capabilities.Tests.Access;

/// <summary>The access rule against a naive model, and the rules of changing a list.</summary>
public sealed class AccessControlListTests
{
    private sealed record Held(byte[] Name, Rights Rights, bool IsRevoked, bool IsForeign);

    private static readonly Gen<Held> AnyHeld = Gen.Select(
        Generators.NameBytes, Generators.AnyRights, Gen.Int[0, 4], Gen.Int[0, 4], (name, rights, r, f) => new Held(name, rights, r == 0, f == 0));

    private static readonly Gen<(byte[] Name, Rights Rights)> AnyEntry = Gen.Select(Generators.NameBytes, Generators.AnyRights);

    [Fact]
    public void A_users_capability_opens_what_lies_below_it_and_never_the_reverse()
    {
        CapabilityAuthority machine = CapabilityAuthority.Create();
        AccessControlList acl = new(CapabilityName.Parse("1.7.3"), authority: machine);
        Credential above = Credential.Of(machine.Root.Forge(CapabilityName.Parse("1.7"), Rights.All));
        Credential below = Credential.Of(machine.Root.Forge(CapabilityName.Parse("1.7.3.1"), Rights.All));
        Assert.Equal(AccessRefusal.None, acl.Check(above, Rights.All));
        Assert.Equal(AccessRefusal.NotDominated, acl.Check(below, Rights.Read));
    }

    [Fact]
    public void The_access_check_is_the_naive_one() => Gen.Select(AnyHeld.Array[1, 4], AnyEntry.Array[0, 7], Generators.AnyRights).Sample((held, entries, wanted) =>
    {
        CapabilityAuthority machine = CapabilityAuthority.Create();
        AccessControlList acl = new(CapabilityName.Create(9, 9), authority: machine);
        for (int i = 0; i < entries.Length; i++)
        {
            Set(acl, machine, i + 1, new AclEntry(CapabilityName.Create(entries[i].Name), entries[i].Rights));
        }

        (byte[] Name, Rights Rights)[] all = [([9, 9], Rights.All), .. entries];
        Held[] counted = [.. held.Where(h => !h.IsRevoked && !h.IsForeign)];
        Held[] carrying = [.. counted.Where(h => (wanted & ~h.Rights) == 0)];
        AccessRefusal expected =
            counted.Length == 0 ? AccessRefusal.NoValidCapability
            : carrying.Length == 0 ? AccessRefusal.RightNotHeld
            : carrying.Any(h => all.Any(e => (wanted & ~e.Rights) == 0 && Generators.IsPrefix(h.Name, e.Name))) ? AccessRefusal.None
            : AccessRefusal.NotDominated;
        Assert.Equal(expected, acl.Check(Present(machine, held), wanted));
    }, iter: 20_000);

    [Fact]
    public void Entry_0_always_keeps_all_rights_whatever_is_tried() =>
        Gen.Select(AnyHeld, Gen.Int[-1, 8], AnyEntry, Gen.Bool).Array[1, 20].Sample(changes =>
        {
            CapabilityAuthority machine = CapabilityAuthority.Create();
            AccessControlList acl = new(CapabilityName.Create(1), authority: machine);
            AclEntry?[] model = new AclEntry?[8];
            model[0] = new AclEntry(CapabilityName.Create(1), Rights.All);
            foreach ((Held by, int index, (byte[] Name, Rights Rights) value, bool isCleared) in changes)
            {
                AclEntry? entry = isCleared ? null : new AclEntry(CapabilityName.Create(value.Name), value.Rights);
                Credential credential = Present(machine, [by]);
                AccessRefusal expected = acl.Check(credential, Rights.ModifyAcl);
                expected = expected != AccessRefusal.None ? expected
                    : index is < 0 or > 7 ? AccessRefusal.IndexOutOfRange
                    : index == 0 && entry?.Rights != Rights.All ? AccessRefusal.OwnerEntryMustKeepAllRights
                    : AccessRefusal.None;
                Assert.Equal(expected == AccessRefusal.None, acl.TryModify(credential, index, entry, out AccessRefusal refusal));
                Assert.Equal(expected, refusal);
                if (refusal == AccessRefusal.None)
                {
                    model[index] = entry;
                }

                Assert.Equal(model, Enumerable.Range(0, acl.Capacity).Select(i => acl[i]));
                Assert.Equal(Rights.All, acl[0]!.Value.Rights);
                Assert.Equal(AccessRefusal.None, acl.Check(Credential.Of(machine.Root), Rights.All));
            }
        }, iter: 3_000);

    [Fact]
    public void A_root_of_ones_own_making_opens_nothing()
    {
        CapabilityAuthority machine = CapabilityAuthority.Create();
        AccessControlList acl = new(new AclEntry(CapabilityName.Create(1), Rights.All), capacity: 2, machine);
        Credential impostor = Credential.Of(CapabilityAuthority.Create().Root);
        Assert.Equal(AccessRefusal.NoValidCapability, acl.Check(impostor, Rights.Read));
        Assert.False(acl.TryModify(impostor, 1, new AclEntry(CapabilityName.Root, Rights.All), out _));
        Assert.Same(machine, acl.Authority);
    }

    [Fact]
    public void An_owners_entry_without_all_rights_is_an_error_of_the_program()
    {
        Assert.Throws<ArgumentException>(() => new AccessControlList(new AclEntry(CapabilityName.Root, Rights.Write)));
        Assert.Throws<ArgumentOutOfRangeException>(() => new AccessControlList(CapabilityName.Root, capacity: 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new AccessControlList(CapabilityName.Root, capacity: 257));
    }

    [Fact]
    public void A_check_allocates_nothing()
    {
        CapabilityAuthority machine = CapabilityAuthority.Create();
        AccessControlList acl = new(CapabilityName.Create(1, 2, 3), authority: machine);
        for (int i = 1; i < acl.Capacity; i++)
        {
            Set(acl, machine, i, new AclEntry(CapabilityName.Create([2, (byte)i, .. new byte[i * 4]]), Rights.All)); // inline and long names
        }

        Credential last = Credential.Of(machine.Root.Forge(CapabilityName.Create(2, 7), Rights.All));
        Credential stranger = Credential.Of(machine.Root.Forge(CapabilityName.Create(new byte[200]), Rights.All));
        Capability gone = machine.Root.Forge(CapabilityName.Root, Rights.All);
        gone.Revoke(Credential.Of(machine.Root));
        Credential revoked = Credential.Of(gone);
        int granted = 0, passes = 0;
        Rounds(100);
        Assert.Equal(0, Allocations.Least(() =>
        {
            passes++;
            Rounds(10_000);
        }));
        Assert.Equal(100 + (passes * 10_000), granted);

        void Rounds(int count)
        {
            for (int i = 0; i < count; i++)
            {
                granted += acl.Check(last, Rights.Write) == AccessRefusal.None ? 1 : 0;
                granted += acl.Check(stranger, Rights.Write) == AccessRefusal.None ? 1 : 0;
                granted += acl.Check(revoked, Rights.Read) == AccessRefusal.None ? 1 : 0;
            }
        }
    }

    private static void Set(AccessControlList acl, CapabilityAuthority machine, int index, AclEntry entry) =>
        Assert.True(acl.TryModify(Credential.Of(machine.Root), index, entry, out _));

    private static Credential Present(CapabilityAuthority machine, Held[] held) => Credential.Of([.. held.Select(h =>
    {
        Capability root = h.IsForeign ? CapabilityAuthority.Create().Root : machine.Root;
        Capability capability = root.Forge(CapabilityName.Create(h.Name), h.Rights);
        if (h.IsRevoked)
        {
            capability.Revoke(Credential.Of(root));
        }

        return capability;
    })]);
}
