// SPDX-License-Identifier: MIT
using CsCheck;

namespace Exo.Capabilities.Tests.Access;

/// <summary>Random calls over several lists, each answer foretold by a naive model, and nobody ever more powerful than at the start.</summary>
public sealed class CapabilityListModelTests
{
    private const int ListCount = 3;
    private const int SlotCount = 4;

    private enum Call { Forge, Grant, Offer, Acquire, Remove, Revoke }

    private sealed record Step(Call Call, int A, int B, int Key, int From, int To, byte[] Name, Rights Rights);

    private static readonly Gen<Step> AnyStep = Gen.Select(
        Gen.Int[0, 5], Gen.Int[0, ListCount - 1], Gen.Int[0, ListCount - 1], Gen.Int[0, SlotCount - 1], Gen.Int[-1, SlotCount], Gen.Int[-1, SlotCount],
        Gen.Byte[0, 2].Array[0, 4], Generators.AnyRights, (call, a, b, key, from, to, name, rights) => new Step((Call)call, a, b, key, from, to, name, rights));

    private sealed class Cap(byte[] name, Rights rights, Cap? parent)
    {
        public byte[] Name => name;

        public Rights Rights => rights;

        public bool IsRevoked { get; set; }

        public bool IsValid => !IsRevoked && (parent?.IsValid ?? true);

        public bool IsBelow(Cap other) => parent is not null && (parent == other || parent.IsBelow(other));
    }

    [Fact]
    public void No_sequence_of_calls_yields_power_that_nothing_held() => AnyStep.Array[1, 60].Sample(steps =>
    {
        Capability root = CapabilityAuthority.Create().Root;
        CapabilityList[] lists = new CapabilityList[ListCount];
        Cap[][] slots = new Cap[ListCount][];
        (int To, int From, byte[] Name, Rights Rights)?[] offers = new (int, int, byte[], Rights)?[ListCount];
        byte[][] initial = [[0], [1], [0, 1]];
        for (int i = 0; i < ListCount; i++)
        {
            lists[i] = new CapabilityList(root.Forge(CapabilityName.Create(initial[i]), Rights.All), SlotCount);
            slots[i] = new Cap[SlotCount];
            slots[i][0] = new Cap(initial[i], Rights.All, null);
        }

        foreach (Step step in steps)
        {
            (AccessRefusal expected, AccessRefusal actual) = Apply(step);
            Assert.Equal(expected, actual);
            for (int i = 0; i < ListCount; i++)
            {
                for (int slot = 0; slot < SlotCount; slot++)
                {
                    Cap? model = slots[i][slot] is { IsValid: true } valid ? valid : null;
                    Capability? real = lists[i][slot];
                    Assert.Equal(model is null, real is null);
                    if (real is not null)
                    {
                        byte[] name = Generators.BytesOf(real.Name);
                        Assert.Equal((Convert.ToHexString(model!.Name), model.Rights), (Convert.ToHexString(name), real.Rights));
                        Assert.Contains(initial, start => Generators.IsPrefix(start, name));
                        Assert.True(slot != 0 || real.Rights == Rights.All);
                    }
                }
            }
        }

        (AccessRefusal, AccessRefusal) Apply(Step s)
        {
            CapabilityName name = CapabilityName.Create(s.Name);
            Cap? key = slots[s.A][s.Key] is { IsValid: true } valid ? valid : null;
            Credential credential = key is null ? Credential.Of(root) : lists[s.A].Present(s.Key);
            switch (s.Call)
            {
                case Call.Forge:
                    return (Put(s.A, s.A, s), lists[s.A].Forge(s.From, s.To, name, s.Rights));

                case Call.Grant:
                    AccessRefusal guarded = Guard(key, s.B);
                    AccessRefusal granted = guarded != AccessRefusal.None ? guarded : Put(s.A, s.B, s);
                    return (granted, lists[s.A].Grant(credential, lists[s.B], s.From, s.To, name, s.Rights));

                case Call.Offer:
                    AccessRefusal offered = Source(s.A, s.From, s.Name, s.Rights);
                    if (offered == AccessRefusal.None)
                    {
                        offers[s.A] = (s.B, s.From, s.Name, s.Rights);
                    }

                    return (offered, lists[s.A].Offer(lists[s.B], s.From, name, s.Rights));

                case Call.Acquire:
                    return (Acquire(s.A, s.B, s.To), lists[s.A].Acquire(lists[s.B], s.To));

                case Call.Remove:
                    AccessRefusal removed = Guard(key, s.B);
                    removed = removed != AccessRefusal.None ? removed
                        : s.To is < 0 or >= SlotCount ? AccessRefusal.IndexOutOfRange
                        : s.To == 0 ? AccessRefusal.OwnerEntryMustKeepAllRights
                        : AccessRefusal.None;
                    if (removed == AccessRefusal.None)
                    {
                        slots[s.B][s.To] = null!;
                    }

                    return (removed, lists[s.B].Remove(credential, s.To));

                default:
                    if (key is null || s.To is < 0 or >= SlotCount || slots[s.B][s.To] is not { IsValid: true } target)
                    {
                        return (AccessRefusal.None, AccessRefusal.None);
                    }

                    Capability real = lists[s.B][s.To]!;
                    bool mayRevoke = (key.Rights & Rights.Duplicate) != 0 && (target.Rights & ~key.Rights) == 0
                        && Generators.IsPrefix(key.Name, target.Name) && !key.IsBelow(target);
                    target.IsRevoked |= mayRevoke;
                    return (mayRevoke ? AccessRefusal.None : AccessRefusal.NotDominated, Refusal(() => real.Revoke(credential)));
            }
        }

        AccessRefusal Put(int giver, int taker, Step s)
        {
            AccessRefusal refusal = s.To is < 0 or >= SlotCount ? AccessRefusal.IndexOutOfRange
                : s.To == 0 && s.Rights != Rights.All ? AccessRefusal.OwnerEntryMustKeepAllRights
                : Source(giver, s.From, s.Name, s.Rights);
            if (refusal == AccessRefusal.None)
            {
                slots[taker][s.To] = new Cap(s.Name, s.Rights, slots[giver][s.From]);
            }

            return refusal;
        }

        AccessRefusal Source(int list, int from, byte[] name, Rights rights) =>
            from is < 0 or >= SlotCount ? AccessRefusal.IndexOutOfRange
            : slots[list][from] is not { IsValid: true } held ? AccessRefusal.NoValidCapability
            : (held.Rights & Rights.Duplicate) == 0 ? AccessRefusal.RightNotHeld
            : (rights & ~held.Rights) != 0 || !Generators.IsPrefix(held.Name, name) ? AccessRefusal.NotDominated
            : AccessRefusal.None;

        AccessRefusal Acquire(int taker, int giver, int slot)
        {
            if (slot is <= 0 or >= SlotCount)
            {
                return AccessRefusal.IndexOutOfRange;
            }

            if (offers[giver] is not { } offer || offer.To != taker)
            {
                return AccessRefusal.NotOffered;
            }

            AccessRefusal refusal = Source(giver, offer.From, offer.Name, offer.Rights);
            if (refusal == AccessRefusal.None)
            {
                slots[taker][slot] = new Cap(offer.Name, offer.Rights, slots[giver][offer.From]);
                offers[giver] = null;
            }

            return refusal;
        }

        AccessRefusal Guard(Cap? key, int list) =>
            key is null ? AccessRefusal.None // the root stands in for an empty slot
            : (key.Rights & Rights.Write) == 0 ? AccessRefusal.RightNotHeld
            : Generators.IsPrefix(key.Name, slots[list][0].Name) ? AccessRefusal.None
            : AccessRefusal.NotDominated;
    }, iter: 5_000);

    private static AccessRefusal Refusal(Action call)
    {
        try
        {
            call();
            return AccessRefusal.None;
        }
        catch (AccessDeniedException denied)
        {
            return denied.Refusal;
        }
    }
}
