// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Exo.Capabilities;
using Exo.Core.Memory;

namespace Exo.Core.Environments;

/// <summary>
/// A principal: a name, a list of capabilities, quotas, and the list of what it holds. Environments form a tree, as their names do: 1.4.2 is
/// below 1.4, holds a capability forged from its parent's, and what it holds counts against its own quota and against
/// those of all above it. Thread-safe.
/// <code>
///   granted --> held --> given back (TryGiveBack)
///                 \----> repossessed (revocation past its deadline, or the end of the environment)
/// </code>
/// Whoever takes a thing off the list of held ones, under the environment's lock, is the one who gives it to its store: a
/// thing is given back or repossessed, never both.
/// </summary>
/// <remarks>Not called Environment, which every C# file knows as <see cref="System.Environment"/>.</remarks>
public sealed partial class ExoEnvironment : IDisposable
{
    private const int KindCount = 4;

    // Guards everything below; also the quotas of the whole tree (the root's). Order: an environment's lock before its tree's.
    private readonly Lock _lock = new();
    private readonly Lock _tree;
    private readonly long[] _limits;
    private readonly long[] _counters = new long[(int)EnvironmentCounter.LastWakeOrder + 1];
    private readonly Dictionary<(IRevocable Resource, ulong Number), long> _held = [];
    private readonly Dictionary<CapabilityName, ExoEnvironment> _children = [];
    private bool _hasEnded;

    private ExoEnvironment(ExoEnvironment? parent, Capability guard, EnvironmentQuotas? quotas, TimeProvider timeProvider)
    {
        Parent = parent;
        Name = guard.Name;
        TimeProvider = timeProvider;
        Capabilities = new CapabilityList(guard);
        Credential = Credential.Of(guard);
        _tree = parent is null ? new Lock() : parent._tree;
        _wakeOrder = parent is null ? new StrongBox<long>() : parent._wakeOrder;
        _limits = (quotas ?? new EnvironmentQuotas()).ToArray();
    }

    /// <summary>The environment above, or null.</summary>
    public ExoEnvironment? Parent { get; }

    /// <summary>Its place in the tree: the name of its own capability.</summary>
    public CapabilityName Name { get; }

    /// <summary>Its capabilities; slot 0 is its own, which guards the list.</summary>
    public CapabilityList Capabilities { get; }

    /// <summary>Its own capability, ready to present.</summary>
    public Credential Credential { get; }

    /// <summary>The clock of its deadlines.</summary>
    public TimeProvider TimeProvider { get; }

    /// <summary>What was taken from it by force.</summary>
    public RepossessionRecord Repossessions { get; } = new();

    /// <summary>The exported counters, by <see cref="EnvironmentCounter"/>: to be read without a call, and changing under the reader.</summary>
    public ReadOnlySpan<long> Counters => _counters;

    /// <summary>Makes the environment above all others of an authority.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A quota is negative.</exception>
    public static ExoEnvironment CreateRoot(CapabilityAuthority authority, EnvironmentQuotas? quotas = null, TimeProvider? timeProvider = null)
    {
        ArgumentNullException.ThrowIfNull(authority);
        return new ExoEnvironment(null, authority.Root, quotas, timeProvider ?? TimeProvider.System);
    }

    /// <summary>Makes an environment below this one.</summary>
    /// <param name="part">What its name has beyond this one's, at least one byte.</param>
    /// <param name="quotas">Its limits; this environment's own limits hold besides.</param>
    /// <exception cref="ArgumentException">The part is empty, the name too long, or taken by a living child.</exception>
    /// <exception cref="AccessDeniedException">This environment's own capability is revoked.</exception>
    /// <exception cref="ObjectDisposedException">This environment has ended.</exception>
    public ExoEnvironment CreateChild(ReadOnlySpan<byte> part, EnvironmentQuotas? quotas = null)
    {
        if (part.IsEmpty)
        {
            throw new ArgumentException("A child's name goes beyond its parent's by at least one byte.", nameof(part));
        }

        CapabilityName name = Name.Append(part);
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_hasEnded, this);
            if (_children.ContainsKey(name))
            {
                throw new ArgumentException($"There is an environment {name} already.", nameof(part));
            }

            Capability guard = Credential.Capabilities[0].Forge(name, Rights.All);
            ExoEnvironment child = new(this, guard, quotas, TimeProvider);
            _children.Add(name, child);
            return child;
        }
    }

    /// <summary>How many things of a kind it and all below it may hold.</summary>
    public long Quota(ResourceKind kind) => Volatile.Read(ref _limits[Index(kind)]);

    /// <summary>How many things of a kind it and all below it hold.</summary>
    public long Held(ResourceKind kind) => Volatile.Read(ref _counters[Index(kind)]);

    /// <summary>
    /// Sets a quota. What is held beyond a lowered one stays held until it is given back or revoked. Needs write access to the parent (the root: to itself).
    /// </summary>
    /// <exception cref="AccessDeniedException">The credential does not govern the parent.</exception>
    public void SetQuota(Credential by, ResourceKind kind, long limit)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(limit);
        ThrowUnlessGoverns(by, Parent ?? this);
        Volatile.Write(ref _limits[Index(kind)], limit);
    }

    /// <summary>Whether it holds that thing itself.</summary>
    public bool Holds(IRevocable resource, ulong number)
    {
        lock (_lock)
        {
            return _held.ContainsKey((resource, number));
        }
    }

    /// <summary>
    /// Charges one thing to this environment and those above it, and lists it as held. The caller has it in hand, so that it can
    /// be taken back any time from now on; on a refusal the caller keeps it, and nothing is changed.
    /// </summary>
    public QuotaVerdict TryHold(IRevocable resource, ulong number)
    {
        ArgumentNullException.ThrowIfNull(resource);
        int kind = Index(resource.Kind);
        lock (_lock)
        {
            QuotaVerdict verdict =
                _hasEnded ? new QuotaVerdict(QuotaRefusal.EnvironmentEnded, this)
                : _requests.Exists(request => request.Kind == resource.Kind) ? new QuotaVerdict(QuotaRefusal.BeingRevoked, this)
                : _held.ContainsKey((resource, number)) ? new QuotaVerdict(QuotaRefusal.AlreadyHeld, this)
                : Charge(kind);
            if (verdict.IsGranted)
            {
                _held.Add((resource, number), ++_holdings);
            }
            else
            {
                Count(EnvironmentCounter.Refusals);
            }

            return verdict;
        }
    }

    /// <summary>
    /// Takes a thing off the list and off the quotas. True: the caller now gives it to its store, and nobody else does. False:
    /// it is not held here, for instance because it has been repossessed; it must not be touched.
    /// </summary>
    public bool TryGiveBack(IRevocable resource, ulong number)
    {
        ArgumentNullException.ThrowIfNull(resource);
        lock (_lock)
        {
            if (!_held.Remove((resource, number)))
            {
                return false;
            }

            Discharge(Index(resource.Kind));
            CountOffRequest(resource.Kind);
            return true;
        }
    }

    /// <summary>Allocates any free frame of a pool, charged to this environment.</summary>
    /// <exception cref="AccessDeniedException">The environment's capability is not of the pool's authority, or is revoked.</exception>
    public QuotaVerdict TryAllocateFrame(FramePool pool, out FrameNumber frame)
    {
        ArgumentNullException.ThrowIfNull(pool);
        if (!pool.TryAllocate(Credential, out frame))
        {
            return new QuotaVerdict(QuotaRefusal.NoneFree, this);
        }

        QuotaVerdict verdict = TryHold(pool, frame.Value);
        if (!verdict.IsGranted)
        {
            pool.Release(frame);
            frame = default;
        }

        return verdict;
    }

    /// <summary>Releases a frame that this environment holds. False when it does not, for instance since it was repossessed.</summary>
    public bool TryReleaseFrame(FramePool pool, FrameNumber frame)
    {
        ArgumentNullException.ThrowIfNull(pool);
        if (!TryGiveBack(pool, frame.Value))
        {
            return false;
        }

        pool.Release(frame);
        return true;
    }

    /// <summary>
    /// Ends the environment and all below it: what they hold is repossessed, revocations in progress are settled, their own
    /// capabilities are revoked (the root's stays), sleeps end with <see cref="ObjectDisposedException"/>. Ending twice changes nothing.
    /// </summary>
    public void Dispose()
    {
        ExoEnvironment[] children;
        lock (_lock)
        {
            if (_hasEnded)
            {
                return;
            }

            _hasEnded = true;
            children = [.. _children.Values];
        }

        foreach (ExoEnvironment child in children)
        {
            child.Dispose();
        }

        EndSleeps();
        RepossessAll();
        Scheduled?.Scheduler.Remove(_scheduled!);
        if (Parent is not null)
        {
            Capability own = Credential.Capabilities[0];
            own.Revoke(Credential.Of(own.Authority.Root));
            lock (Parent._lock)
            {
                Parent._children.Remove(Name);
            }
        }
    }

    /// <inheritdoc/>
    public override string ToString() => $"environment {Name}";

    internal void Count(EnvironmentCounter counter) => Interlocked.Increment(ref _counters[(int)counter]);

    internal void Woken(long order)
    {
        Volatile.Write(ref _counters[(int)EnvironmentCounter.LastWakeOrder], order);
        Count(EnvironmentCounter.Wakes);
    }

    private static void ThrowUnlessGoverns(Credential by, ExoEnvironment environment)
    {
        ArgumentNullException.ThrowIfNull(by);
        AccessRefusal refusal = new AccessControlList(environment.Name, capacity: 1, environment.Credential.Capabilities[0].Authority).Check(by, Rights.Write);
        if (refusal != AccessRefusal.None)
        {
            throw new AccessDeniedException(environment.ToString(), Rights.Write, refusal);
        }
    }

    private static int Index(ResourceKind kind)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((int)kind, KindCount, nameof(kind));
        return (int)kind;
    }

    // Decide, then apply, under the tree's lock: no quota is ever exceeded, not even for a moment, and a refusal is true.
    private QuotaVerdict Charge(int kind)
    {
        lock (_tree)
        {
            for (ExoEnvironment? at = this; at is not null; at = at.Parent)
            {
                if (at._counters[kind] >= Volatile.Read(ref at._limits[kind]))
                {
                    return new QuotaVerdict(QuotaRefusal.QuotaExhausted, at);
                }
            }

            for (ExoEnvironment? at = this; at is not null; at = at.Parent)
            {
                Volatile.Write(ref at._counters[kind], at._counters[kind] + 1);
            }

            return default;
        }
    }

    private void Discharge(int kind)
    {
        lock (_tree)
        {
            for (ExoEnvironment? at = this; at is not null; at = at.Parent)
            {
                Invariant.Check(at._counters[kind] > 0);
                Volatile.Write(ref at._counters[kind], at._counters[kind] - 1);
            }
        }
    }
}
