// SPDX-License-Identifier: MIT
namespace Exo.Capabilities;

/// <summary>
/// An unforgeable reference to a name with rights. There is no public constructor: a capability is an authority's root or was forged from one that
/// dominates it. Revoking a capability revokes, in one step, everything that was forged from it. Thread-safe.
/// </summary>
public sealed class Capability
{
    // Capabilities forged from this one; weak, so that dropped ones cost nothing. Guarded by the authority's forging lock.
    private List<WeakReference<Capability>>? _forged;

    // Dropped children are swept out when the list has doubled since the last sweep, so that a sweep costs O(1) per forging.
    private const int PruneAtCountMin = 8;
    private int _pruneAtCount = PruneAtCountMin;
    private volatile bool _isValid = true;

    internal Capability(CapabilityAuthority authority, CapabilityName name, Rights rights)
    {
        Authority = authority;
        Name = name;
        Rights = rights;
    }

    /// <summary>The machine that this capability belongs to.</summary>
    public CapabilityAuthority Authority { get; }

    /// <summary>What it names.</summary>
    public CapabilityName Name { get; }

    /// <summary>What it allows.</summary>
    public Rights Rights { get; }

    /// <summary>False once it, or one that it was forged from, has been revoked.</summary>
    public bool IsValid => _isValid;

    /// <summary>
    /// The partial order of power (Xok, <c>cap_dominates</c>): both are valid and of one authority, this name is a prefix of the other's, and this one has every
    /// right that the other has.
    /// </summary>
    public bool Dominates(Capability other)
    {
        ArgumentNullException.ThrowIfNull(other);
        return _isValid && other._isValid && ReferenceEquals(Authority, other.Authority)
            && (other.Rights & ~Rights) == 0 && Name.IsPrefixOf(other.Name);
    }

    /// <summary>Makes a capability that this one dominates.</summary>
    /// <exception cref="AccessDeniedException">
    /// This capability is revoked, lacks <see cref="Rights.Duplicate"/>, or does not dominate what is asked for.
    /// </exception>
    public Capability Forge(CapabilityName name, Rights rights)
    {
        AccessRefusal refusal = TryForge(name, rights, out Capability? forged);
        return refusal == AccessRefusal.None
            ? forged!
            : throw new AccessDeniedException($"capability {Name}", Rights.Duplicate, refusal);
    }

    /// <summary><see cref="Forge"/> that tells why not instead of throwing.</summary>
    internal AccessRefusal TryForge(in CapabilityName name, Rights rights, out Capability? forged)
    {
        forged = null;
        lock (Authority.Forging)
        {
            AccessRefusal refusal = CheckForge(name, rights);
            if (refusal != AccessRefusal.None)
            {
                return refusal;
            }

            forged = new Capability(Authority, name, rights);
            _forged ??= [];
            if (_forged.Count >= _pruneAtCount)
            {
                _forged.RemoveAll(weak => !weak.TryGetTarget(out Capability? child) || !child._isValid);
                _pruneAtCount = Math.Max(PruneAtCountMin, _forged.Count * 2);
            }

            // A dropped capability must not take its living descendants out of reach: each holds its chain of ancestors.
            forged._parent = this;
            _forged.Add(new WeakReference<Capability>(forged));
            return AccessRefusal.None;
        }
    }

    /// <summary>Revokes this capability and everything forged from it. Revoking what is revoked already changes nothing.</summary>
    /// <param name="by">
    /// Who asks: must hold a valid capability with a name and rights that cover this one's and with <see cref="Rights.Duplicate"/>. It may be this one, but not
    /// one forged from it: whoever passes on an equal copy does not hand out the power to take away the original.
    /// </param>
    /// <exception cref="AccessDeniedException">The credential holds no such capability.</exception>
    public void Revoke(Credential by)
    {
        ArgumentNullException.ThrowIfNull(by);
        lock (Authority.Forging)
        {
            bool allowed = false;
            foreach (Capability held in by.Capabilities)
            {
                allowed |= held.MayRevoke(this);
            }

            if (!allowed)
            {
                throw new AccessDeniedException($"capability {Name}", Rights.Duplicate, AccessRefusal.NotDominated);
            }

            Stack<Capability> pending = new([this]);
            while (pending.TryPop(out Capability? capability))
            {
                capability._isValid = false;
                foreach (WeakReference<Capability> weak in capability._forged ?? [])
                {
                    if (weak.TryGetTarget(out Capability? child))
                    {
                        pending.Push(child);
                    }
                }

                capability._forged = null;
            }
        }
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Name} {Rights}{(_isValid ? "" : " (revoked)")}";

    // Keeps the chain of ancestors alive as long as any descendant lives, so that revocation from above always reaches it.
    private Capability? _parent;

    private bool MayRevoke(Capability target)
    {
        if (!_isValid || !ReferenceEquals(Authority, target.Authority) || (Rights & Rights.Duplicate) == 0
            || (target.Rights & ~Rights) != 0 || !Name.IsPrefixOf(target.Name))
        {
            return false;
        }

        for (Capability? ancestor = _parent; ancestor is not null; ancestor = ancestor._parent)
        {
            if (ReferenceEquals(ancestor, target))
            {
                return false;
            }
        }

        return true;
    }

    private AccessRefusal CheckForge(in CapabilityName name, Rights rights)
    {
        if (!_isValid)
        {
            return AccessRefusal.NoValidCapability;
        }

        if ((Rights & Rights.Duplicate) == 0)
        {
            return AccessRefusal.RightNotHeld;
        }

        return (rights & ~Rights) == 0 && Name.IsPrefixOf(name) ? AccessRefusal.None : AccessRefusal.NotDominated;
    }
}
