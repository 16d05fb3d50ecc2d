// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Commit;

/// <summary>
/// The intent log: a record of each move of an inode between directories, durable before the second directory is. A move is over when both directories are durable;
/// a commit makes everything durable, so after one all records are spent and the log begins anew. Used under the metadata lock.
/// </summary>
internal sealed class IntentLog(VolumeCore core)
{
    private const int IntentsMax = Intent.LogBlocks * Sector.PerBlock;

    private FrameNumber[] _frames = [];
    private BlockNumber _first;
    private readonly HashSet<ulong> _moving = [];
    private int _next;

    public bool IsEmpty => _next == 0;

    public bool IsFull => _next == IntentsMax;

    /// <summary>The log's blocks are in core; their frames stay retained.</summary>
    public void Load(BlockNumber first, FrameNumber[] frames)
    {
        Invariant.Check(frames.Length == Intent.LogBlocks);
        _first = first;
        _frames = frames;
    }

    /// <summary>
    /// The blocks that must be durable before a move's second directory: those of all intents since the last commit, not only its own. When an inode moves from A to B and on to C, C may
    /// become durable while A still has the inode and B never had it; only both intents together tell that A's record is dead.
    /// </summary>
    public BlockExtent Pending => new(_first, (uint)((_next + Sector.PerBlock - 1) / Sector.PerBlock));

    /// <summary>Writes an intent.</summary>
    public void Write(Intent intent)
    {
        // Recovery moves nothing: the intents that it reads are still needed when the power fails once more.
        Invariant.Check(!IsFull && core.AfterCrash is null && core.Metadata.IsHeldByCurrentThread);
        int sector = _next++;
        _moving.Add(intent.Inode);
        if (intent.OtherInode != 0)
        {
            _moving.Add(intent.OtherInode);
        }

        BlockNumber block = _first + (ulong)(sector / Sector.PerBlock);
        FrameNumber frame = _frames[sector / Sector.PerBlock];
        core.Edit.Begin();
        intent.Emit(core.Edit.Sector(block, frame, sector % Sector.PerBlock, SectorKind.Intent, 0));
        core.Edit.Apply();
    }

    /// <summary>Intents of one epoch, for the repair after a crash.</summary>
    public List<Intent> Read(ulong epoch)
    {
        List<Intent> intents = [];
        for (int i = 0; i < IntentsMax; i++)
        {
            BlockNumber block = _first + (ulong)(i / Sector.PerBlock);
            ReadOnlySpan<byte> sector = core.Cache.Bytes(_frames[i / Sector.PerBlock]).Slice(i % Sector.PerBlock * Sector.SizeBytes, Sector.SizeBytes);
            if (!Sector.IsEmpty(sector)
                && Sector.IsValid(sector, core.Seed, (block.Value * Sector.PerBlock) + (uint)(i % Sector.PerBlock), SectorKind.Intent, 0)
                && Intent.Read(sector) is var intent && intent.Epoch == epoch)
            {
                intents.Add(intent);
            }
        }

        return intents;
    }

    /// <summary>Whether an inode has moved since the last commit.</summary>
    public bool IsMoving(ulong inode)
    {
        lock (core.Metadata)
        {
            return _moving.Contains(inode);
        }
    }

    public void AllDone()
    {
        _next = 0;
        _moving.Clear();
    }

    public void ReleaseFrames()
    {
        foreach (FrameNumber frame in _frames)
        {
            core.Cache.Release(frame);
        }

        _frames = [];
    }
}
