// SPDX-License-Identifier: MIT
using Exo.Core.Ipc;

namespace Exo.Core.Observation;

/// <summary>What a ring carries.</summary>
public enum RingKind : byte
{
    /// <summary>A pipe: bytes.</summary>
    Pipe = 0,

    /// <summary>A message ring: bytes of messages and their headers.</summary>
    Messages = 1,

    /// <summary>A packet ring: packets.</summary>
    Packets = 2,

    /// <summary>What a client in another process asks of its host: bytes.</summary>
    Requests = 3,

    /// <summary>What the host answers: bytes.</summary>
    Replies = 4,
}

/// <summary>One end of a ring at one moment: as its owner sees it, who believes the other side only within bounds.</summary>
/// <param name="Environment">Whose end.</param>
/// <param name="Kind">What is in it, and what depth and capacity are counted in.</param>
/// <param name="Writes">Whether this is the end that is written to.</param>
/// <param name="Frame">The first of the writer's frames, by which ends of one ring are known; null: none that has a name here.</param>
/// <param name="Depth">What is in it, 0 to <paramref name="Capacity"/>.</param>
/// <param name="Capacity">What fits into it.</param>
/// <param name="Passed">What has gone through it, seen from this end: was written, or was read.</param>
/// <param name="Lost">What there was no room for; only packet rings lose.</param>
/// <param name="Status">Ok; Closed: the other side has closed; Revoked: its frames were taken back; Corrupt: the other side has scribbled.</param>
public sealed record RingSnapshot(string Environment, RingKind Kind, bool Writes, uint? Frame, long Depth, long Capacity, long Passed, long Lost, IpcStatus Status);

/// <summary>An end of a ring that its environment lists while it is open.</summary>
internal interface IObservableRing
{
    /// <summary>What it is like now. Takes the ring's own lock for a moment; the caller holds none.</summary>
    RingSnapshot Observe();
}
