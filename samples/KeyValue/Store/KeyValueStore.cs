// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Storage.XN;
using KeyValue.Format;
using KeyValue.Log;
using KeyValue.Memory;
using KeyValue.Store;
using KeyValue.Tables;

namespace KeyValue;

/// <summary>
/// A sorted key-value store that is a root of an XN disk, beside whatever else lives there: a log-structured merge tree (O'Neil and others, 1996) in a format of its own, which FORMAT.md describes.
/// <code>
/// write:  batch → log (one write and one flush for all callers that wait) → memory table
/// full:   memory table and the tables that are not much larger → one new table → one sector of the manifest: the new one counts, the old ones do not, the log begins anew
/// read:   memory table, then the tables from the newest to the oldest: each has its index in memory, so one block at most is read of each
/// </code>
/// Thread-safe. Writers wait for one another (<see cref="Write"/>), and for the making of a table, which the writer does whose batch did not fit into the log; readers wait for nobody.
/// No thread is hidden, and nothing is cached but in frames of the disk's pool.
/// </summary>
public sealed class KeyValueStore : IDisposable
{
    /// <summary>Longest key.</summary>
    public const int KeyBytesMax = 1024;

    /// <summary>Longest value.</summary>
    public const int ValueBytesMax = 1 << 20;

    // A group takes more callers in until it has so much; the next one begins then.
    private const int GroupBytesMax = 256 << 10;

    private readonly StoreDisk _disk;
    private readonly PageCache _cache;
    private readonly WriteAheadLog _log;

    // Who may change the store: one at a time.
    private readonly Lock _turn = new();

    // Guards the groups that wait, and whether somebody commits one. Never held together with the turn.
    private readonly object _waiting = new();
    private readonly Queue<CommitGroup> _groups = [];
    private CommitGroup? _open;
    private bool _isCommitting;

    // Tables that nobody reads any more, from whoever let them go to the writer.
    private readonly List<Table> _unused = [];
    private StoreVersion _version;
    private ulong _commit;
    private bool _hasFailed;
    private bool _isDisposed;

    private KeyValueStore(StoreDisk disk, KeyValueOptions options)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.CacheFrames, 16, nameof(options.CacheFrames));
        _disk = disk;
        _cache = new PageCache(disk, options.CacheFrames);
        Table[] tables =
        [
            .. Enumerable.Range(0, Manifest.EntriesMax).Where(slot => disk.Manifest.Entries[slot].Kind == EntryKind.Table)
                .Select(slot => TableReader.Open(disk, _cache, slot)).OrderByDescending(table => table.Age),
        ];
        MemoryTable memory = new();
        _version = new StoreVersion(memory, tables, Unused);
        _log = new WriteAheadLog(disk);
        try
        {
            _log.Replay((key, value, isDeleted, number) => memory.Put(key, isDeleted ? null : value.ToArray(), _commit = number));
        }
        catch
        {
            _cache.Clear();
            _log.Release();
            throw;
        }
    }

    /// <summary>Blocks that the store has, its root included.</summary>
    public long Blocks
    {
        get
        {
            lock (_turn)
            {
                return 1 + _disk.Manifest.Entries.Sum(entry => (long)entry.Extent.Count);
            }
        }
    }

    /// <summary>How many tables there are.</summary>
    public int Tables => _version.Tables.Length;

    /// <summary>Makes a store on an XN disk as the root <paramref name="name"/>, and opens it. The disk stays the caller's, who must own it.</summary>
    /// <exception cref="KeyValueException">Full.</exception>
    /// <exception cref="XnException">Exists: there is a root of this name.</exception>
    public static KeyValueStore Create(XnVolume disk, string name = "kv", KeyValueOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(disk);
        ArgumentNullException.ThrowIfNull(name);
        options ??= new KeyValueOptions();
        ArgumentOutOfRangeException.ThrowIfLessThan(options.LogBlocks, 2, nameof(options));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.LogBlocks, 65_536, nameof(options));
        return disk.Roots.Any(root => root.Name == name)
            ? throw new XnException(XnStatus.Exists, $"the disk has a root '{name}'")
            : new KeyValueStore(StoreDisk.Create(disk, name, options.LogBlocks), options);
    }

    /// <summary>Opens a store, after a crash as well as otherwise: what was committed is there. The disk stays the caller's.</summary>
    /// <exception cref="KeyValueException">NotFound, Damaged, Full (memory).</exception>
    public static KeyValueStore Open(XnVolume disk, string name = "kv", KeyValueOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(disk);
        ArgumentNullException.ThrowIfNull(name);
        return new KeyValueStore(StoreDisk.Open(disk, name), options ?? new KeyValueOptions());
    }

    /// <summary>The value of a key, or null.</summary>
    /// <exception cref="KeyValueException">Damaged.</exception>
    public byte[]? Get(ReadOnlySpan<byte> key)
    {
        StoreVersion version = Hold();
        try
        {
            if (TryFindInMemory(version, key, out byte[]? value))
            {
                return value?.ToArray();
            }

            foreach (Table table in version.Tables)
            {
                if (table.FindPage(key) is int page and >= 0)
                {
                    using PinnedPage pinned = _cache.Pin(table, page);
                    if (TryFind(pinned.Page, key, out int entry))
                    {
                        return pinned.Page.IsDeleted(entry) ? null : pinned.Page.Value(entry).ToArray();
                    }
                }
            }

            return null;
        }
        finally
        {
            version.LetGo();
        }
    }

    /// <summary>Copies the value of a key, as much of it as there is room for; allocates nothing.</summary>
    /// <returns>Whether the key is there; <paramref name="lengthBytes"/> is the value's length.</returns>
    /// <exception cref="KeyValueException">Damaged.</exception>
    public bool TryGet(ReadOnlySpan<byte> key, Span<byte> destination, out int lengthBytes)
    {
        lengthBytes = 0;
        StoreVersion version = Hold();
        try
        {
            if (TryFindInMemory(version, key, out byte[]? found))
            {
                lengthBytes = Copy(found, destination);
                return found is not null;
            }

            foreach (Table table in version.Tables)
            {
                if (table.FindPage(key) is int page and >= 0)
                {
                    using PinnedPage pinned = _cache.Pin(table, page);
                    if (TryFind(pinned.Page, key, out int entry))
                    {
                        lengthBytes = Copy(pinned.Page.Value(entry), destination);
                        return !pinned.Page.IsDeleted(entry);
                    }
                }
            }

            return false;
        }
        finally
        {
            version.LetGo();
        }
    }

    /// <summary>The keys from <paramref name="start"/> on and below <paramref name="end"/> (null: to the last one), in their order, as they are at this moment.</summary>
    public KeyValueCursor Range(ReadOnlySpan<byte> start, byte[]? end = null)
    {
        StoreVersion version = Hold();
        MergedSource entries = new([new MemorySource(version.Memory, Volatile.Read(ref _commit)), .. version.Tables.Select(table => new TableSource(table, _cache))]);
        try
        {
            return new KeyValueCursor(version, entries, start, end);
        }
        catch
        {
            version.LetGo();
            throw;
        }
    }

    /// <summary>Gives a key a value, durably. As <see cref="Write"/>.</summary>
    public void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        KeyValueBatch batch = new();
        batch.Put(key, value);
        Write(batch);
    }

    /// <summary>Takes a key away, durably; also when it is not there. As <see cref="Write"/>.</summary>
    public void Delete(ReadOnlySpan<byte> key)
    {
        KeyValueBatch batch = new();
        batch.Delete(key);
        Write(batch);
    }

    /// <summary>
    /// Makes the changes of a batch, all at once; they are durable on return. Callers that come while a write is under way become durable together, by the next one.
    /// </summary>
    /// <exception cref="ArgumentException">The batch is larger than the log.</exception>
    /// <exception cref="KeyValueException">Full, ReadOnly: nothing has changed. Failed. Damaged: a table could not be read that has to be merged.</exception>
    /// <exception cref="BlockDeviceException">The device has failed: the changes may be there after the next opening, or not.</exception>
    public void Write(KeyValueBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        if (batch.Count == 0)
        {
            return;
        }

        if (LogBatch.SpaceBytes(batch.SizeBytes) > _log.CapacityBytes)
        {
            throw new ArgumentException($"a batch of {batch.SizeBytes} bytes does not fit into the log, which has {_log.CapacityBytes}", nameof(batch));
        }

        CommitGroup group;
        lock (_waiting)
        {
            group = Join(batch.Records);
        }

        while (TryTakeNext(group) is { } next)
        {
            lock (_turn)
            {
                Commit(next);
            }

            lock (_waiting)
            {
                _isCommitting = false;
                Monitor.PulseAll(_waiting);
            }
        }

        group.ThrowIfFailed();
    }

    /// <summary>Makes one table of everything, without what has been deleted or replaced.</summary>
    /// <exception cref="KeyValueException">Full, ReadOnly, Failed, Damaged.</exception>
    public void Compact()
    {
        lock (_turn)
        {
            ThrowIfNotWritable();
            if (_version.Tables.Length > 1 || !_log.IsEmpty)
            {
                MakeTable(_version.Tables.Length);
            }
        }
    }

    /// <summary>Closes the store. Everything is durable already; the disk's blocks in memory are given back.</summary>
    public void Dispose()
    {
        lock (_turn)
        {
            if (_isDisposed)
            {
                return;
            }

            _isDisposed = true;
            if (!_hasFailed && !_disk.Xn.IsReadOnly)
            {
                FreeUnused();
                _disk.Settle();
            }

            _cache.Clear();
            _log.Release();
        }
    }

    private static int Copy(ReadOnlySpan<byte> value, Span<byte> destination)
    {
        value[..Math.Min(value.Length, destination.Length)].CopyTo(destination);
        return value.Length;
    }

    private static bool TryFind(Page page, ReadOnlySpan<byte> key, out int entry)
    {
        entry = page.LowerBound(key);
        return entry < page.Count && page.Key(entry).SequenceEqual(key);
    }

    private bool TryFindInMemory(StoreVersion version, ReadOnlySpan<byte> key, out byte[]? value)
    {
        value = null;
        if (version.Memory.LowerBound(key) is { } node && node.Key.AsSpan().SequenceEqual(key) && node.AsOf(Volatile.Read(ref _commit)) is { } found)
        {
            value = found.Value;
            return true;
        }

        return false;
    }

    private StoreVersion Hold()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        while (true)
        {
            StoreVersion version = Volatile.Read(ref _version);
            if (version.TryHold())
            {
                return version;
            }
        }
    }

    private void Unused(Table table)
    {
        lock (_unused)
        {
            _unused.Add(table);
        }
    }

    private CommitGroup Join(ReadOnlySpan<byte> records)
    {
        bool isFull = _open is null || LogBatch.SpaceBytes(_open.RecordBytes + records.Length) > _log.CapacityBytes || _open.RecordBytes > GroupBytesMax;
        if (isFull)
        {
            _open = new CommitGroup();
            _groups.Enqueue(_open);
        }

        _open!.Add(records);
        return _open;
    }

    /// <summary>Waits until a group is done (null), or the next one is this caller's to commit: then nobody else may join it.</summary>
    private CommitGroup? TryTakeNext(CommitGroup group)
    {
        lock (_waiting)
        {
            while (_isCommitting && !group.IsDone)
            {
                _ = Monitor.Wait(_waiting);
            }

            if (group.IsDone)
            {
                return null;
            }

            _isCommitting = true;
            CommitGroup next = _groups.Dequeue();
            _open = next == _open ? null : _open;
            return next;
        }
    }

    private void ThrowIfNotWritable()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (_disk.Xn.IsReadOnly)
        {
            throw new KeyValueException(KeyValueError.ReadOnly, "the disk is attached read-only");
        }

        if (_hasFailed)
        {
            throw new KeyValueException(KeyValueError.Failed, "a write has failed; open the store again");
        }
    }

    // Under the turn. What goes wrong is told to all callers of the group.
    private void Commit(CommitGroup group)
    {
        try
        {
            ThrowIfNotWritable();
            if (!_log.HasRoom(group.RecordBytes))
            {
                MakeTable(TablesToMerge());
            }

            AppendAndShow(group);
            group.End();
        }
        catch (Exception failure) when (failure is IOException or ObjectDisposedException)
        {
            group.End(failure);
        }
    }

    private void AppendAndShow(CommitGroup group)
    {
        try
        {
            _log.Append(group.Batch);
        }
        catch
        {
            _hasFailed = true;
            throw;
        }

        ulong commit = _commit + 1;
        ReadOnlySpan<byte> records = group.Records;
        while (LogBatch.TryTake(ref records, out ReadOnlySpan<byte> key, out ReadOnlySpan<byte> value, out bool isDeleted))
        {
            _version.Memory.Put(key, isDeleted ? null : value.ToArray(), commit);
        }

        // Readers see all of it from here on, or nothing.
        Volatile.Write(ref _commit, commit);
    }

    /// <summary>
    /// How many of the newest tables the memory table is merged with: as long as the next one is not much larger than all before it together. So every table is at least twice as large as the next newer one,
    /// there are never more than the logarithm of the store's size, and an entry is written again about as often (the logarithmic method of Bentley and Saxe, 1980).
    /// </summary>
    private int TablesToMerge()
    {
        long together = (_version.Memory.SizeBytes / Page.BlockBytes) + 1;
        int count = 0;
        foreach (Table table in _version.Tables)
        {
            if (table.Blocks > together * 2)
            {
                break;
            }

            together += table.Blocks;
            count++;
        }

        return count;
    }

    /// <summary>Makes one table of the memory table and the newest so many tables, and begins the log anew.</summary>
    private void MakeTable(int merged)
    {
        FreeUnused();
        StoreVersion old = _version;
        Table[] inputs = old.Tables[..merged];
        Table[] rest = old.Tables[merged..];
        ulong age = old.Tables.Length > 0 ? old.Tables[0].Age + 1 : 1;

        // Entries that sort differently may fill pages less well; then again with more room.
        uint room = (uint)((old.Memory.SizeBytes / 3500) + inputs.Sum(table => table.Blocks) + 16);
        (int slot, TableBuilder.Result built) = Build(old, inputs, age, room, dropsDeleted: rest.Length == 0);
        try
        {
            _disk.Publish(slot, built.Used, built.IndexStart, built.IndexBlocks, inputs.Select(table => table.Slot));
        }
        catch
        {
            // The manifest may be on the disk or not.
            _hasFailed = true;
            throw;
        }

        _log.Restart();
        Table[] tables = built.Used.Count == 0 ? rest : [new Table(slot, age, built.Used.Count, built.Pages), .. rest];
        Volatile.Write(ref _version, new StoreVersion(new MemoryTable(), tables, Unused));
        old.LetGo();
        FreeUnused();
    }

    private (int Slot, TableBuilder.Result Built) Build(StoreVersion old, Table[] inputs, ulong age, uint room, bool dropsDeleted)
    {
        while (true)
        {
            int slot = _disk.Reserve(room, age);
            if (slot < 0)
            {
                // What has been freed can be used when the manifest without it is durable.
                _disk.Settle();
                slot = _disk.Reserve(room, age);
            }

            if (slot < 0)
            {
                throw new KeyValueException(
                    KeyValueError.Full, _disk.Manifest.FirstEmpty < 0 ? "too many tables are held by open cursors" : $"the disk has no {room} free blocks in a row for a table");
            }

            TableBuilder.Result? built = null;
            try
            {
                MergedSource entries = new([new MemorySource(old.Memory, _commit), .. inputs.Select(table => new TableSource(table, _cache))]);
                built = TableBuilder.Build(_disk, _cache, slot, entries, dropsDeleted);
            }
            finally
            {
                if (built is null)
                {
                    _disk.Free(slot);
                }
            }

            if (built is { } result)
            {
                return (slot, result);
            }

            room *= 2;
        }
    }

    private void FreeUnused()
    {
        Table[] unused;
        lock (_unused)
        {
            unused = [.. _unused];
            _unused.Clear();
        }

        foreach (Table table in unused)
        {
            _cache.Forget(table.Pages);
            _disk.Free(table.Slot);
        }
    }
}
