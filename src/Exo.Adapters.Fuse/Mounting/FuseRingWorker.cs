// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Adapters.Fuse.Messages;
using Exo.Adapters.Fuse.Session;
using Exo.Core.Linux;

namespace Exo.Adapters.Fuse.Mounting;

/// <summary>
/// One entry of one of the kernel's queues, with a ring of its own. Made, used and disposed of by one thread. One call into the kernel answers a message and brings the next.
/// <code>
/// | headers 288 | ...    | fuse_in_header 40 | first argument | payload ...            a message is put together where it can be read as one piece
///                                                             ^ PayloadAt
/// </code>
/// </summary>
internal sealed unsafe class FuseRingWorker : FuseWorker
{
    private const int PayloadAt = 1024;
    private const int PageBytes = 4096;

    private readonly IoUring _ring;
    private readonly int _connection;
    private readonly ushort _queue;
    private readonly WakeAffinity.Server? _affinity;

    // Pinned: the kernel writes to it and reads from it. Untouched parts cost address space only.
    private readonly byte[] _memory = GC.AllocateUninitializedArray<byte>(PayloadAt + FuseSessionLimits.WriteBytesMax, pinned: true);

    private FuseRingWorker(FuseSession session, FuseCrew crew, FuseNotifications notifications, IoUring ring, int connection, ushort queue, WakeAffinity? affinity)
        : base(session, crew, notifications)
    {
        _ring = ring;
        _connection = connection;
        _queue = queue;
        _affinity = affinity?.Join(queue);
    }

    /// <summary>Makes an entry for the calling thread; nothing is told to the kernel before <see cref="Register"/>. Null where there are no rings.</summary>
    public static FuseRingWorker? TryCreate(FuseSession session, FuseCrew crew, FuseNotifications notifications, int connection, int queue, WakeAffinity? affinity)
    {
        IoUring? ring = IoUring.TryCreate(2, out _, wideEntries: true);
        return ring is null ? null : new FuseRingWorker(session, crew, notifications, ring, connection, (ushort)queue, affinity);
    }

    /// <summary>Gives the entry to the kernel; <see cref="Step"/> waits for its first message.</summary>
    public void Register()
    {
        IoVector* buffers = stackalloc IoVector[2];
        fixed (byte* memory = _memory)
        {
            buffers[0] = new IoVector { Base = (nint)memory, LengthBytes = FuseRingAbi.HeaderBytes };
            buffers[1] = new IoVector { Base = (nint)(memory + PayloadAt), LengthBytes = FuseSessionLimits.WriteBytesMax };
        }

        UringSubmission* entry = NextCommand(FuseRingAbi.RegisterCommand, 0);
        entry->Address = (ulong)buffers;
        entry->Length = 2;

        // Handed over here: the vectors are read when the entry is, and lie on this stack.
        _ring.Submit();
        Invariant.Check(_ring.Unsubmitted == 0);
    }

    public override bool Step()
    {
        UringCompletion completion;
        while (!_ring.TryComplete(out completion))
        {
            _ring.SubmitAndWait(1);
        }

        if (completion.Result < 0)
        {
            // ENOTCONN, ECONNABORTED: unmounted. Whatever else it is, this entry is the kernel's no more.
            return false;
        }

        ReadOnlySpan<byte> headers = _memory.AsSpan(0, FuseRingAbi.HeaderBytes);
        ulong commitId = BinaryPrimitives.ReadUInt64LittleEndian(headers[FuseRingAbi.CommitIdAt..]);
        _affinity?.Took(BinaryPrimitives.ReadUInt32LittleEndian(headers[FuseRequest.SenderAt..]));
        try
        {
            Handle(Assemble(headers));
        }
        catch
        {
            // A bug. Whoever asked must not wait for ever while the mount is taken down.
            GiveBack();
            Reply.Fail(FuseErrno.EIO);
            Commit(commitId);
            _ring.Submit();
            throw;
        }

        if (Reply.IsSilent)
        {
            // Only what cannot be understood; but every entry is answered, or it would be lost.
            Reply.Fail(FuseErrno.EIO);
        }

        Commit(commitId);
        GiveBack();
        return true;
    }

    public override void Dispose()
    {
        _affinity?.Dispose();
        _ring.Dispose();
    }

    /// <summary>The message in one piece: the two headers are put before the payload.</summary>
    private ReadOnlyMemory<byte> Assemble(ReadOnlySpan<byte> headers)
    {
        int length = BinaryPrimitives.ReadInt32LittleEndian(headers);
        int payload = BinaryPrimitives.ReadInt32LittleEndian(headers[FuseRingAbi.PayloadBytesAt..]);
        int operation = length - FuseRequest.HeaderBytes - payload;
        if (operation is < 0 or > FuseRingAbi.OperationBytesMax || (uint)payload > FuseSessionLimits.WriteBytesMax)
        {
            return default;
        }

        Span<byte> message = _memory.AsSpan(PayloadAt - operation - FuseRequest.HeaderBytes, length);
        headers.Slice(FuseRingAbi.OperationAt, operation).CopyTo(message[FuseRequest.HeaderBytes..]);
        headers[..FuseRequest.HeaderBytes].CopyTo(message);
        return _memory.AsMemory(PayloadAt - operation - FuseRequest.HeaderBytes, length);
    }

    /// <summary>Puts the answer in place. It leaves with the call that waits for the next message.</summary>
    private void Commit(ulong commitId)
    {
        Span<byte> headers = _memory.AsSpan(0, FuseRingAbi.HeaderBytes);
        Span<byte> payload = _memory.AsSpan(PayloadAt);
        ReadOnlySpan<byte> body = Reply.Bytes[FuseReply.HeaderBytes..];
        body.CopyTo(payload);
        int at = body.Length;
        int offset = Reply.FirstPageOffset;
        int left = Reply.PageBytes;
        for (int i = 0; i < Reply.PageCount && left > 0; i++)
        {
            int take = Math.Min(PageBytes - offset, left);
            if (Reply.Pages[i].IsHole)
            {
                payload.Slice(at, take).Clear();
            }
            else
            {
                new ReadOnlySpan<byte>((byte*)Session.Door.Frames.Address(Reply.Pages[i].Frame) + offset, take).CopyTo(payload[at..]);
            }

            at += take;
            left -= take;
            offset = 0;
        }

        Invariant.Check(left == 0);
        BinaryPrimitives.WriteInt32LittleEndian(headers, FuseReply.HeaderBytes + at);
        BinaryPrimitives.WriteInt32LittleEndian(headers[4..], -Reply.Error);
        BinaryPrimitives.WriteUInt64LittleEndian(headers[8..], commitId);
        BinaryPrimitives.WriteInt32LittleEndian(headers[FuseRingAbi.PayloadBytesAt..], at);
        NextCommand(FuseRingAbi.CommitAndFetchCommand, commitId);
    }

    private UringSubmission* NextCommand(uint command, ulong commitId)
    {
        // Two halves of 64 bytes: the command's arguments begin in the first and end in the second.
        UringSubmission* entry = _ring.NextEntry();
        entry->Opcode = UringAbi.IORING_OP_URING_CMD;
        entry->Fd = _connection;
        entry->Command = command;
        *(ulong*)((byte*)entry + FuseRingAbi.CommandCommitIdAt) = commitId;
        *(ushort*)((byte*)entry + FuseRingAbi.CommandQueueAt) = _queue;
        return entry;
    }
}
