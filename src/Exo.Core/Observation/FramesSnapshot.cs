// SPDX-License-Identifier: MIT
namespace Exo.Core.Observation;

/// <summary>
/// The frames of a pool. Each frame was looked at once, without a lock, while others were allocating: every frame is counted once (<c>Free + Held + Draining = FrameCount</c>), but no two of them at exactly one moment.
/// </summary>
/// <param name="FrameCount">Frames of 4 KiB in the pool.</param>
/// <param name="Free">Free ones.</param>
/// <param name="Held">Those that somebody holds.</param>
/// <param name="Draining">Those that nobody holds and that are not free yet: uses that were in progress have not left, or somebody is just taking them.</param>
/// <param name="Shared">Of those held: with several holders.</param>
/// <param name="Pinned">Of those held: which stay what they are for a use in progress, a sleeping predicate or a ring.</param>
/// <param name="Watched">Of those held: over which somebody sleeps, or an end of a pipe stands by to.</param>
/// <param name="Exported">Of those held: whose memory another process has mapped.</param>
/// <param name="Owners">Who owns how many of those held, the largest first.</param>
/// <param name="IsComplete">False: there were more owners than were asked for.</param>
public sealed record FramesSnapshot(
    int FrameCount, int Free, int Held, int Draining, int Shared, int Pinned, int Watched, int Exported, IReadOnlyList<FrameOwnerSnapshot> Owners, bool IsComplete);

/// <summary>An owner of frames.</summary>
/// <param name="Name">The capability's name.</param>
/// <param name="Frames">How many frames.</param>
public sealed record FrameOwnerSnapshot(string Name, int Frames);
