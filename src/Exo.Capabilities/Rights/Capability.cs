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
        lock (Authority.Forging)
        {
            AccessRefusal refusal = CheckForge(name, rights);
            if (refusal != AccessRefusal.None)
            {
                throw new AccessDeniedException($"capability {Name}", Rights.Duplicate, refusal);
            }

            Capability forged = new(Authority, name, rights);
            _forged ??= [];
            if (_forged.Count == _forged.Capacity)
            {
                _forged.RemoveAll(weak => !weak.TryGetTarget(out Capability? child) || !child._isValid);
            }

            // A dropped capability must not take its living descendants out of reach: they hang below their first living ancestor's list.
            forged._parent = this;
            _forged.Add(new WeakReference<Capability>(forged));
            return forged;
        }
    }

    /// <summary>Revokes this capability and everything forged from it.</summary>
    /// <param name="by">Who asks: must hold a capability that dominates this one and may duplicate.</param>
    /// <exception cref="AccessDeniedException">The credential holds no such capability.</exception>
    public void Revoke(Credential by)
    {
        ArgumentNullException.ThrowIfNull(by);
        lock (Authority.Forging)
        {
            bool allowed = false;
            foreach (Capability held in by.Capabilities)
            {
                allowed |= held.Dominates(this) && (held.Rights & Rights.Duplicate) != 0;
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

    internal Capability? Parent => _parent;

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
