// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.FileSystems.CFFS;

/// <summary>How to repair.</summary>
public sealed class CffsRepairOptions
{
    /// <summary>Plan everything, write nothing.</summary>
    public bool DryRun { get; init; }

    /// <summary>After this many findings of a kind (before, done, left) they are only counted.</summary>
    public int FindingsMax { get; init; } = 1000;

    /// <summary>Told how far it has come.</summary>
    public IProgress<CffsCheckProgress>? Progress { get; init; }

    /// <summary>Heeded until the first write; from then on the repair runs to its end.</summary>
    public CancellationToken CancellationToken { get; init; }
}

/// <summary>What a repair found, did and left.</summary>
public sealed class CffsRepairReport
{
    private readonly List<CffsFinding> _actions = [];

    internal CffsRepairReport(CffsCheckReport before)
    {
        Before = before;
        After = before;
    }

    /// <summary>The check before the repair.</summary>
    public CffsCheckReport Before { get; }

    /// <summary>What was done, or with <see cref="CffsRepairOptions.DryRun"/> would be: codes as in docs/cffs-format.md, "Repair".</summary>
    public IReadOnlyList<CffsFinding> Actions => _actions;

    /// <summary>All actions, listed or not.</summary>
    public long ActionCount { get; private set; }

    /// <summary>The check after the repair; the one before when nothing was written.</summary>
    public CffsCheckReport After { get; internal set; }

    /// <summary>The volume is clean now.</summary>
    public bool IsClean => After.IsClean;

    /// <summary>Something was written.</summary>
    public bool HasWritten { get; internal set; }

    internal void Add(CffsFinding action, int actionsMax)
    {
        ActionCount++;
        if (_actions.Count < actionsMax)
        {
            _actions.Add(action);
        }
    }
}

/// <summary>
/// <c>fsck --repair</c>: brings a damaged volume to a state that <see cref="CffsCheck"/> calls clean, and keeps what can be proved to be a file (docs/cffs-format.md, "Repair", has the rules).
/// It plans in memory, then writes: first what is new, flushed, then what points to it. A repair that a power cut ends is finished by the next one.
/// </summary>
public static class CffsRepair
{
    /// <summary>Repairs the volume in an image file or on a block device.</summary>
    /// <exception cref="CffsException">There is no C-FFS volume (NotCffs), or one with features that this code does not know.</exception>
    /// <exception cref="IOException">The image cannot be opened, read or written.</exception>
    public static CffsRepairReport Run(string path, CffsRepairOptions? options = null)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using BlockDevice device = BlockDevice.Open(path, frames, new BlockDeviceOptions { ReadOnly = options?.DryRun == true });
        return Run(device, options);
    }

    /// <summary>
    /// Repairs the volume on a device, which nobody else may have open. Memory: four bits for each block of the disk, 400 bytes for each record (name) and 32 for each extent of a fragmented file,
    /// 16 for each block that proves to be a lost directory's, 24 for each block of a directory, 700 for each sector that changes, and 1 MiB; beside it, the frames of the device's pool.
    /// </summary>
    /// <exception cref="CffsException">There is no C-FFS volume (NotCffs), or one with features that this code does not know.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; nothing has been written.</exception>
    /// <exception cref="IOException">The device cannot be written.</exception>
    public static CffsRepairReport Run(BlockDevice device, CffsRepairOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(device);
        return Check.RepairRun.Run(device, options ?? new CffsRepairOptions());
    }

    /// <summary>As <see cref="Run(string, CffsRepairOptions?)"/>, on a thread of the pool.</summary>
    /// <param name="path">The image or device.</param>
    /// <param name="options">How; <see cref="CffsRepairOptions.CancellationToken"/> is heeded until the first write.</param>
    /// <param name="cancellationToken">Heeded until it begins.</param>
    /// <inheritdoc cref="Run(string, CffsRepairOptions?)"/>
    public static ValueTask<CffsRepairReport> RunAsync(string path, CffsRepairOptions? options = null, CancellationToken cancellationToken = default) =>
        new(Task.Run(() => Run(path, options), cancellationToken));

    /// <summary>As <see cref="Run(BlockDevice, CffsRepairOptions?)"/>, on a thread of the pool.</summary>
    /// <param name="device">The device, which nobody else may have open.</param>
    /// <param name="options">How; <see cref="CffsRepairOptions.CancellationToken"/> is heeded until the first write.</param>
    /// <param name="cancellationToken">Heeded until it begins.</param>
    /// <inheritdoc cref="Run(BlockDevice, CffsRepairOptions?)"/>
    public static ValueTask<CffsRepairReport> RunAsync(BlockDevice device, CffsRepairOptions? options = null, CancellationToken cancellationToken = default) =>
        new(Task.Run(() => Run(device, options), cancellationToken));
}
