// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>
/// One request carried out by plain system calls on the calling thread: preadv, pwritev, fdatasync, fallocate. Short
/// transfers are continued, interrupted calls repeated. The way that always works; the ring falls back on it.
/// </summary>
internal static unsafe class DirectTransfer
{
    /// <summary>Carries out a validated request.</summary>
    /// <returns>0 or the error number.</returns>
    public static int Run(DiskFile file, FramePool frames, in BlockRequest request, ref long systemCalls) => request.Operation switch
    {
        BlockOperation.Read => Move(file, frames, request, ref systemCalls),
        BlockOperation.Write => Move(file, frames, request, ref systemCalls),
        BlockOperation.Flush => Flush(file, ref systemCalls),
        BlockOperation.Discard => Discard(file, request, ref systemCalls),
        _ => WriteZeroes(file, request, ref systemCalls),
    };

    /// <summary>
    /// How far a short transfer has come: whole sectors only, because direct I/O cannot go on inside one. Zero is an end of
    /// file or a disk that takes nothing: no progress, an I/O error.
    /// </summary>
    public static int Progress(DiskFile file, int transferredBytes, int askedBytes) =>
        transferredBytes >= askedBytes ? askedBytes : transferredBytes - transferredBytes % file.LogicalSectorBytes;

    /// <summary>Whether the same call may succeed when repeated.</summary>
    public static bool IsTransient(int errno) => errno is Errno.EINTR or Errno.EAGAIN;

    /// <summary>Whether a discard that was refused in this way is simply something the medium does not have.</summary>
    public static bool IsUnsupported(int errno) => errno is Errno.EOPNOTSUPP or Errno.ENOSYS or Errno.ENODEV;

    /// <summary>Drops blocks: a hole in a file, BLKDISCARD on a disk. Where neither exists, nothing happens: a discard is advice.</summary>
    public static int Discard(DiskFile file, in BlockRequest request, ref long systemCalls)
    {
        Range(file, request, out long offset, out long length);
        int error;
        if (file.IsBlockDevice)
        {
            ulong* range = stackalloc ulong[] { (ulong)offset, (ulong)length };
            systemCalls++;
            error = Libc.IoControl(file.Fd, Abi.BLKDISCARD, range) == 0 ? 0 : Errno.Last;
        }
        else
        {
            error = Allocate(file, Abi.FALLOC_FL_PUNCH_HOLE | Abi.FALLOC_FL_KEEP_SIZE, offset, length, ref systemCalls);
        }

        return IsUnsupported(error) ? 0 : error;
    }

    /// <summary>Zeroes blocks by the cheapest way that the file system has; the last resort is writing them.</summary>
    public static int WriteZeroes(DiskFile file, in BlockRequest request, ref long systemCalls)
    {
        Range(file, request, out long offset, out long length);
        int error = Allocate(file, Abi.FALLOC_FL_ZERO_RANGE | Abi.FALLOC_FL_KEEP_SIZE, offset, length, ref systemCalls);
        if (IsUnsupported(error))
        {
            error = Allocate(file, Abi.FALLOC_FL_PUNCH_HOLE | Abi.FALLOC_FL_KEEP_SIZE, offset, length, ref systemCalls);
        }

        if (IsUnsupported(error))
        {
            error = WriteZeroPages(file, offset, length, ref systemCalls);
        }

        return error == 0 && request.ForceUnitAccess ? Flush(file, ref systemCalls) : error;
    }

    /// <summary>
    /// Where a validated request lies in the file: the one place at which block numbers become offsets, and the second line
    /// that keeps a partition's requests inside it.
    /// </summary>
    public static void Range(DiskFile file, in BlockRequest request, out long offset, out long lengthBytes)
    {
        long within = (long)request.FirstBlock.Value * FramePool.FrameBytes;
        offset = file.StartBytes + within;
        lengthBytes = (long)request.BlockCount * FramePool.FrameBytes;
        Invariant.Check(within >= 0 && lengthBytes >= 0 && lengthBytes <= file.LengthBytes - within);
    }

    private static int Move(DiskFile file, FramePool frames, in BlockRequest request, ref long systemCalls)
    {
        IoVector* vectors = stackalloc IoVector[FrameVector.CountMax];
        Range(file, request, out long offset, out long length);
        bool durableApart = false;
        for (long done = 0; done < length;)
        {
            int count = FrameVector.Build(frames, request.Frames.Span, done, FrameVector.LengthBytesMax, vectors, out int asked);
            bool durable = request.ForceUnitAccess && !durableApart && request.Operation == BlockOperation.Write;
            systemCalls++;
            nint moved = request.Operation == BlockOperation.Read
                ? Libc.ReadVector(file.Fd, vectors, count, offset + done)
                : durable
                    ? Libc.WriteVector2(file.Fd, vectors, count, offset + done, Abi.RWF_DSYNC)
                    : Libc.WriteVector(file.Fd, vectors, count, offset + done);
            if (moved < 0)
            {
                int error = Errno.Last;
                if (durable && IsUnsupported(error))
                {
                    durableApart = true;
                    continue;
                }

                if (IsTransient(error))
                {
                    continue;
                }

                return error;
            }

            int progress = Progress(file, (int)moved, asked);
            if (progress == 0)
            {
                return Errno.EIO;
            }

            done += progress;
        }

        return durableApart ? Flush(file, ref systemCalls) : 0;
    }

    private static int Flush(DiskFile file, ref long systemCalls)
    {
        // Not repeated on EIO: the kernel reports a lost write once and then forgets it.
        while (true)
        {
            systemCalls++;
            if (Libc.DataSync(file.Fd) == 0)
            {
                return 0;
            }

            int error = Errno.Last;
            if (error != Errno.EINTR)
            {
                return error;
            }
        }
    }

    private static int Allocate(DiskFile file, int mode, long offset, long length, ref long systemCalls)
    {
        while (true)
        {
            systemCalls++;
            if (Libc.Allocate(file.Fd, mode, offset, length) == 0)
            {
                return 0;
            }

            int error = Errno.Last;
            if (error != Errno.EINTR)
            {
                return error;
            }
        }
    }

    private static int WriteZeroPages(DiskFile file, long offset, long length, ref long systemCalls)
    {
        using MappedRegion page = MappedRegion.Anonymous(FramePool.FrameBytes);
        IoVector* vectors = stackalloc IoVector[FrameVector.CountMax];
        for (int i = 0; i < FrameVector.CountMax; i++)
        {
            vectors[i] = new IoVector { Base = page.Address, LengthBytes = FramePool.FrameBytes };
        }

        for (long done = 0; done < length;)
        {
            // After a short write the rest need not be whole pages; the end is rewritten from a page boundary, with the same zeroes.
            done -= done % FramePool.FrameBytes;
            int pages = (int)Math.Min((length - done) / FramePool.FrameBytes, FrameVector.CountMax);
            systemCalls++;
            nint moved = Libc.WriteVector(file.Fd, vectors, pages, offset + done);
            int error = moved < 0 ? Errno.Last : moved < FramePool.FrameBytes ? Errno.EIO : 0;
            if (error != 0 && !IsTransient(error))
            {
                return error;
            }

            done += Math.Max(moved, 0);
        }

        return 0;
    }
}
