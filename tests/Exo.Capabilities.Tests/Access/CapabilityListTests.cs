// SPDX-License-Identifier: MIT
namespace Exo.Capabilities.Tests.Access;

/// <summary>Slots by example: each rule of forging, granting, acquiring and removing, and its refusal.</summary>
public sealed class CapabilityListTests
{
    private static readonly CapabilityName Alice = CapabilityName.Parse("1.1");
    private static readonly CapabilityName Bob = CapabilityName.Parse("1.2");
    private readonly Capability _root = CapabilityAuthority.Create().Root;
    private readonly CapabilityList _alice;
    private readonly CapabilityList _bob;

    public CapabilityListTests()
    {
        _alice = new CapabilityList(_root.Forge(Alice, Rights.All), slotCount: 4);
        _bob = new CapabilityList(_root.Forge(Bob, Rights.All), slotCount: 4);
    }

    [Fact]
    public void An_offer_is_taken_once_by_the_list_it_was_made_to()
    {
        CapabilityName file = Alice.Append(5);
        CapabilityList carol = new(_root.Forge(CapabilityName.Parse("1.3"), Rights.All));
        Assert.Equal(AccessRefusal.NotOffered, _bob.Acquire(_alice, 1));
        Assert.Equal(AccessRefusal.None, _alice.Offer(_bob, 0, file, Rights.Write));
        Assert.Equal(AccessRefusal.NotOffered, carol.Acquire(_alice, 1));
        Assert.Equal(AccessRefusal.IndexOutOfRange, _bob.Acquire(_alice, 0));
        Assert.Equal(AccessRefusal.IndexOutOfRange, _bob.Acquire(_alice, 4));
        Assert.Equal(AccessRefusal.None, _bob.Acquire(_alice, 1));
        Assert.Equal((file, Rights.Write), (_bob[1]!.Name, _bob[1]!.Rights));
        Assert.Equal(AccessRefusal.NotOffered, _bob.Acquire(_alice, 2));
    }

    [Fact]
    public void One_offers_only_what_one_could_forge()
    {
        Assert.Equal(AccessRefusal.NotDominated, _alice.Offer(_bob, 0, Bob, Rights.Read));
        Assert.Equal(AccessRefusal.NoValidCapability, _alice.Offer(_bob, 1, Alice, Rights.Read));
        Assert.Equal(AccessRefusal.IndexOutOfRange, _alice.Offer(_bob, 9, Alice, Rights.Read));
        Assert.Equal(AccessRefusal.None, _alice.Forge(0, 1, Alice, Rights.Write));
        Assert.Equal(AccessRefusal.RightNotHeld, _alice.Offer(_bob, 1, Alice, Rights.Write));
        Assert.Equal(AccessRefusal.NotOffered, _bob.Acquire(_alice, 1));
    }

    [Fact]
    public void A_giver_stripped_since_its_offer_gives_nothing()
    {
        Assert.Equal(AccessRefusal.None, _alice.Forge(0, 1, Alice, Rights.All));
        Assert.Equal(AccessRefusal.None, _alice.Offer(_bob, 1, Alice, Rights.All));
        Assert.Equal(AccessRefusal.None, _alice.Remove(Credential.Of(_root), 1));
        Assert.Equal(AccessRefusal.NoValidCapability, _bob.Acquire(_alice, 1));
        Assert.Null(_bob[1]);
    }

    [Fact]
    public void Granting_needs_write_access_to_the_other_guard()
    {
        Assert.Equal(AccessRefusal.NotDominated, _alice.Grant(_alice.Present(0), _bob, 0, 1, Alice, Rights.Read));
        Assert.Equal(AccessRefusal.RightNotHeld,
            _alice.Grant(Credential.Of(_root.Forge(Bob, Rights.Duplicate)), _bob, 0, 1, Alice, Rights.Read));
        Assert.Equal(AccessRefusal.NoValidCapability,
            _alice.Grant(Credential.Of(CapabilityAuthority.Create().Root), _bob, 0, 1, Alice, Rights.Read));
        Assert.Equal(AccessRefusal.None, _alice.Grant(_bob.Present(0), _bob, 0, 1, Alice, Rights.Read));
        Assert.Equal("1.1 Read", _bob[1]!.ToString());
    }

    [Fact]
    public void Slot_0_guards_and_stays()
    {
        Assert.Equal(AccessRefusal.OwnerEntryMustKeepAllRights, _alice.Forge(0, 0, Alice, Rights.Write));
        Assert.Equal(AccessRefusal.OwnerEntryMustKeepAllRights, _alice.Remove(_alice.Present(0), 0));
        Assert.Equal(AccessRefusal.IndexOutOfRange, _alice.Remove(_alice.Present(0), 4));
        Assert.Equal(AccessRefusal.NotDominated, _alice.Remove(_bob.Present(0), 1));
        Assert.Equal(AccessRefusal.OwnerEntryMustKeepAllRights,
            Assert.Throws<AccessDeniedException>(() => new CapabilityList(_root.Forge(Alice, Rights.Write))).Refusal);
        Assert.Equal(AccessRefusal.None, _alice.Forge(0, 0, Alice.Append(1), Rights.All));
        Assert.Equal(AccessRefusal.NotDominated, _alice.Forge(0, 1, Alice, Rights.Read)); // narrowed for good
    }

    [Fact]
    public void A_list_whose_guard_is_revoked_can_still_be_stripped_from_above()
    {
        Assert.Equal(AccessRefusal.None, _alice.Forge(0, 1, Alice, Rights.Read));
        _alice[0]!.Revoke(Credential.Of(_root));
        Assert.Null(_alice[0]);
        Assert.Null(_alice[1]);
        Assert.Throws<AccessDeniedException>(() => _alice.Present(1));
        Assert.Equal(AccessRefusal.None, _alice.Remove(Credential.Of(_root), 1));
        Assert.Equal(AccessRefusal.None, _bob.Forge(0, 1, Bob, Rights.Read)); // nobody else is touched
    }
}
