// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Storage.XN;
using KeyValue.Format;
using KeyValue.Store;

namespace KeyValue.Tables;

/// <summary>A page in memory that stays there, whatever the cache does, until this is disposed of.</summary>
internal readonly ref struct PinnedPage(FramePool? frames, FrameNumber frame, ReadOnlySpan<byte> bytes)
{
    /// <summary>The page.</summary>
    public Page Page { get; } = new(bytes);

    public ReadOnlySpan<byte> Bytes { get; } = bytes;

    public void Dispose() => frames?.Release(frame);
}

/// <summary>
/// Decides which pages of tables are in memory. XN never drops a block by itself; this cache lets the least recently used go (a queue with a second chance) when there are more than it may have.
/// A page of one block is read where it lies, in XN's frame; a longer one is copied together. A page is checked once, when it comes in. Thread-safe; the lock is taken at a miss only.
/// </summary>
internal sealed class PageCache(StoreDisk disk, int framesMax)
{
    private readonly Lock _lock = new();
    private readonly LinkedList<TablePage> _queue = [];
    private int _frames;

    /// <summary>A page; read from the disk if need be.</summary>
    /// <exception cref="KeyValueException">Damaged; Full when there is no frame.</exception>
    public PinnedPage Pin(Table table, int index)
    {
        TablePage page = table.Pages[index];
        while (true)
        {
            if (page.Cached is not null && TryPin(page, out PinnedPage pinned))
            {
                page.IsRecent = true;
                return pinned;
            }

            // What is brought in stays until it is pinned, unless others press for room just now.
            BringIn(table.Slot, page);
            if (TryPin(page, out pinned))
            {
                Accept(page, pinned, table.Age);
                return pinned;
            }
        }
    }

    private void BringIn(int slot, TablePage page)
    {
        FrameNumber[] frames = new FrameNumber[page.Extent.Count];
        for (int i = 0; i < frames.Length; i++)
        {
            frames[i] = TakeFrame();
        }

        disk.Xn.Read(disk.Key, [new XnReadRequest(disk.Root, slot, page.Extent)], frames, out int unused);
        for (int i = 0; i < unused; i++)
        {
            disk.Xn.Frames.Release(frames[i]);
        }
    }

    private void Accept(TablePage page, in PinnedPage pinned, ulong age)
    {
        try
        {
            Page.Check(pinned.Bytes, page.Extent.First, age);
        }
        catch (KeyValueException)
        {
            pinned.Dispose();
            UnbindBlocks(page);
            throw;
        }

        Add(page);
    }

    /// <summary>A page that is in memory and right belongs to the cache from now on.</summary>
    public void Add(TablePage page)
    {
        lock (_lock)
        {
            if (page.Cached is null)
            {
                page.Cached = _queue.AddLast(page);
                _frames += (int)page.Extent.Count;
                Drop(framesMax);
            }
        }
    }

    /// <summary>A frame that the cache or nobody had.</summary>
    /// <exception cref="KeyValueException">Full.</exception>
    public FrameNumber TakeFrame()
    {
        FrameNumber frame;
        while (!disk.Xn.Frames.TryAllocate(disk.Key, out frame))
        {
            lock (_lock)
            {
                int before = _frames;
                Drop(_frames - 1);
                if (_frames == before)
                {
                    throw new KeyValueException(KeyValueError.Full, "no frame of memory is free");
                }
            }
        }

        return frame;
    }

    /// <summary>Nobody will ask for these pages again.</summary>
    public void Forget(IEnumerable<TablePage> pages)
    {
        lock (_lock)
        {
            foreach (TablePage page in pages)
            {
                if (page.Cached is { } place)
                {
                    _queue.Remove(place);
                    Unbind(page);
                }
            }
        }
    }

    public void Clear()
    {
        lock (_lock)
        {
            while (_queue.First is { } first)
            {
                _queue.RemoveFirst();
                Unbind(first.Value);
            }
        }
    }

    // One round through the queue at most, and then a second one past the second chances.
    private void Drop(int downTo)
    {
        for (int left = _queue.Count * 2; _frames > downTo && left > 0; left--)
        {
            LinkedListNode<TablePage> first = _queue.First!;
            TablePage page = first.Value;
            _queue.Remove(first);
            if (page.IsRecent)
            {
                page.IsRecent = false;
                _queue.AddLast(first);
            }
            else
            {
                Unbind(page);
            }
        }
    }

    // A block that somebody is just using in XN stays there; it is not counted any more, and comes in again without being read.
    private void Unbind(TablePage page)
    {
        page.Cached = null;
        _frames -= (int)page.Extent.Count;
        UnbindBlocks(page);
    }

    private void UnbindBlocks(TablePage page)
    {
        for (uint i = 0; i < page.Extent.Count; i++)
        {
            _ = disk.Xn.Unbind(disk.Key, page.Extent.First + i);
        }
    }

    private bool TryPin(TablePage page, out PinnedPage pinned)
    {
        pinned = default;
        if (page.Extent.Count == 1)
        {
            if (!disk.Xn.TryGetFrame(disk.Key, page.Extent.First, out FrameNumber frame))
            {
                return false;
            }

            pinned = new PinnedPage(disk.Xn.Frames, frame, disk.Xn.Frames.Bytes(frame));
            return true;
        }

        byte[] copy = new byte[page.Extent.Count * Page.BlockBytes];
        for (uint i = 0; i < page.Extent.Count; i++)
        {
            if (!disk.Xn.TryGetFrame(disk.Key, page.Extent.First + i, out FrameNumber frame))
            {
                return false;
            }

            disk.Xn.Frames.Bytes(frame).CopyTo(copy.AsSpan((int)i * Page.BlockBytes));
            disk.Xn.Frames.Release(frame);
        }

        pinned = new PinnedPage(null, default, copy);
        return true;
    }
}
