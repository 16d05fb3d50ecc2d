// SPDX-License-Identifier: MIT
namespace Exo.Core.Linux;

/// <summary>
/// One io_uring and nothing else: the two rings mapped, entries written and read without a call, one call to submit and wait.
/// <code>
///   we write                      kernel                     we read
///   sqes[tail &amp; mask] ; tail --> consumes, head ...  --> cqes[head &amp; mask] ; head
/// </code>
/// Made, used and waited on by one thread (SINGLE_ISSUER, DEFER_TASKRUN where the kernel has them); closed by any.
/// </summary>
internal sealed unsafe class IoUring : TransferRing
{
    /// <summary>Tried in turn; a kernel that does not know a flag answers EINVAL.</summary>
    private static ReadOnlySpan<uint> FlagLadder =>
    [
        UringAbi.IORING_SETUP_SINGLE_ISSUER | UringAbi.IORING_SETUP_DEFER_TASKRUN | UringAbi.IORING_SETUP_SUBMIT_ALL | UringAbi.IORING_SETUP_NO_SQARRAY,
        UringAbi.IORING_SETUP_SINGLE_ISSUER | UringAbi.IORING_SETUP_DEFER_TASKRUN | UringAbi.IORING_SETUP_SUBMIT_ALL,
        UringAbi.IORING_SETUP_COOP_TASKRUN | UringAbi.IORING_SETUP_SUBMIT_ALL,
        0,
    ];

    private const uint NeededFeatures =
        UringAbi.IORING_FEAT_SINGLE_MMAP | UringAbi.IORING_FEAT_NODROP | UringAbi.IORING_FEAT_SUBMIT_STABLE;

    private readonly MappedRegion _rings;
    private readonly MappedRegion _entries;
    private readonly uint* _sqHead;
    private readonly uint* _sqTail;
    private readonly uint* _cqHead;
    private readonly uint* _cqTail;
    private readonly UringCompletion* _completions;
    private readonly uint _sqMask;
    private readonly uint _cqMask;

    // 1 where entries are twice as long (IORING_SETUP_SQE128), else 0.
    private readonly int _entryShift;
    private int _fd;
    private uint _tail;

    private IoUring(int fd, in UringParameters p)
    {
        _fd = fd;
        long sqBytes = p.SqArray + (long)p.SqEntries * sizeof(uint);
        long cqBytes = p.CqCqes + (long)p.CqEntries * sizeof(UringCompletion);
        _rings = MappedRegion.Shared(fd, Math.Max(sqBytes, cqBytes), UringAbi.IORING_OFF_SQ_RING, Abi.MAP_POPULATE);
        try
        {
            _entryShift = (p.Flags & UringAbi.IORING_SETUP_SQE128) != 0 ? 1 : 0;
            _entries = MappedRegion.Shared(fd, ((long)p.SqEntries << _entryShift) * sizeof(UringSubmission), UringAbi.IORING_OFF_SQES, Abi.MAP_POPULATE);
        }
        catch
        {
            _rings.Dispose();
            throw;
        }

        // Offsets come from the kernel and lie inside what was just mapped with its sizes.
        byte* rings = (byte*)_rings.Address;
        _sqHead = (uint*)(rings + p.SqHead);
        _sqTail = (uint*)(rings + p.SqTail);
        _sqMask = *(uint*)(rings + p.SqRingMask);
        _cqHead = (uint*)(rings + p.CqHead);
        _cqTail = (uint*)(rings + p.CqTail);
        _cqMask = *(uint*)(rings + p.CqRingMask);
        _completions = (UringCompletion*)(rings + p.CqCqes);
        Entries = (int)p.SqEntries;
        IsBoundToThread = (p.Flags & UringAbi.IORING_SETUP_SINGLE_ISSUER) != 0;
        if ((p.Flags & UringAbi.IORING_SETUP_NO_SQARRAY) == 0)
        {
            // Slot i always names entry i: the indirection is set once and forgotten.
            uint* array = (uint*)(rings + p.SqArray);
            for (uint i = 0; i < p.SqEntries; i++)
            {
                array[i] = i;
            }
        }
    }

    public override uint Unsubmitted => _tail - Volatile.Read(ref *_sqHead);

    /// <summary>Makes a ring for the calling thread.</summary>
    /// <param name="entries">Wanted; the kernel rounds up to a power of two.</param>
    /// <param name="errno">Why not: EPERM, EACCES (forbidden by a sandbox or by sysctl), ENOSYS (kernel without it or too old), ENOMEM, EMFILE.</param>
    /// <param name="wideEntries">Entries of 128 bytes, for commands with arguments of their own (IORING_OP_URING_CMD): <see cref="NextEntry"/> gives the first of two halves.</param>
    /// <returns>Null when the kernel refused.</returns>
    public static IoUring? TryCreate(uint entries, out int errno, bool wideEntries = false)
    {
        errno = Errno.ENOSYS;
        foreach (uint flags in FlagLadder)
        {
            UringParameters parameters = new() { Flags = flags | (wideEntries ? UringAbi.IORING_SETUP_SQE128 : 0) };
            int fd = Libc.UringSetup(entries, &parameters);
            if (fd < 0)
            {
                errno = Errno.Last;
                if (errno == Errno.EINVAL)
                {
                    continue;
                }

                return null;
            }

            if ((parameters.Features & NeededFeatures) != NeededFeatures)
            {
                _ = Libc.Close(fd);
                errno = Errno.ENOSYS;
                return null;
            }

            IoUring ring;
            try
            {
                ring = new IoUring(fd, parameters);
            }
            catch (IOException)
            {
                _ = Libc.Close(fd);
                errno = Errno.ENOMEM;
                return null;
            }

            errno = ring.TryOnce();
            if (errno == 0)
            {
                return ring;
            }

            ring.Dispose();
            return null;
        }

        return null;
    }

    /// <summary>A filter may let a ring be made and refuse its use: nothing goes in and must come out. 0 or the error number.</summary>
    private int TryOnce()
    {
        NextEntry()->Opcode = UringAbi.IORING_OP_NOP;
        Volatile.Write(ref *_sqTail, _tail);
        while (true)
        {
            if (Libc.UringEnter(_fd, Unsubmitted, 1, UringAbi.IORING_ENTER_GETEVENTS) < 0 && Errno.Last is not (Errno.EINTR or Errno.EAGAIN))
            {
                return Errno.Last;
            }

            if (TryComplete(out UringCompletion completion))
            {
                return -completion.Result;
            }
        }
    }

    public override bool TryRegisterBuffer(nint address, long lengthBytes)
    {
        var vector = new IoVector { Base = address, LengthBytes = (nuint)lengthBytes };
        return Libc.UringRegister(_fd, UringAbi.IORING_REGISTER_BUFFERS, &vector, 1) == 0;
    }

    public override bool TryRegisterFile(int fd) => Libc.UringRegister(_fd, UringAbi.IORING_REGISTER_FILES, &fd, 1) == 0;

    public override void UnregisterFile() => _ = Libc.UringRegister(_fd, UringAbi.IORING_UNREGISTER_FILES, null, 0);

    public override UringSubmission* NextEntry()
    {
        Invariant.Check(Unsubmitted < (uint)Entries);
        UringSubmission* entry = (UringSubmission*)_entries.Address + ((nint)(_tail & _sqMask) << _entryShift);
        *entry = default;
        if (_entryShift != 0)
        {
            entry[1] = default;
        }

        _tail++;
        return entry;
    }

    public override void SubmitAndWait(uint minComplete)
    {
        Volatile.Write(ref *_sqTail, _tail);
        EnterCount++;
        if (Libc.UringEnter(_fd, Unsubmitted, minComplete, UringAbi.IORING_ENTER_GETEVENTS) >= 0)
        {
            return;
        }

        int errno = Errno.Last;
        Invariant.Check(errno is Errno.EINTR or Errno.EAGAIN or Errno.EBUSY or Errno.ENOMEM);
        if (errno != Errno.EINTR)
        {
            // The kernel is short of memory for requests: let what is in flight finish.
            Thread.Yield();
        }
    }

    public override void Submit()
    {
        Volatile.Write(ref *_sqTail, _tail);
        EnterCount++;
        if (Libc.UringEnter(_fd, Unsubmitted, 0, 0) < 0)
        {
            // Not taken now: the next call that waits takes it along.
            Invariant.Check(Errno.Last is Errno.EINTR or Errno.EAGAIN or Errno.EBUSY or Errno.ENOMEM);
        }
    }

    public override bool TryComplete(out UringCompletion completion)
    {
        uint head = *_cqHead;
        if (head == Volatile.Read(ref *_cqTail))
        {
            completion = default;
            return false;
        }

        completion = _completions[head & _cqMask];
        Volatile.Write(ref *_cqHead, head + 1);
        return true;
    }

    public override void Dispose()
    {
        int fd = Interlocked.Exchange(ref _fd, -1);
        if (fd >= 0)
        {
            _ = Libc.Close(fd);
            _entries.Dispose();
            _rings.Dispose();
        }
    }
}
