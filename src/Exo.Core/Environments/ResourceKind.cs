// SPDX-License-Identifier: MIT
namespace Exo.Core.Environments;

/// <summary>What quotas are counted in.</summary>
public enum ResourceKind : byte
{
    /// <summary>Page frames of 4 KiB.</summary>
    Frames = 0,

    /// <summary>Disk blocks of 4 KiB.</summary>
    Blocks = 1,

    /// <summary>Slots of packet rings.</summary>
    RingSlots = 2,

    /// <summary>Network ports and packet filters.</summary>
    Ports = 3,
}

/// <summary>
/// A store of things that environments hold and that can be taken away by force. Things have numbers: the physical names.
/// </summary>
public interface IRevocable
{
    /// <summary>What the things are counted as.</summary>
    ResourceKind Kind { get; }

    /// <summary>
    /// Takes one thing away from whoever holds it: bindings end at once, and it is handed on only when the uses in progress have
    /// left. Must not wait for its user and must not throw. Called once for a thing, when it is no longer on its holder's list.
    /// </summary>
    void Repossess(RepossessionOrder order);
}

/// <summary>The order to take one thing from an environment. Only environments make them, so nobody else can take things by force.</summary>
public sealed class RepossessionOrder
{
    internal RepossessionOrder(ExoEnvironment holder, ulong number)
    {
        Holder = holder;
        Number = number;
    }

    /// <summary>From whom. A store that knows its things' owners checks that this is one.</summary>
    public ExoEnvironment Holder { get; }

    /// <summary>The thing.</summary>
    public ulong Number { get; }
}

/// <summary>Why an environment did not get something. A closed list.</summary>
public enum QuotaRefusal : byte
{
    /// <summary>Not refused.</summary>
    None = 0,

    /// <summary>The environment, or one above it, would exceed its quota: see <see cref="QuotaVerdict.LimitedBy"/>.</summary>
    QuotaExhausted = 1,

    /// <summary>Things of this kind are being asked back from the environment: it gets no new ones until that is settled.</summary>
    BeingRevoked = 2,

    /// <summary>The resource has none free, or not the one wanted.</summary>
    NoneFree = 3,

    /// <summary>The environment holds that very thing already.</summary>
    AlreadyHeld = 4,

    /// <summary>The environment has ended.</summary>
    EnvironmentEnded = 5,
}

/// <summary>The answer to a request that is charged to a quota.</summary>
/// <param name="Refusal">The rule that stood against it, or none.</param>
/// <param name="LimitedBy">The environment whose rule it was: the one asking or one above it; null when granted.</param>
public readonly record struct QuotaVerdict(QuotaRefusal Refusal, ExoEnvironment? LimitedBy)
{
    /// <summary>True when the request was granted and charged.</summary>
    public bool IsGranted => Refusal == QuotaRefusal.None;
}

/// <summary>The quotas of a new environment: how many it and all environments below it may hold. The default is no limit but its parent's.</summary>
public sealed class EnvironmentQuotas
{
    /// <summary>Page frames.</summary>
    public long Frames { get; init; } = long.MaxValue;

    /// <summary>Disk blocks.</summary>
    public long Blocks { get; init; } = long.MaxValue;

    /// <summary>Slots of packet rings.</summary>
    public long RingSlots { get; init; } = long.MaxValue;

    /// <summary>Ports and packet filters.</summary>
    public long Ports { get; init; } = long.MaxValue;

    internal long[] ToArray()
    {
        long[] limits = [Frames, Blocks, RingSlots, Ports];
        foreach (long limit in limits)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(limit);
        }

        return limits;
    }
}

/// <summary>The exported counters of an environment, by position in <see cref="ExoEnvironment.Counters"/>.</summary>
public enum EnvironmentCounter
{
    /// <summary>Frames held by it and those below it, now. The next three are those of the other kinds.</summary>
    FramesHeld = 0,

    /// <summary>Blocks held, now.</summary>
    BlocksHeld,

    /// <summary>Ring slots held, now.</summary>
    RingSlotsHeld,

    /// <summary>Ports and filters held, now.</summary>
    PortsHeld,

    /// <summary>Requests refused by a quota here or above.</summary>
    Refusals,

    /// <summary>Revocations that asked it for something.</summary>
    Upcalls,

    /// <summary>Upcall handlers that threw.</summary>
    UpcallFailures,

    /// <summary>Things that it gave back while being asked.</summary>
    GivenBack,

    /// <summary>Things taken away from it by force.</summary>
    Repossessed,

    /// <summary>Times it went to sleep on a predicate that did not hold yet.</summary>
    Sleeps,

    /// <summary>Times a predicate woke it.</summary>
    Wakes,

    /// <summary>The place of its last wake in the order of all wakes in its tree of environments, counted from 1.</summary>
    LastWakeOrder,
}
