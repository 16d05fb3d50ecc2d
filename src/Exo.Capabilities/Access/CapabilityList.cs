// SPDX-License-Identifier: MIT
namespace Exo.Capabilities;

/// <summary>
/// The capability slots of one environment. Calls name a slot explicitly. Slot 0 is the environment's guard: write access to it governs who may put
/// capabilities into this list (Xok, <c>env_access</c>). Rules of exokernel.md 2.1, items 5 to 7. Thread-safe.
/// </summary>
public sealed class CapabilityList
{
    /// <summary>Slots of a list, unless another number is asked for.</summary>
    public const int SlotCountDefault = 32;

    private readonly Capability?[] _slots;
    private readonly Lock _lock = new();
    private (CapabilityList To, int From, CapabilityName Name, Rights Rights)? _offer;

    /// <summary>A list guarded by a capability with all rights, which becomes slot 0.</summary>
    /// <exception cref="AccessDeniedException">The guard is revoked or lacks a right.</exception>
    public CapabilityList(Capability guard, int slotCount = SlotCountDefault)
    {
        ArgumentNullException.ThrowIfNull(guard);
        ArgumentOutOfRangeException.ThrowIfLessThan(slotCount, 1);
        if (!guard.IsValid || guard.Rights != Rights.All)
        {
            throw new AccessDeniedException("slot 0 of a capability list", Rights.All, AccessRefusal.OwnerEntryMustKeepAllRights);
        }

        _slots = new Capability?[slotCount];
        _slots[0] = guard;
    }

    /// <summary>Number of slots.</summary>
    public int SlotCount => _slots.Length;

    /// <summary>The capability in a slot, or null when it is empty or revoked.</summary>
    public Capability? this[int slot] => Volatile.Read(ref _slots[slot]) is { IsValid: true } capability ? capability : null;

    /// <summary>A credential that presents one slot.</summary>
    /// <exception cref="AccessDeniedException">The slot is empty.</exception>
    public Credential Present(int slot) =>
        Credential.Of(this[slot] ?? throw new AccessDeniedException($"slot {slot}", Rights.Read, AccessRefusal.NoValidCapability));

    /// <summary>Forges a capability that slot <paramref name="from"/> dominates into slot <paramref name="to"/> of this list.</summary>
    public AccessRefusal Forge(int from, int to, CapabilityName name, Rights rights) => Put(this, from, to, name, rights);

    /// <summary>
    /// Forges into another list, on the strength of <paramref name="by"/>, which must have write access to the other list's guard.
    /// </summary>
    public AccessRefusal Grant(Credential by, CapabilityList target, int from, int to, CapabilityName name, Rights rights)
    {
        ArgumentNullException.ThrowIfNull(target);
        AccessRefusal refusal = target.CheckGuard(by);
        return refusal != AccessRefusal.None ? refusal : Put(target, from, to, name, rights);
    }

    /// <summary>Offers, once, a capability that slot <paramref name="from"/> dominates to one other list, which may <see cref="Acquire"/> it.</summary>
    public AccessRefusal Offer(CapabilityList to, int from, CapabilityName name, Rights rights)
    {
        ArgumentNullException.ThrowIfNull(to);
        AccessRefusal refusal = CheckSource(from, name, rights, out _);
        if (refusal == AccessRefusal.None)
        {
            lock (_lock)
            {
                _offer = (to, from, name, rights);
            }
        }

        return refusal;
    }

    /// <summary>
    /// Takes what another list has offered to this one into a slot, which is not slot 0. The giver need not run; an offer can be taken once. What the giver's
    /// slot holds now decides: a giver stripped or revoked since its offer gives nothing. A refusal leaves the offer standing.
    /// </summary>
    public AccessRefusal Acquire(CapabilityList giver, int slot)
    {
        ArgumentNullException.ThrowIfNull(giver);
        if (slot <= 0 || slot >= _slots.Length)
        {
            return AccessRefusal.IndexOutOfRange;
        }

        lock (giver._lock)
        {
            if (giver._offer is not { } offer || offer.To != this)
            {
                return AccessRefusal.NotOffered;
            }

            AccessRefusal refusal = giver.CheckSource(offer.From, offer.Name, offer.Rights, out Capability? source);
            if (refusal == AccessRefusal.None)
            {
                // Lock order: a list's offer before an authority's forging.
                refusal = Store(source!, slot, offer.Name, offer.Rights);
            }

            if (refusal == AccessRefusal.None)
            {
                giver._offer = null;
            }

            return refusal;
        }
    }

    /// <summary>Empties a slot. Write access to the guard is enough to strip a list; slot 0 stays.</summary>
    public AccessRefusal Remove(Credential by, int slot)
    {
        AccessRefusal refusal = CheckGuard(by);
        if (refusal != AccessRefusal.None)
        {
            return refusal;
        }

        if ((uint)slot >= (uint)_slots.Length)
        {
            return AccessRefusal.IndexOutOfRange;
        }

        if (slot == 0)
        {
            return AccessRefusal.OwnerEntryMustKeepAllRights;
        }

        Volatile.Write(ref _slots[slot], null);
        return AccessRefusal.None;
    }

    private AccessRefusal Put(CapabilityList target, int from, int to, CapabilityName name, Rights rights)
    {
        if ((uint)to >= (uint)target._slots.Length)
        {
            return AccessRefusal.IndexOutOfRange;
        }

        if (to == 0 && rights != Rights.All)
        {
            return AccessRefusal.OwnerEntryMustKeepAllRights;
        }

        AccessRefusal refusal = CheckSource(from, name, rights, out Capability? source);
        return refusal != AccessRefusal.None ? refusal : target.Store(source!, to, name, rights);
    }

    private AccessRefusal CheckSource(int from, in CapabilityName name, Rights rights, out Capability? source)
    {
        source = null;
        if ((uint)from >= (uint)_slots.Length)
        {
            return AccessRefusal.IndexOutOfRange;
        }

        source = this[from];
        return source is null ? AccessRefusal.NoValidCapability
            : (source.Rights & Rights.Duplicate) == 0 ? AccessRefusal.RightNotHeld
            : (rights & ~source.Rights) != 0 || !source.Name.IsPrefixOf(name) ? AccessRefusal.NotDominated
            : AccessRefusal.None;
    }

    private AccessRefusal Store(Capability source, int slot, in CapabilityName name, Rights rights)
    {
        // The source may have been revoked since it was checked: forging decides.
        AccessRefusal refusal = source.TryForge(name, rights, out Capability? forged);
        if (refusal == AccessRefusal.None)
        {
            Volatile.Write(ref _slots[slot], forged);
        }

        return refusal;
    }

    private AccessRefusal CheckGuard(Credential by)
    {
        ArgumentNullException.ThrowIfNull(by);
        // A revoked guard still names who governs the list: nothing becomes unownable. Of several refusals the one furthest along is told.
        Capability guard = Volatile.Read(ref _slots[0])!;
        AccessRefusal refusal = AccessRefusal.NoValidCapability;
        foreach (Capability held in by.Capabilities)
        {
            if (!held.IsValid || !ReferenceEquals(held.Authority, guard.Authority))
            {
                continue;
            }

            if ((held.Rights & Rights.Write) == 0)
            {
                refusal = refusal > AccessRefusal.RightNotHeld ? refusal : AccessRefusal.RightNotHeld;
            }
            else if (held.Name.IsPrefixOf(guard.Name))
            {
                return AccessRefusal.None;
            }
            else
            {
                refusal = AccessRefusal.NotDominated;
            }
        }

        return refusal;
    }
}
