// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks.Nbd;

/// <summary>What was gathered, carried out.</summary>
internal sealed unsafe partial class NbdServerConnection
{
    private readonly BlockRequest[] _one = new BlockRequest[1];

    /// <summary>One batch for all that take one step; or the one request that takes several.</summary>
    private void Carry()
    {
        if (_batchCount > 0)
        {
            bool writes = false;
            for (int i = 0; i < _batchCount; i++)
            {
                writes |= _batch[i].Operation is BlockOperation.Write or BlockOperation.WriteZeroes or BlockOperation.Discard;
            }

            if (writes)
            {
                _server.Merging.EnterReadLock();
            }

            try
            {
                Execute(_batch.AsSpan(0, _batchCount));
            }
            finally
            {
                if (writes)
                {
                    _server.Merging.ExitReadLock();
                }
            }

            for (int i = 0; i < _takenCount; i++)
            {
                if (_taken[i].BatchIndex >= 0)
                {
                    _taken[i].Error = _batch[_taken[i].BatchIndex].Error;
                }
            }

            Array.Clear(_batch, 0, _batchCount);
        }

        if (_takenCount == 1 && _taken[0].BatchIndex < 0 && _taken[0].Error == 0 && _taken[0].Command != NbdProtocol.CommandBlockStatus)
        {
            ref NbdServerRequest alone = ref _taken[0];
            if (alone.Command == NbdProtocol.CommandTrim)
            {
                alone.Error = Trim(in alone);
                return;
            }

            _server.Merging.EnterWriteLock();
            try
            {
                alone.Error = alone.Command == NbdProtocol.CommandWrite ? Merge(in alone) : Zero(in alone);
            }
            finally
            {
                _server.Merging.ExitWriteLock();
            }
        }
    }

    /// <summary>Writes parts of blocks: reads the first and the last, puts what is to stay around what has come, writes all.</summary>
    private int Merge(in NbdServerRequest request)
    {
        ReadOnlySpan<FrameNumber> frames = request.Frames.Span;
        FramePool pool = _server.Device.Frames;
        int end = (int)(((ulong)request.SkipBytes + request.LengthBytes) % FramePool.FrameBytes);
        if (!TryHoldFrames(1))
        {
            return Errno.ENOMEM;
        }

        Memory<FrameNumber> scratch = _frames.AsMemory(_framesUsed, 1);
        int error = 0;
        if (request.SkipBytes > 0)
        {
            error = ExecuteOne(BlockRequest.Read(request.FirstBlock, scratch));
            pool.Bytes(scratch.Span[0])[..request.SkipBytes].CopyTo(pool.Bytes(frames[0]));
        }

        if (error == 0 && end > 0)
        {
            error = ExecuteOne(BlockRequest.Read(request.FirstBlock + (ulong)(frames.Length - 1), scratch));
            pool.Bytes(scratch.Span[0])[end..].CopyTo(pool.Bytes(frames[^1])[end..]);
        }

        return error != 0 ? error : ExecuteOne(BlockRequest.Write(request.FirstBlock, request.Frames, request.IsDurable));
    }

    /// <summary>Zeroes parts of blocks at both ends, and whole blocks between them.</summary>
    private int Zero(in NbdServerRequest request)
    {
        ulong start = request.OffsetBytes;
        ulong end = start + request.LengthBytes;
        ulong firstWhole = (start + FramePool.FrameBytes - 1) / FramePool.FrameBytes * FramePool.FrameBytes;
        ulong lastWhole = end / FramePool.FrameBytes * FramePool.FrameBytes;
        if (firstWhole > lastWhole)
        {
            return ZeroPart(start, end, request.IsDurable); // Inside one block.
        }

        int error = firstWhole > start ? ZeroPart(start, firstWhole, request.IsDurable) : 0;
        if (error == 0 && end > lastWhole)
        {
            error = ZeroPart(lastWhole, end, request.IsDurable);
        }

        return error == 0 && lastWhole > firstWhole
            ? ExecuteOne(BlockRequest.WriteZeroes(
                new BlockNumber(firstWhole / FramePool.FrameBytes), (int)((lastWhole - firstWhole) / FramePool.FrameBytes), request.IsDurable))
            : error;
    }

    /// <summary>Zeroes from one byte to another of the same block.</summary>
    private int ZeroPart(ulong start, ulong end, bool isDurable)
    {
        if (!TryHoldFrames(1))
        {
            return Errno.ENOMEM;
        }

        Memory<FrameNumber> scratch = _frames.AsMemory(_framesUsed, 1);
        var block = new BlockNumber(start / FramePool.FrameBytes);
        int error = ExecuteOne(BlockRequest.Read(block, scratch));
        if (error != 0)
        {
            return error;
        }

        _server.Device.Frames.Bytes(scratch.Span[0]).Slice((int)(start % FramePool.FrameBytes), (int)(end - start)).Clear();
        return ExecuteOne(BlockRequest.Write(block, scratch, isDurable));
    }

    /// <summary>Discards the blocks that are covered whole. It is advice: the rest stays.</summary>
    private int Trim(in NbdServerRequest request)
    {
        ulong first = (request.OffsetBytes + FramePool.FrameBytes - 1) / FramePool.FrameBytes;
        ulong end = (request.OffsetBytes + request.LengthBytes) / FramePool.FrameBytes;
        int error = 0;
        if (end > first)
        {
            _server.Merging.EnterReadLock();
            try
            {
                error = ExecuteOne(BlockRequest.Discard(new BlockNumber(first), (int)(end - first)));
            }
            finally
            {
                _server.Merging.ExitReadLock();
            }
        }

        return error == 0 && request.IsDurable ? ExecuteOne(BlockRequest.Flush()) : error;
    }

    private int ExecuteOne(BlockRequest request)
    {
        _one[0] = request;
        Execute(_one);
        int error = _one[0].Error;
        _one[0] = default;
        return error;
    }

    private void Execute(Span<BlockRequest> batch)
    {
        try
        {
            _server.Device.Execute(batch);
        }
        catch (BlockDeviceException)
        {
            // Every request has its own error.
        }
        catch (ObjectDisposedException)
        {
            // The device went before its server.
            foreach (ref BlockRequest request in batch)
            {
                request.Error = Libc.ErrnoShutdown;
            }
        }
    }
}
