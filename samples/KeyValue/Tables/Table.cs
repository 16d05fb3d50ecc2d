// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Storage.XN;
using KeyValue.Format;

namespace KeyValue.Tables;

/// <summary>Where a page of a table is. The cache keeps its state here.</summary>
internal sealed class TablePage(byte[] firstKey, BlockExtent extent)
{
    private bool _isRecent;

    public byte[] FirstKey => firstKey;

    public BlockExtent Extent => extent;

    /// <summary>Whether it was used since the cache last looked for something to drop. A hint: no lock.</summary>
    public bool IsRecent
    {
        get => Volatile.Read(ref _isRecent);
        set => Volatile.Write(ref _isRecent, value);
    }

    /// <summary>Its place in the cache's queue, if it is in memory and has been checked. Changed under the cache's lock.</summary>
    public LinkedListNode<TablePage>? Cached { get; set; }
}

/// <summary>A sorted table that does not change any more, and its index, which is in memory.</summary>
/// <param name="slot">Its entry in the manifest, and so XN's partition.</param>
/// <param name="age">Of two tables the one with the higher number is newer.</param>
/// <param name="blocks">Its size.</param>
/// <param name="pages">Its pages by first key.</param>
internal sealed class Table(int slot, ulong age, uint blocks, TablePage[] pages)
{
    private int _holders;

    public int Slot => slot;

    public ulong Age => age;

    public uint Blocks => blocks;

    public TablePage[] Pages => pages;

    /// <summary>The page that may hold a key: the last one that does not begin above it; -1 if all do.</summary>
    public int FindPage(ReadOnlySpan<byte> key)
    {
        int low = 0;
        int high = pages.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            (low, high) = pages[middle].FirstKey.AsSpan().SequenceCompareTo(key) <= 0 ? (middle + 1, high) : (low, middle);
        }

        return low - 1;
    }

    /// <summary>One more version of the store contains it.</summary>
    public void Hold() => Interlocked.Increment(ref _holders);

    /// <returns>Whether no version contains it any more.</returns>
    public bool LetGo() => Interlocked.Decrement(ref _holders) == 0;
}
