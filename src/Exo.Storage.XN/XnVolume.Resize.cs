// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Blocks;

namespace Exo.Storage.XN;

/// <content>A volume that becomes larger or smaller. One durable write of the superblock decides; the free map of the new size is made in memory, and anew after a crash.</content>
public sealed partial class XnVolume
{
    /// <summary>How large the volume can become: blocks that its region for the free map has room for.</summary>
    public ulong BlockCountMax => _superblock.Current.FreeMapBlocks * FreeMapBlock.BitsPerBlock;

    /// <summary>
    /// Changes how many of the device's blocks the volume has, durably. Blocks that come are free. Blocks that go must be: XN moves nothing, whoever owns them moves what they hold, and commits, first.
    /// Others may go on working meanwhile. Needs the volume's own capability.
    /// </summary>
    /// <param name="credential">Who asks.</param>
    /// <param name="blockCount">Blocks of 4096 bytes, from the start of the device.</param>
    /// <exception cref="XnException">
    /// AccessDenied; ReadOnly; BadRange (more than the device has or <see cref="BlockCountMax"/> says, or too few for a volume); NotFree: a root, which the message names, owns a block that would go, or did so
    /// until lately and the removal is not durable yet.
    /// </exception>
    /// <exception cref="BlockDeviceException">The device failed. Blocks that were to come are not there; blocks that were to go are not used again before the volume is attached anew.</exception>
    public void Resize(Credential credential, ulong blockCount)
    {
        ThrowIfClosed();
        RequireOwner(credential, "change the size of the volume");
        if (IsReadOnly)
        {
            throw new XnException(XnStatus.ReadOnly, "the volume is read-only");
        }

        if (blockCount > _device.Geometry.BlockCount || blockCount > BlockCountMax || blockCount < Math.Max(XnSuperblock.MinimumBlocks, DataStart.Value + 1))
        {
            throw new XnException(
                XnStatus.BadRange,
                $"{blockCount} blocks: the device has {_device.Geometry.BlockCount}, the free map room for {BlockCountMax}, and a volume needs {Math.Max(XnSuperblock.MinimumBlocks, DataStart.Value + 1)}");
        }

        MakeUnclean();

        // What has been freed is free, and no replay writes beyond a smaller end.
        Checkpoint();
        lock (_catalogues)
        {
            if (blockCount < BlockCount && !TryWithdraw(blockCount))
            {
                throw StillOwned(blockCount);
            }

            ulong before = BlockCount;
            XnSuperblock next = _superblock.Current;
            next.BlockCount = blockCount;
            next.Clean = 0;

            // First the map: whoever sees the new size finds a bit for each block. Until then what comes is refused as beyond the disk.
            SetFreeMapSize(blockCount);
            try
            {
                _superblock.Store(next);
            }
            catch
            {
                SetFreeMapSize(before);
                throw;
            }
        }
    }

    /// <summary>
    /// The volume has its smaller size in memory before it has it on the disk: whatever becomes of the write, nobody uses the blocks that go. False when one of them is not free.
    /// </summary>
    private bool TryWithdraw(ulong blockCount)
    {
        using (new Changing(this))
        {
            if (_freeMap.FirstUsed(blockCount) != ulong.MaxValue)
            {
                return false;
            }

            _superblock.Current.BlockCount = blockCount;
            _freeMap.Resize(blockCount);
            return true;
        }
    }

    private void SetFreeMapSize(ulong blockCount)
    {
        using (new Changing(this))
        {
            _freeMap.Resize(blockCount);
        }
    }

    private XnException StillOwned(ulong blockCount)
    {
        foreach (RootEntry root in _roots.Entries)
        {
            DiskFreeMap reached = new(BlockCount);
            _ = new RecoveryPass(_device, _superblock.Current, _templates, [root], null, null).Run(reached, []);
            ulong block = reached.FirstUsed(blockCount);
            if (block != ulong.MaxValue)
            {
                return new XnException(XnStatus.NotFree, $"root '{root.Name}' owns block {block}, which would go");
            }
        }

        return new XnException(XnStatus.NotFree, $"blocks from {blockCount} on have been given up, but not durably yet");
    }
}
