// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Core.Blocks;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Commit;

/// <summary>
/// Blocks of small files that have been written since the last commit began, and not been handed to the disk: the oldest go to it while others are being made, as stretches of a large file do. A little stays in the
/// cache until somebody commits, since short files may be gone before; and so do blocks that lie scattered, which a commit, that has all of them, writes in longer runs. A hint: what is dirty XN knows.
/// Guarded by the metadata lock.
/// </summary>
/// <param name="fromBlocks">How many are written before any is handed over.</param>
/// <param name="stretchBlocks">How many are handed over at once, at least.</param>
internal sealed class SmallBlocks(long fromBlocks, long stretchBlocks)
{
    // Blocks in a run, on average, for which a write of its own is worth while.
    private const int RunBlocks = 8;

    // More runs than that are not looked through: something keeps them from being written.
    private const int RunsMax = 16_384;

    private readonly List<BlockExtent> _runs = [];
    private long _blocks;
    private long _written;
    private long _lookAt;

    /// <summary>A small file's blocks have been written.</summary>
    public void Add(in BlockExtent extent)
    {
        if (_runs.Count > 0)
        {
            BlockExtent last = _runs[^1];
            if (last.Contains(extent.First))
            {
                // The pack that was written last, once more.
                return;
            }

            if (last.First + last.Count == extent.First)
            {
                _runs[^1] = new BlockExtent(last.First, last.Count + extent.Count);
                Count(extent.Count);
                return;
            }
        }

        if (_runs.Count == RunsMax)
        {
            Clear();
        }

        _runs.Add(extent);
        Count(extent.Count);
    }

    /// <summary>Whether there is a stretch. Racy without the lock.</summary>
    public bool HasStretch => Volatile.Read(ref _blocks) >= Volatile.Read(ref _lookAt) && Volatile.Read(ref _written) >= fromBlocks && Volatile.Read(ref _blocks) >= stretchBlocks;

    /// <summary>Takes what there is, sorted, if it lies in runs that are worth a write; otherwise it stays, and is looked at again when there is twice as much.</summary>
    public BlockExtent[] Take()
    {
        if (!HasStretch)
        {
            return [];
        }

        Merge();
        if (_runs.Count * Math.Min(RunBlocks, fromBlocks) > _blocks)
        {
            _lookAt = _blocks * 2;
            return [];
        }

        BlockExtent[] taken = [.. _runs];
        Clear();
        return taken;
    }

    /// <summary>A commit begins: it writes all of them.</summary>
    public void Begin()
    {
        Clear();
        _written = 0;
    }

    private void Count(uint blocks)
    {
        _blocks += blocks;
        _written += blocks;
    }

    private void Clear()
    {
        _runs.Clear();
        (_blocks, _lookAt) = (0, 0);
    }

    private void Merge()
    {
        Span<BlockExtent> runs = CollectionsMarshal.AsSpan(_runs);
        runs.Sort(static (a, b) => a.First.Value.CompareTo(b.First.Value));
        int count = 1;
        _blocks = runs[0].Count;
        for (int i = 1; i < runs.Length; i++)
        {
            ref BlockExtent last = ref runs[count - 1];
            ulong end = last.First.Value + last.Count;
            ulong newEnd = Math.Max(end, runs[i].First.Value + runs[i].Count);
            if (runs[i].First.Value <= end)
            {
                last = new BlockExtent(last.First, (uint)(newEnd - last.First.Value));
                _blocks += (long)(newEnd - end);
            }
            else
            {
                runs[count++] = runs[i];
                _blocks += runs[i].Count;
            }
        }

        CollectionsMarshal.SetCount(_runs, count);
    }
}
