// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN;
using KeyValue.Format;
using KeyValue.Store;

namespace KeyValue.Log;

/// <summary>
/// The log: one extent, filled from its beginning by batches of the present epoch, and begun anew when the manifest says another epoch. All its blocks stay in memory, and XN writes them from there.
/// Only the writer uses it.
/// </summary>
internal sealed class WriteAheadLog
{
    private readonly StoreDisk _disk;
    private readonly BlockExtent _extent;
    private readonly FrameNumber[] _frames;
    private ulong _number = 1;
    private int _end;

    /// <summary>Brings the log in.</summary>
    public WriteAheadLog(StoreDisk disk)
    {
        _disk = disk;
        _extent = disk.Manifest.Entries[0].Extent;
        _frames = new FrameNumber[_extent.Count];
        FrameNumber[] taken = new FrameNumber[_extent.Count];
        for (int i = 0; i < taken.Length; i++)
        {
            if (!disk.Xn.Frames.TryAllocate(disk.Key, out taken[i]))
            {
                Release(taken.AsSpan(0, i));
                throw new KeyValueException(KeyValueError.Full, $"{taken.Length} frames of memory are not free for the log");
            }
        }

        disk.Xn.Read(disk.Key, [new XnReadRequest(disk.Root, 0, _extent)], taken, out int unused);
        Release(taken.AsSpan(0, unused));
        for (int i = 0; i < _frames.Length; i++)
        {
            if (!disk.Xn.TryGetFrame(disk.Key, _extent.First + (uint)i, out _frames[i]))
            {
                throw new KeyValueException(KeyValueError.Failed, $"block {_extent.First + (uint)i} of the log has left memory");
            }
        }
    }

    public int CapacityBytes => _frames.Length * Page.BlockBytes;

    public bool IsEmpty => _end == 0;

    /// <summary>Whether a batch with so many bytes of records goes in.</summary>
    public bool HasRoom(int recordBytes) => LogBatch.SpaceBytes(recordBytes) <= CapacityBytes - _end;

    /// <summary>What a replay does with each record.</summary>
    public delegate void Replayed(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, bool isDeleted, ulong number);

    /// <summary>
    /// Goes through all whole batches. What follows is empty, or the one batch that a crash has interrupted; a whole batch behind such a place was committed after what is now missing, so that is damage.
    /// </summary>
    /// <exception cref="KeyValueException">Damaged.</exception>
    public void Replay(Replayed replayed)
    {
        byte[] log = new byte[CapacityBytes];
        for (int i = 0; i < _frames.Length; i++)
        {
            _disk.Xn.Frames.Bytes(_frames[i]).CopyTo(log.AsSpan(i * Page.BlockBytes));
        }

        ulong epoch = _disk.Manifest.LogEpoch;
        while (_end < log.Length && LogBatch.TryRead(log, _end, epoch, out ulong number, out ReadOnlySpan<byte> records) && number == _number)
        {
            _end += LogBatch.SpaceBytes(records.Length);
            while (LogBatch.TryTake(ref records, out ReadOnlySpan<byte> key, out ReadOnlySpan<byte> value, out bool isDeleted))
            {
                replayed(key, value, isDeleted, number);
            }

            if (!records.IsEmpty)
            {
                throw Damage(_end - 1, "a batch with half a record");
            }

            _number++;
        }

        for (int offset = _end; offset < log.Length; offset += LogBatch.SectorBytes)
        {
            if (LogBatch.TryRead(log, offset, epoch, out ulong number, out _) && number > _number)
            {
                throw Damage(_end, $"batch {_number} is missing, but batch {number} is there");
            }
        }
    }

    /// <summary>Adds a batch; it is durable on return.</summary>
    /// <param name="batch">Room for the header, and the records.</param>
    public void Append(Span<byte> batch)
    {
        LogBatch.Seal(batch, _disk.Manifest.LogEpoch, _number, _end);
        int space = LogBatch.SpaceBytes(batch.Length - LogBatch.HeaderBytes);
        int firstBlock = _end / Page.BlockBytes;
        int lastBlock = (_end + space - 1) / Page.BlockBytes;
        BlockExtent blocks = new(_extent.First + (uint)firstBlock, (uint)(lastBlock - firstBlock + 1));
        StoreDisk.Check(_disk.Xn.MarkDirty(_disk.Key, blocks.First, (int)blocks.Count));
        ReadOnlySpan<byte> rest = batch;
        for (int at = _end; rest.Length > 0;)
        {
            Span<byte> block = _disk.Xn.Frames.Bytes(_frames[at / Page.BlockBytes])[(at % Page.BlockBytes)..];
            int count = Math.Min(block.Length, rest.Length);
            rest[..count].CopyTo(block);
            rest = rest[count..];
            at += count;
        }

        _disk.WriteBack(blocks);
        _disk.Xn.Flush();
        _end += space;
        _number++;
    }

    /// <summary>After the manifest has begun another epoch.</summary>
    public void Restart()
    {
        _end = 0;
        _number = 1;
    }

    /// <summary>Lets the frames go. XN keeps its own.</summary>
    public void Release() => Release(_frames);

    private void Release(ReadOnlySpan<FrameNumber> frames)
    {
        foreach (FrameNumber frame in frames)
        {
            _disk.Xn.Frames.Release(frame);
        }
    }

    private KeyValueException Damage(int offset, string what) =>
        new(KeyValueError.Damaged, $"block {_extent.First + (uint)(offset / Page.BlockBytes)}: the log is damaged: {what}");
}
