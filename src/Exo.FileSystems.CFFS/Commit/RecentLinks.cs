// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS.Commit;

/// <summary>
/// Where external inodes have got names since the last commit. Before one of an inode's names goes, these must be durable: else a power cut between leaves an inode that had
/// a name all the time with none. Used under the metadata lock; a commit empties it.
/// </summary>
internal sealed class RecentLinks(VolumeCore core)
{
    private readonly Dictionary<ulong, List<BlockNumber>> _blocks = [];

    public void Add(Inode inode, BlockNumber block)
    {
        Invariant.Check(core.Metadata.IsHeldByCurrentThread);
        if (!_blocks.TryGetValue(inode.Number, out List<BlockNumber>? blocks))
        {
            _blocks.Add(inode.Number, blocks = []);
        }

        if (!blocks.Contains(block))
        {
            blocks.Add(block);
        }
    }

    public bool IsEmpty => _blocks.Count == 0;

    public bool Has(Inode inode)
    {
        lock (core.Metadata)
        {
            return _blocks.ContainsKey(inode.Number);
        }
    }

    /// <summary>Makes a block, in which a name of the inode is about to go, wait for the inode's new names. Under the inode's lock.</summary>
    public async ValueTask OrderAsync(Inode inode, BlockNumber after, IoMode io)
    {
        BlockNumber[] before;
        lock (core.Metadata)
        {
            if (!_blocks.TryGetValue(inode.Number, out List<BlockNumber>? blocks))
            {
                return;
            }

            before = [.. blocks];
        }

        foreach (BlockNumber block in before)
        {
            if (block != after)
            {
                await core.OrderAsync(block, after, io).ConfigureAwait(false);
            }
            else
            {
                // Two sectors of one block: only a commit puts the one before the other.
                await core.Committer.CommitAsync(io).ConfigureAwait(false);
            }
        }
    }

    public void AllDone() => _blocks.Clear();
}
