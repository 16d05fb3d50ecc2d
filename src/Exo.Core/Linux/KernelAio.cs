// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;

namespace Exo.Core.Linux;

/// <summary>
/// The kernel's asynchronous calls of before io_uring, which container filters leave open: with direct I/O as many transfers under way as
/// with a ring, at two calls for a turn instead of one. Without direct I/O io_submit blocks, so it is not used then.
/// <code>
/// entries [head, tail) --translate--> struct iocb --io_submit--> kernel --io_getevents--> events [next, count) --TryComplete-->
///          '-- what these calls do not have (fallocate, discard): completes at once with EOPNOTSUPP, and the caller has another way
/// </code>
/// </summary>
internal sealed unsafe class KernelAio : TransferRing
{
    private readonly MappedRegion _memory;
    private readonly UringSubmission* _entries;
    private readonly AioControlBlock* _blocks;
    private readonly AioControlBlock** _pointers;
    private readonly AioEvent* _events;
    private readonly Queue<UringCompletion> _refused = new();
    private nint _context;
    private uint _head;
    private uint _tail;
    private int _nextEvent;
    private int _eventCount;
    private int _inKernel;

    private KernelAio(nint context, int entries)
    {
        _context = context;
        Entries = entries;

        // Four arrays behind one another; each element is a multiple of eight bytes, so all are aligned.
        _memory = MappedRegion.Anonymous((long)entries * (sizeof(UringSubmission) + sizeof(AioControlBlock) + sizeof(nint) + sizeof(AioEvent)));
        _entries = (UringSubmission*)_memory.Address;
        _blocks = (AioControlBlock*)(_entries + entries);
        _pointers = (AioControlBlock**)(_blocks + entries);
        _events = (AioEvent*)(_pointers + entries);
    }

    public override uint Unsubmitted => _tail - _head;

    /// <summary>Makes a context; null when the kernel refuses one: filters, or /proc/sys/fs/aio-max-nr.</summary>
    /// <param name="entries">Wanted; rounded up to a power of two.</param>
    public static KernelAio? TryCreate(int entries)
    {
        int rounded = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)entries);
        nint context = 0;
        return Libc.AioSetup((uint)rounded, &context) == 0 ? new KernelAio(context, rounded) : null;
    }

    public override UringSubmission* NextEntry()
    {
        Invariant.Check(Unsubmitted < (uint)Entries);
        UringSubmission* entry = _entries + (_tail++ & (uint)(Entries - 1));
        *entry = default;
        return entry;
    }

    public override void Submit()
    {
        while (Unsubmitted > 0)
        {
            int count = 0;
            for (uint at = _head; at != _tail && Translate(_entries + (at & (uint)(Entries - 1)), _blocks + count); at++)
            {
                _pointers[count] = _blocks + count;
                count++;
            }

            if (count == 0)
            {
                Refuse(Errno.EOPNOTSUPP);
                continue;
            }

            EnterCount++;
            int taken = Libc.AioSubmit(_context, count, _pointers);
            if (taken > 0)
            {
                // A copy of each is the kernel's now; what it did not take is looked at again.
                _head += (uint)taken;
                _inKernel += taken;
            }
            else if (Errno.Last == Errno.EAGAIN)
            {
                if (_inKernel > 0)
                {
                    return;
                }

                // Somebody else has what is missing; nothing of ours will free it.
                Thread.Yield();
            }
            else if (Errno.Last != Errno.EINTR)
            {
                // The first of them is what the kernel does not like.
                Refuse(Errno.Last);
            }
        }
    }

    public override void SubmitAndWait(uint minComplete)
    {
        Submit();
        if (_nextEvent < _eventCount || _inKernel == 0)
        {
            return;
        }

        int wanted = Math.Min((int)minComplete - _refused.Count, _inKernel);
        EnterCount++;
        int count = Libc.AioGetEvents(_context, Math.Max(0, wanted), Entries, _events);
        Invariant.Check(count >= 0 || Errno.Last == Errno.EINTR);
        (_nextEvent, _eventCount) = (0, Math.Max(0, count));
    }

    public override bool TryComplete(out UringCompletion completion)
    {
        if (_nextEvent < _eventCount)
        {
            AioEvent* done = _events + _nextEvent++;
            _inKernel--;
            completion = new UringCompletion { UserData = done->Data, Result = (int)done->Result };
            return true;
        }

        return _refused.TryDequeue(out completion);
    }

    public override void Dispose()
    {
        nint context = Interlocked.Exchange(ref _context, 0);
        if (context != 0)
        {
            _ = Libc.AioDestroy(context);
            _memory.Dispose();
        }
    }

    private void Refuse(int errno)
    {
        UringSubmission* entry = _entries + (_head++ & (uint)(Entries - 1));
        _refused.Enqueue(new UringCompletion { UserData = entry->UserData, Result = -errno });
    }

    /// <summary>False for what these calls do not have.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Translate(UringSubmission* entry, AioControlBlock* block)
    {
        int opcode = entry->Opcode switch
        {
            UringAbi.IORING_OP_READ => AioAbi.IOCB_CMD_PREAD,
            UringAbi.IORING_OP_WRITE => AioAbi.IOCB_CMD_PWRITE,
            UringAbi.IORING_OP_READV => AioAbi.IOCB_CMD_PREADV,
            UringAbi.IORING_OP_WRITEV => AioAbi.IOCB_CMD_PWRITEV,
            UringAbi.IORING_OP_FSYNC => AioAbi.IOCB_CMD_FDSYNC,
            _ => -1,
        };
        if (opcode < 0)
        {
            return false;
        }

        bool moves = opcode != AioAbi.IOCB_CMD_FDSYNC;
        *block = new AioControlBlock
        {
            Data = entry->UserData,
            Opcode = (ushort)opcode,
            Fd = entry->Fd,
            OperationFlags = moves ? entry->OperationFlags : 0,
            Buffer = entry->Address,
            Length = entry->Length,
            Offset = (long)entry->Offset,
        };
        return true;
    }
}
