// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;

namespace Exo.Capabilities;

/// <summary>One line of an access-control list: holders of this name, or of a prefix of it, have these rights.</summary>
public readonly record struct AclEntry(CapabilityName Name, Rights Rights);

/// <summary>
/// The guard of a resource: up to a fixed number of entries. Entry 0 belongs to the owner and always keeps all rights (Xok, <c>acl_mod</c>), so that no
/// resource becomes unownable. Checks take no lock: entries are an immutable array that a change replaces.
/// </summary>
public sealed class AccessControlList
{
    private readonly Lock _changing = new();
    private volatile AclEntry?[] _published;
    private volatile AclEntry[] _entries;

    /// <summary>A list with its owner's entry, which gets all rights.</summary>
    /// <param name="owner">The name in entry 0.</param>
    /// <param name="capacity">Number of entries, 1 to 256.</param>
    /// <param name="authority">
    /// Whose capabilities count here. Names alone say nothing about where a capability comes from, and anyone can make an authority with a root of its own:
    /// a list without an authority (null) admits capabilities of all of them and is right only where the caller has looked at the authority already.
    /// </param>
    public AccessControlList(CapabilityName owner, int capacity = 8, CapabilityAuthority? authority = null)
        : this(new AclEntry(owner, Rights.All), capacity, authority)
    {
    }

    /// <summary>A list with its owner's entry.</summary>
    /// <param name="owner">Entry 0; must carry all rights.</param>
    /// <param name="capacity">Number of entries, 1 to 256.</param>
    /// <param name="authority">Whose capabilities count here; null: those of every authority (see the other constructor).</param>
    /// <exception cref="ArgumentException">The owner's entry does not carry exactly <see cref="Rights.All"/>.</exception>
    public AccessControlList(AclEntry owner, int capacity = 8, CapabilityAuthority? authority = null)
    {
        if (owner.Rights != Rights.All)
        {
            throw new ArgumentException($"the owner's entry carries all rights, not {owner.Rights}", nameof(owner));
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(capacity, 256);
        Capacity = capacity;
        Authority = authority;
        _published = new AclEntry?[capacity];
        _published[0] = owner;
        _entries = [owner];
    }

    /// <summary>Number of positions.</summary>
    public int Capacity { get; }

    /// <summary>Whose capabilities count here; null when those of every authority do.</summary>
    public CapabilityAuthority? Authority { get; }

    /// <summary>The entry at a position, or null.</summary>
    public AclEntry? this[int index] => _published[index];

    /// <summary>
    /// Whether a credential has a right here: some valid capability of it carries the right, its name is a prefix of some entry's name, and that entry carries the
    /// right (Xok, <c>acl_access</c>). Allocates nothing and takes no lock.
    /// </summary>
    public AccessRefusal Check(Credential credential, Rights wanted)
    {
        ArgumentNullException.ThrowIfNull(credential);
        AclEntry[] entries = _entries;
        AccessRefusal refusal = AccessRefusal.NoValidCapability;
        foreach (Capability capability in credential.Capabilities)
        {
            if (!capability.IsValid || (Authority is { } authority && !ReferenceEquals(capability.Authority, authority)))
            {
                continue;
            }

            if ((wanted & ~capability.Rights) != 0)
            {
                refusal = Later(refusal, AccessRefusal.RightNotHeld);
                continue;
            }

            CapabilityName name = capability.Name;
            for (int i = 0; i < entries.Length; i++)
            {
                ref readonly AclEntry entry = ref entries[i];
                if ((wanted & ~entry.Rights) == 0 && name.IsPrefixOf(entry.Name))
                {
                    return AccessRefusal.None;
                }
            }

            refusal = AccessRefusal.NotDominated;
        }

        return refusal;
    }

    /// <summary>Sets or clears an entry. The credential needs <see cref="Rights.ModifyAcl"/> here.</summary>
    /// <param name="by">Who asks.</param>
    /// <param name="index">Position, 0 to <see cref="Capacity"/> - 1.</param>
    /// <param name="entry">The new entry, or null to clear it; entry 0 must carry all rights.</param>
    /// <param name="refusal">Why not, when the result is false.</param>
    public bool TryModify(Credential by, int index, AclEntry? entry, out AccessRefusal refusal)
    {
        lock (_changing)
        {
            refusal = Check(by, Rights.ModifyAcl);
            if (refusal != AccessRefusal.None)
            {
                return false;
            }

            if ((uint)index >= (uint)Capacity)
            {
                refusal = AccessRefusal.IndexOutOfRange;
                return false;
            }

            if (index == 0 && entry?.Rights != Rights.All)
            {
                refusal = AccessRefusal.OwnerEntryMustKeepAllRights;
                return false;
            }

            AclEntry?[] next = [.. _published];
            next[index] = entry;
            _entries = [.. next.Where(e => e is not null).Select(e => e!.Value)];
            _published = next;
            return true;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static AccessRefusal Later(AccessRefusal a, AccessRefusal b) => a > b ? a : b;
}
