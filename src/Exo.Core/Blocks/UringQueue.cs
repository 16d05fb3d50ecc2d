// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>
/// A ring that moves blocks: cuts batches into transfers, keeps at most a fixed number in flight, continues what came back
/// short. Belongs to one thread.
/// <code>
/// batch of requests --Fill--> transfer = one submission = one slot --SubmitAndWait--> kernel --Reap--> slot free, batch counted down
/// slot i owns vectors [i * 256, (i + 1) * 256): they live until the completion
/// </code>
/// </summary>
internal sealed unsafe class UringQueue : IDisposable
{
    /// <summary>Completions with this mark are not transfers; the reactor's wake-up.</summary>
    public const ulong WakeMark = ulong.MaxValue;

    /// <summary>The largest buffer that a ring registers (io_uring_register(2)).</summary>
    private const long RegisteredPoolBytesMax = 1L << 30;

    private readonly DiskFile _file;
    private readonly FramePool _frames;
    private readonly TransferRing _ring;
    private readonly MappedRegion _vectors;
    private readonly Slot[] _slots;
    private readonly bool _fixedFrames;
    private readonly bool _fixedFile;
    private int _freeSlot;

    private UringQueue(TransferRing ring, DiskFile file, FramePool frames, int depth, bool registerFrames, bool registerFile)
    {
        _ring = ring;
        _file = file;
        _frames = frames;
        _slots = new Slot[depth];
        for (int i = 0; i < depth; i++)
        {
            _slots[i].NextFree = i + 1;
        }

        // One more set of vectors than slots: its first word receives the reactor's wake-up.
        _vectors = MappedRegion.Anonymous((long)(depth + 1) * FrameVector.CountMax * sizeof(IoVector));

        // The kernel lets go of a closed ring's files some time later, and whoever disposes a device may want its disk at once:
        // the file is registered only where the thread that made the ring also closes it, and can take the file back first.
        _fixedFile = registerFile && ring.TryRegisterFile(file.Fd);
        long poolBytes = (long)frames.FrameCount * FramePool.FrameBytes;
        _fixedFrames = registerFrames && poolBytes <= RegisteredPoolBytesMax && ring.TryRegisterBuffer(frames.BaseAddress, poolBytes);
    }

    /// <summary>Transfers with the kernel.</summary>
    public int InFlight { get; private set; }

    public bool HasFreeSlot => _freeSlot < _slots.Length;

    /// <summary>Entries that are written and that the kernel has not been told of.</summary>
    public int Unsubmitted => (int)_ring.Unsubmitted;

    public long EnterCount => _ring.EnterCount;

    /// <summary>Where a wake-up's eight bytes go.</summary>
    private nint WakeAddress => _vectors.Address + (nint)_slots.Length * FrameVector.CountMax * sizeof(IoVector);

    /// <summary>Makes a queue for the calling thread; null and the reason when the kernel refuses a ring.</summary>
    /// <param name="file">The disk.</param>
    /// <param name="frames">The pool.</param>
    /// <param name="depth">Transfers under way at most.</param>
    /// <param name="registerFrames">Pin the pool.</param>
    /// <param name="registerFile">Register the disk; only if the calling thread is also the one that will dispose of the queue.</param>
    /// <param name="errno">Why not.</param>
    public static UringQueue? TryCreate(
        DiskFile file, FramePool frames, int depth, bool registerFrames, bool registerFile, out int errno)
    {
        IoUring? ring = IoUring.TryCreate((uint)depth + 1, out errno);
        if (errno == Errno.ENOMEM)
        {
            // The kernel frees the memory of closed rings a little later: once more after the others have run.
            Thread.Yield();
            ring = IoUring.TryCreate((uint)depth + 1, out errno);
        }

        return ring is null ? null : new UringQueue(ring, file, frames, depth, registerFrames, registerFile);
    }

    /// <summary>The same over the kernel's older calls, for direct I/O where rings are refused; null where those are refused too.</summary>
    public static UringQueue? TryCreateWithoutRing(DiskFile file, FramePool frames, int depth) =>
        KernelAio.TryCreate(depth) is { } calls ? new UringQueue(calls, file, frames, depth, registerFrames: false, registerFile: false) : null;

    /// <summary>Carries out a batch on the calling thread: as a rule one call into the kernel.</summary>
    public void Run(UringBatch batch)
    {
        while (!batch.IsDone)
        {
            Fill(batch);

            // A batch that fits is waited for whole; of a longer one half, so that the disk does not run dry meanwhile.
            _ring.SubmitAndWait((uint)(batch.IsIssued ? InFlight : Math.Max(1, InFlight / 2)));
            while (_ring.TryComplete(out UringCompletion completion))
            {
                Complete(completion);
            }
        }
    }

    /// <summary>Cuts transfers off the batch until it is through or no slot is free.</summary>
    public void Fill(UringBatch batch)
    {
        while (!batch.IsIssued && HasFreeSlot)
        {
            int index = _freeSlot;
            ref Slot slot = ref _slots[index];
            _freeSlot = slot.NextFree;
            slot = new Slot { Batch = batch, Request = batch.NextRequest, OffsetBytes = batch.NextOffsetBytes };
            batch.Outstanding++;
            InFlight++;
            batch.Advance(Prepare(index));
        }
    }

    /// <summary>Asks for a completion when the event file is signalled.</summary>
    public void ArmWake(int eventFile)
    {
        UringSubmission* entry = _ring.NextEntry();
        entry->Opcode = UringAbi.IORING_OP_READ;
        entry->Fd = eventFile;
        entry->Address = (ulong)WakeAddress;
        entry->Length = sizeof(ulong);
        entry->UserData = WakeMark;
    }

    public void Submit() => _ring.Submit();

    public void SubmitAndWait(uint minComplete) => _ring.SubmitAndWait(minComplete);

    /// <summary>Takes one completion. <paramref name="done"/> is the batch that it finished, if any.</summary>
    public bool TryReap(out bool isWake, out UringBatch? done)
    {
        done = null;
        isWake = false;
        if (!_ring.TryComplete(out UringCompletion completion))
        {
            return false;
        }

        if (completion.UserData == WakeMark)
        {
            isWake = true;
        }
        else
        {
            UringBatch batch = Complete(completion);
            done = batch.IsDone ? batch : null;
        }

        return true;
    }

    /// <summary>
    /// The thread that made the ring has ended. A ring that only that thread may enter is given up: the kernel ended its requests with the
    /// thread, and closing the ring drops their completions. Others can be entered by anybody.
    /// </summary>
    public bool TryAbandon()
    {
        if (!_ring.IsBoundToThread)
        {
            return false;
        }

        InFlight = 0;
        return true;
    }

    public void Dispose()
    {
        Invariant.Check(InFlight == 0);
        if (_fixedFile)
        {
            // Refused when another thread closes the ring (a device disposed of before its queue): then the kernel lets go later.
            _ring.UnregisterFile();
        }

        _ring.Dispose();
        _vectors.Dispose();
    }

    /// <summary>Writes the submission of a slot and returns the bytes that it moves.</summary>
    private int Prepare(int index)
    {
        ref Slot slot = ref _slots[index];
        ref BlockRequest request = ref slot.Batch!.Requests.Span[slot.Request];
        UringSubmission* entry = _ring.NextEntry();
        entry->UserData = (ulong)index;
        entry->Fd = _fixedFile ? 0 : _file.Fd;
        entry->Flags = _fixedFile ? UringAbi.IOSQE_FIXED_FILE : (byte)0;
        DirectTransfer.Range(_file, request, out long offset, out long length);
        if (request.Operation == BlockOperation.Flush || slot.IsFlushAfter)
        {
            entry->Opcode = UringAbi.IORING_OP_FSYNC;
            entry->OperationFlags = UringAbi.IORING_FSYNC_DATASYNC;
            return 0;
        }

        if (request.Operation == BlockOperation.Discard && _file.IsBlockDevice)
        {
            entry->Opcode = UringAbi.IORING_OP_URING_CMD;
            entry->Command = UringAbi.BLOCK_URING_CMD_DISCARD;
            entry->Address = (ulong)offset;
            entry->Address3 = (ulong)length;
            return 0;
        }

        if (request.Operation is BlockOperation.Discard or BlockOperation.WriteZeroes)
        {
            // FALLOCATE takes its length in addr and its mode in len (io_uring_enter(2)); the kernel gives it to a worker thread.
            entry->Offset = (ulong)offset;
            entry->Opcode = UringAbi.IORING_OP_FALLOCATE;
            entry->Address = (ulong)length;
            entry->Length = Abi.FALLOC_FL_KEEP_SIZE
                | (uint)(request.Operation == BlockOperation.Discard ? Abi.FALLOC_FL_PUNCH_HOLE : Abi.FALLOC_FL_ZERO_RANGE);
            return 0;
        }

        entry->Offset = (ulong)(offset + slot.OffsetBytes);
        bool isRead = request.Operation == BlockOperation.Read;
        IoVector* vectors = (IoVector*)_vectors.Address + (long)index * FrameVector.CountMax;

        // A slot that goes out again keeps to its own rest: the blocks behind it belong to another transfer.
        int limit = slot.LengthBytes > 0 ? slot.LengthBytes : FrameVector.LengthBytesMax;
        int count = FrameVector.Build(_frames, request.Frames.Span, slot.OffsetBytes, limit, vectors, out slot.LengthBytes);
        entry->OperationFlags = !isRead && request.ForceUnitAccess && !slot.IsDurableApart ? (uint)Abi.RWF_DSYNC : 0;
        if (count == 1)
        {
            // The frames lie together: no vector to import, and no pages to look up when the pool is registered.
            entry->Opcode = (isRead, _fixedFrames) switch
            {
                (true, true) => UringAbi.IORING_OP_READ_FIXED,
                (true, false) => UringAbi.IORING_OP_READ,
                (false, true) => UringAbi.IORING_OP_WRITE_FIXED,
                (false, false) => UringAbi.IORING_OP_WRITE,
            };
            entry->Address = (ulong)vectors[0].Base;
            entry->Length = (uint)slot.LengthBytes;
        }
        else
        {
            entry->Opcode = isRead ? UringAbi.IORING_OP_READV : UringAbi.IORING_OP_WRITEV;
            entry->Address = (ulong)vectors;
            entry->Length = (uint)count;
        }

        return slot.LengthBytes;
    }

    /// <summary>Books one completion: the slot is through, or goes out again with the rest.</summary>
    private UringBatch Complete(in UringCompletion completion)
    {
        int index = checked((int)completion.UserData);
        ref Slot slot = ref _slots[index];
        UringBatch batch = slot.Batch!;
        InFlight--;
        if (IsThrough(ref slot, batch, completion.Result))
        {
            batch.Outstanding--;
            slot = new Slot { NextFree = _freeSlot };
            _freeSlot = index;
        }
        else
        {
            InFlight++;
            Prepare(index);
        }

        return batch;
    }

    /// <summary>Whether the kernel says that it does not do this, ever. A kernel before 6.12 knows no discard in a ring: EINVAL.</summary>
    private static bool IsRefused(int errno, BlockOperation operation) =>
        DirectTransfer.IsUnsupported(errno) || (errno == Errno.EINVAL && operation == BlockOperation.Discard);

    private bool IsThrough(ref Slot slot, UringBatch batch, int result)
    {
        ref BlockRequest request = ref batch.Requests.Span[slot.Request];
        if (result < 0)
        {
            if (DirectTransfer.IsTransient(-result))
            {
                return false;
            }

            if (!slot.IsFlushAfter && IsRefused(-result, request.Operation))
            {
                if (request.Operation == BlockOperation.Write && request.ForceUnitAccess && !slot.IsDurableApart)
                {
                    // No write here is durable by itself: written again, then flushed.
                    slot.IsDurableApart = true;
                    return false;
                }

                if (request.Operation is BlockOperation.Discard or BlockOperation.WriteZeroes)
                {
                    // Neither the disk nor the file system does it from a ring: the other ways are plain calls, on this thread.
                    long systemCalls = 0;
                    int error = DirectTransfer.Run(_file, _frames, request, ref systemCalls);
                    if (error != 0)
                    {
                        batch.Fail(slot.Request, error);
                    }

                    return true;
                }
            }

            batch.Fail(slot.Request, -result);
            return true;
        }

        switch (request.Operation)
        {
            case BlockOperation.Read or BlockOperation.Write when !slot.IsFlushAfter:
                int progress = DirectTransfer.Progress(_file, result, slot.LengthBytes);
                if (progress == 0)
                {
                    batch.Fail(slot.Request, Errno.EIO);
                    return true;
                }

                slot.OffsetBytes += progress;
                slot.LengthBytes -= progress;
                if (slot.LengthBytes > 0 || !slot.IsDurableApart)
                {
                    return slot.LengthBytes == 0;
                }

                slot.IsFlushAfter = true;
                return false;
            case BlockOperation.WriteZeroes when request.ForceUnitAccess && !slot.IsFlushAfter:
                slot.IsFlushAfter = true;
                return false;
            default:
                return true;
        }
    }

    /// <summary>One transfer: which part of which request. Free slots form a list.</summary>
    private struct Slot
    {
        public UringBatch? Batch;
        public int Request;
        public int NextFree;
        public long OffsetBytes;
        public int LengthBytes;

        /// <summary>The write is followed by a flush, because the disk has no durable writes.</summary>
        public bool IsDurableApart;

        /// <summary>The flush behind a write that is to be durable.</summary>
        public bool IsFlushAfter;
    }
}
