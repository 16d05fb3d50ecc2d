// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Observation;
using Exo.Core.Scheduling;
using Exo.Storage.XN;

namespace Exo.Host;

/// <summary>
/// A process that runs an exokernel, at one moment: as much of it as there is. Each part is consistent in itself (see there); parts are taken one after the other.
/// </summary>
public sealed record ExokernelSnapshot
{
    /// <summary>What the process calls itself.</summary>
    public required string Name { get; init; }

    /// <summary>Its process.</summary>
    public required int ProcessId { get; init; }

    /// <summary>When this was taken, by the machine's monotonic clock: differences of two snapshots of one process make rates.</summary>
    public required long TakenAtMicroseconds { get; init; }

    /// <summary>False: lists were cut, because there was more than an observer is told.</summary>
    public bool IsComplete { get; init; } = true;

    /// <summary>Library OSes in processes of their own that are attached to this host.</summary>
    public IReadOnlyList<ClientSnapshot> Clients { get; init; } = [];

    /// <summary>The scheduler of environments, or null.</summary>
    public SchedulerSnapshot? Scheduler { get; init; }

    /// <summary>Environments, parents before their children.</summary>
    public IReadOnlyList<EnvironmentSnapshot> Environments { get; init; } = [];

    /// <summary>Predicates that environments sleep on.</summary>
    public IReadOnlyList<PredicateSnapshot> Predicates { get; init; } = [];

    /// <summary>Ends of pipes and rings.</summary>
    public IReadOnlyList<RingSnapshot> Rings { get; init; } = [];

    /// <summary>The page frames, or null.</summary>
    public FramesSnapshot? Frames { get; init; }

    /// <summary>XN's registry, or null.</summary>
    public RegistrySnapshot? Registry { get; init; }

    /// <summary>What else the process counts; every value only grows.</summary>
    public IReadOnlyList<CounterSnapshot> Counters { get; init; } = [];

    /// <summary>Looks at what a process has.</summary>
    /// <param name="name">What it calls itself.</param>
    /// <param name="frames">Its frames.</param>
    /// <param name="disk">Its disk.</param>
    /// <param name="root">Its environments: this one and all below.</param>
    /// <param name="scheduler">What they run on.</param>
    /// <exception cref="ObjectDisposedException">The disk is closed.</exception>
    public static ExokernelSnapshot Take(string name, FramePool? frames = null, XnVolume? disk = null, ExoEnvironment? root = null, Scheduler? scheduler = null)
    {
        ArgumentNullException.ThrowIfNull(name);
        EnvironmentTreeSnapshot? tree = root?.Observe();
        FramesSnapshot? pool = frames?.Observe();
        return new ExokernelSnapshot
        {
            Name = name,
            ProcessId = Environment.ProcessId,
            TakenAtMicroseconds = (long)Stopwatch.GetElapsedTime(0).TotalMicroseconds,
            IsComplete = tree?.IsComplete != false && pool?.IsComplete != false,
            Scheduler = scheduler?.Observe(),
            Environments = tree?.Environments ?? [],
            Predicates = tree?.Predicates ?? [],
            Rings = tree?.Rings ?? [],
            Frames = pool,
            Registry = disk?.Observe(),
        };
    }

    /// <summary>The snapshot as JSON (UTF-8): members in camel case, one object. <see cref="FromJson"/> reads it.</summary>
    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, SnapshotJson.Relaxed.ExokernelSnapshot);

    /// <summary>Reads what <see cref="ToJson"/> wrote. Members that are not known are passed over.</summary>
    /// <exception cref="JsonException">It is no such snapshot.</exception>
    public static ExokernelSnapshot FromJson(ReadOnlySpan<byte> json) =>
        JsonSerializer.Deserialize(json, SnapshotJson.Relaxed.ExokernelSnapshot) ?? throw new JsonException("There is no snapshot, but null.");
}

/// <summary>A library OS in another process, as its host sees it.</summary>
/// <param name="ProcessId">The process that attached.</param>
/// <param name="User">Its user.</param>
/// <param name="Name">The name of its capability.</param>
/// <param name="IsServed">Whether a request of its is being carried out.</param>
/// <param name="Requests">Requests carried out.</param>
/// <param name="Refused">Of them, those that were refused.</param>
/// <param name="RanMicroseconds">Processor time of the host's thread for it, looking for requests included.</param>
/// <param name="BlockFramesHeld">Frames with blocks that it can read.</param>
/// <param name="BlockFrames">Frames that there are for that.</param>
/// <param name="FramesHeld">Frames of its own that hold blocks of XN's.</param>
/// <param name="Frames">Frames that it has of its own.</param>
/// <param name="DiskWeight">Its part of the disk, in proportion to the others'.</param>
/// <param name="DiskBytes">Bytes that it has had its turn for at the disk.</param>
/// <param name="DiskBlocks">Blocks of the disk that the library OSes of its user have allocated since the host began, less those that they have freed.</param>
/// <param name="DiskBlocksMax">How many that may be; null: as many as there are.</param>
public sealed record ClientSnapshot(
    int ProcessId, uint User, string Name, bool IsServed, long Requests, long Refused, long RanMicroseconds, int BlockFramesHeld, int BlockFrames, int FramesHeld, int Frames,
    int DiskWeight = 1, long DiskBytes = 0, long DiskBlocks = 0, long? DiskBlocksMax = null);

/// <summary>Something that a process counts.</summary>
/// <param name="Name">What, for people.</param>
/// <param name="Value">How many since the process began.</param>
public sealed record CounterSnapshot(string Name, long Value);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, UseStringEnumConverter = true)]
[JsonSerializable(typeof(ExokernelSnapshot))]
internal sealed partial class SnapshotJson : JsonSerializerContext
{
    private static readonly Lazy<SnapshotJson> s_relaxed = new(() => new SnapshotJson(new JsonSerializerOptions(Default!.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }));

    // For files and pipes, and for pages that put it nowhere but into text.
    public static SnapshotJson Relaxed => s_relaxed.Value;
}
