// SPDX-License-Identifier: MIT
namespace Exo.Capabilities;

/// <summary>Which rule a refused call broke. A closed list.</summary>
public enum AccessRefusal : byte
{
    /// <summary>Not refused.</summary>
    None = 0,

    /// <summary>The credential holds no valid capability of this authority, or the slot named is empty.</summary>
    NoValidCapability = 1,

    /// <summary>No capability presented carries the right itself.</summary>
    RightNotHeld = 2,

    /// <summary>No capability presented governs an entry that grants the right, or the one asked for is not dominated.</summary>
    NotDominated = 3,

    /// <summary>Entry 0 of an ACL, or slot 0 of a list, must keep all rights, so that nothing becomes unownable.</summary>
    OwnerEntryMustKeepAllRights = 4,

    /// <summary>The position lies outside the ACL or list.</summary>
    IndexOutOfRange = 5,

    /// <summary>Nothing is on offer from that list to this one.</summary>
    NotOffered = 6,

    /// <summary>The binding or resource was revoked.</summary>
    Revoked = 7,
}
