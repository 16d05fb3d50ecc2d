// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Storage.XN;
using KeyValue.Format;
using KeyValue.Store;

namespace KeyValue.Tables;

/// <summary>Opens a table of the manifest: its index comes into memory.</summary>
internal static class TableReader
{
    /// <exception cref="KeyValueException">Damaged.</exception>
    public static Table Open(StoreDisk disk, PageCache cache, int slot)
    {
        ManifestEntry entry = disk.Manifest.Entries[slot];
        TablePage[] index = [.. Enumerable.Range(0, (int)entry.IndexBlocks).Select(i => new TablePage([], new BlockExtent(entry.Extent.First + entry.IndexStart + (uint)i, 1)))];
        Table indexTable = new(slot, entry.Age, entry.Extent.Count, index);
        List<TablePage> pages = [];
        uint next = 0;
        for (int i = 0; i < index.Length; i++)
        {
            using PinnedPage pinned = cache.Pin(indexTable, i);
            for (int e = 0; e < pinned.Page.Count; e++)
            {
                ReadOnlySpan<byte> place = pinned.Page.Value(e);
                uint start = place.Length == 8 ? BinaryPrimitives.ReadUInt32LittleEndian(place) : uint.MaxValue;
                uint count = place.Length == 8 ? BinaryPrimitives.ReadUInt32LittleEndian(place[4..]) : 0;
                if (start != next || count == 0 || count > entry.IndexStart - start || (pages.Count > 0 && pages[^1].FirstKey.AsSpan().SequenceCompareTo(pinned.Page.Key(e)) >= 0))
                {
                    throw new KeyValueException(KeyValueError.Damaged, $"block {index[i].Extent.First}: the index of a table is not sound");
                }

                next = start + count;
                pages.Add(new TablePage(pinned.Page.Key(e).ToArray(), new BlockExtent(entry.Extent.First + start, count)));
            }
        }

        if (next != entry.IndexStart)
        {
            throw new KeyValueException(KeyValueError.Damaged, $"block {index[0].Extent.First}: the index of a table ends too early");
        }

        cache.Forget(index);
        return new Table(slot, entry.Age, entry.Extent.Count, [.. pages]);
    }
}
