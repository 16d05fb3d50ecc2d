// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using CsCheck;

namespace Exo.Capabilities.Tests.RightsTests;

/// <summary>The algebra of dominance, and what forging and revocation do to it.</summary>
public sealed class CapabilityTests
{
    private static readonly Gen<(byte[] Name, Rights Rights)> Value = Gen.Select(Generators.NameBytes, Generators.AnyRights);

    [Fact]
    public void Forging_narrows()
    {
        Capability root = CapabilityAuthority.Create().Root;
        Capability user = root.Forge(CapabilityName.Parse("1.7"), Rights.All);
        Capability reader = user.Forge(CapabilityName.Parse("1.7.3"), Rights.Read);
        Assert.True(root.Dominates(user) && user.Dominates(reader) && root.Dominates(reader));
        Assert.False(reader.Dominates(user));

        Assert.Equal(AccessRefusal.RightNotHeld, Refused(() => reader.Forge(CapabilityName.Parse("1.7.3.1"), Rights.Read)));
        Assert.Equal(AccessRefusal.NotDominated, Refused(() => user.Forge(CapabilityName.Parse("1"), Rights.Read)));
        Assert.Equal(AccessRefusal.NotDominated, Refused(() => user.Forge(CapabilityName.Parse("1.8"), Rights.Read)));
        Capability copier = user.Forge(user.Name, Rights.Duplicate);
        Assert.Equal(AccessRefusal.NotDominated, Refused(() => copier.Forge(user.Name, Rights.Write)));
        user.Revoke(Credential.Of(root));
        Assert.Equal(AccessRefusal.NoValidCapability, Refused(() => user.Forge(user.Name, Rights.Read)));
    }

    [Fact]
    public void Dominance_is_a_partial_order() => Gen.Select(Value, Value, Value).Sample((x, y, z) =>
    {
        Capability root = CapabilityAuthority.Create().Root;
        Capability a = Forge(root, x);
        Capability b = Forge(root, y);
        Capability c = Forge(root, z);
        Assert.True(a.Dominates(a));
        Assert.True(root.Dominates(a));
        Assert.True(!(a.Dominates(b) && b.Dominates(a)) || (a.Name == b.Name && a.Rights == b.Rights));
        Assert.True(!(a.Dominates(b) && b.Dominates(c)) || a.Dominates(c));
        Assert.Equal(Generators.IsPrefix(x.Name, y.Name) && (y.Rights & ~x.Rights) == 0, a.Dominates(b));
    }, iter: 5_000);

    [Fact]
    public void Authorities_are_strangers_to_one_another()
    {
        Capability here = CapabilityAuthority.Create().Root;
        Capability there = CapabilityAuthority.Create().Root;
        Assert.False(here.Dominates(there));
        Assert.Equal(AccessRefusal.NotDominated, Refused(() => here.Revoke(Credential.Of(there))));
        Assert.True(here.IsValid);
    }

    [Fact]
    public void Revocation_reaches_all_descendants_and_nothing_else() =>
        Gen.Select(Gen.Int[0, int.MaxValue].Array[1, 30], Gen.Int[0, int.MaxValue].Array[1, 4]).Sample((parents, revoked) =>
        {
            // Node 0 is the root; node i + 1 is forged from node parents[i] mod (i + 1). All have one name and all rights: only descent may decide.
            Capability root = CapabilityAuthority.Create().Root;
            List<Capability> nodes = [root];
            List<int> parentOf = [-1];
            foreach (int parent in parents)
            {
                parentOf.Add(parent % nodes.Count);
                nodes.Add(nodes[parentOf[^1]].Forge(CapabilityName.Root, Rights.All));
            }

            HashSet<int> gone = [];
            foreach (int target in revoked.Select(r => 1 + (r % parents.Length)))
            {
                nodes[target].Revoke(Credential.Of(root));
                gone.Add(target);
                for (int node = 0; node < nodes.Count; node++)
                {
                    bool isGone = false;
                    for (int up = node; up >= 0; up = parentOf[up])
                    {
                        isGone |= gone.Contains(up);
                    }

                    Assert.Equal(!isGone, nodes[node].IsValid);
                    Assert.Equal(!isGone, nodes[node].Dominates(nodes[node]));
                }
            }
        }, iter: 2_000);

    [Fact]
    public void Revocation_reaches_past_capabilities_that_nobody_holds_any_more()
    {
        Capability root = CapabilityAuthority.Create().Root;
        Capability top = root.Forge(CapabilityName.Create(1), Rights.All);
        Capability bottom = ForgeThroughDropped(top);
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        for (int i = 0; i < 100; i++)
        {
            top.Forge(CapabilityName.Create(1, 9), Rights.Read); // sweeps dropped children
        }

        top.Revoke(Credential.Of(root));
        Assert.False(bottom.IsValid);
        GC.KeepAlive(top);
    }

    [Fact]
    public void Only_a_dominating_capability_revokes_and_never_one_forged_from_the_target()
    {
        Capability root = CapabilityAuthority.Create().Root;
        Capability user = root.Forge(CapabilityName.Parse("1.7"), Rights.All);
        Capability copy = user.Forge(user.Name, Rights.All);
        Capability other = root.Forge(CapabilityName.Parse("1.8"), Rights.All);
        Capability writer = root.Forge(CapabilityName.Parse("1"), Rights.Write);
        foreach (Capability powerless in new[] { copy, other, writer })
        {
            Assert.Equal(AccessRefusal.NotDominated, Refused(() => user.Revoke(Credential.Of(powerless))));
        }

        Assert.True(user.IsValid);
        user.Revoke(Credential.Of(other, user));
        Assert.False(user.IsValid);
        Assert.False(copy.IsValid);
        Assert.True(other.IsValid && writer.IsValid && root.IsValid);
        user.Revoke(Credential.Of(root)); // twice is once
        Assert.Equal(AccessRefusal.NotDominated, Refused(() => user.Revoke(Credential.Of(user))));
    }

    [Fact]
    public void A_refusal_tells_resource_right_and_rule()
    {
        Capability reader = CapabilityAuthority.Create().Root.Forge(CapabilityName.Parse("1.7"), Rights.Read);
        AccessDeniedException denied = Assert.Throws<AccessDeniedException>(() => reader.Forge(reader.Name, Rights.Read));
        Assert.Equal(("capability 1.7", Rights.Duplicate, AccessRefusal.RightNotHeld), (denied.Resource, denied.Wanted, denied.Refusal));
        Assert.Contains("1.7", denied.Message);
        Assert.IsAssignableFrom<UnauthorizedAccessException>(denied);
    }

    [Fact]
    public void A_credential_presents_one_capability_or_more()
    {
        Capability root = CapabilityAuthority.Create().Root;
        Assert.Equal([root], Credential.Of(root).Capabilities.ToArray());
        Assert.Throws<ArgumentException>(() => Credential.Of());
        Assert.Throws<ArgumentException>(() => Credential.Of(root, null!));
    }

    private static Capability Forge(Capability root, (byte[] Name, Rights Rights) value) =>
        root.Forge(CapabilityName.Create(value.Name), value.Rights);

    private static AccessRefusal Refused(Action call) => Assert.Throws<AccessDeniedException>(call).Refusal;

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Capability ForgeThroughDropped(Capability top) =>
        top.Forge(CapabilityName.Create(1), Rights.All).Forge(CapabilityName.Create(1, 2), Rights.All).Forge(CapabilityName.Create(1, 2), Rights.Read);
}
