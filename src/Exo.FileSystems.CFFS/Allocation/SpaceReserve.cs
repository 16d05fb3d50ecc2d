// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS.Allocation;

/// <summary>
/// Blocks that are kept for what must be possible on a full volume: moving an open file to the orphan directory so that it can be removed, taking an extended attribute away, and the
/// extent-tree nodes of operations that were let in. Everything that adds something asks here first, before it has changed anything, and is refused while only the reserve is left.
/// Nothing is promised: between the question and the allocation others may be faster, and then the allocation is refused, or is served from the reserve.
/// </summary>
internal sealed class SpaceReserve(VolumeCore core)
{
    private const ulong BlocksMin = 8;
    private const ulong BlocksMax = 64;

    /// <summary>Blocks kept back: one of 128, at least 8 and at most 64 (2,000 files removed while open). Tests set it.</summary>
    public ulong Blocks { get; set; } = Math.Clamp(core.Disk.BlockCount / 128, BlocksMin, BlocksMax);

    /// <summary>Free blocks beyond the reserve.</summary>
    public ulong AvailableBlocks
    {
        get
        {
            ulong free = core.Disk.FreeBlocks;
            return free > Blocks ? free - Blocks : 0;
        }
    }

    /// <summary>
    /// Refuses what needs more blocks than are available. Blocks freed lately become free when their removal is durable: where they are needed everything is committed first. May be called with inode locks held.
    /// </summary>
    /// <exception cref="CffsException">NoSpace.</exception>
    public ValueTask RequireAsync(ulong blocks, IoMode mode) => blocks <= AvailableBlocks ? default : CommitAndRequireAsync(blocks, mode);

    /// <summary>
    /// No block was found. Blocks freed lately become free when their removal is durable: where there are such everything is committed, and it is worth trying again, once. May be called with inode locks held.
    /// </summary>
    /// <exception cref="CffsException">NoSpace.</exception>
    public ValueTask AwaitFreedAsync(bool hasTried, IoMode mode) => hasTried || core.Disk.WillFreeBlocks == 0 ? throw NoSpace() : core.Committer.CommitHomeAsync(mode);

    public CffsException NoSpace() => new(CffsError.NoSpace, $"no space left: {AvailableBlocks} blocks available, {core.Disk.FreeBlocks} free");

    private async ValueTask CommitAndRequireAsync(ulong blocks, IoMode mode)
    {
        if (blocks <= AvailableBlocks + core.Disk.WillFreeBlocks)
        {
            await core.Committer.CommitHomeAsync(mode).ConfigureAwait(false);
        }

        if (blocks > AvailableBlocks)
        {
            throw NoSpace();
        }
    }
}
