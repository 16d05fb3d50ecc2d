// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Adapters.Fuse.Messages;
using Exo.Adapters.Fuse.Session;
using Exo.Core.Linux;

namespace Exo.Adapters.Fuse.Mounting;

/// <summary>Messages read from a descriptor of <c>/dev/fuse</c> and answers written to it. READ is answered from the pages of the cache, without a copy.</summary>
internal sealed unsafe class FuseDeviceWorker : FuseWorker
{
    // A WRITE's header, and the bytes; the kernel refuses to hand messages to a buffer that a largest one would not fit.
    private const int MessageBytesMax = 4096 + FuseSessionLimits.WriteBytesMax;
    private const int PageBytes = 4096;

    private readonly int _connection;

    // Pinned: the kernel writes to it, and C-FFS reads it as memory. What page it begins at does not matter to either.
    private readonly byte[] _message = GC.AllocateUninitializedArray<byte>(MessageBytesMax, pinned: true);
    private readonly byte[] _zeros = GC.AllocateArray<byte>(PageBytes, pinned: true);
    private readonly IoVector[] _vectors = GC.AllocateArray<IoVector>(FuseReply.PagesMax + 1, pinned: true);

    public FuseDeviceWorker(FuseSession session, FuseCrew crew, FuseNotifications notifications, int connection)
        : base(session, crew, notifications)
    {
        _connection = connection;
    }

    public override bool Step()
    {
        nint received;
        fixed (byte* message = _message)
        {
            received = Libc.Read(_connection, message, (nuint)_message.Length);
        }

        if (received < 0)
        {
            // ENOENT: the asker was interrupted before the message was read. ENODEV: unmounted.
            return Errno.Last is Errno.EINTR or Errno.EAGAIN or Errno.ENOENT;
        }

        if (received == 0)
        {
            return false;
        }

        Answer(_message.AsMemory(0, (int)received));
        return true;
    }

    public override void Dispose()
    {
    }

    private void Answer(ReadOnlyMemory<byte> message)
    {
        try
        {
            Handle(message);
        }
        catch
        {
            // A bug. Whoever asked must not wait for ever while the mount is taken down.
            GiveBack();
            Reply.Fail(FuseErrno.EIO);
            Reply.Seal(BinaryPrimitives.ReadUInt64LittleEndian(message.Span[8..]));
            Send();
            throw;
        }

        try
        {
            if (!Reply.IsSilent)
            {
                Send();
            }
        }
        finally
        {
            GiveBack();
        }
    }

    private void Send()
    {
        int count = 0;
        ReadOnlySpan<byte> head = Reply.Bytes;
        fixed (byte* bytes = head, zeros = _zeros)
        {
            // head lies in a pinned array that lives as long as the worker; pages stay borrowed until Answer gives them back.
            _vectors[count++] = new IoVector { Base = (nint)bytes, LengthBytes = (nuint)head.Length };
            int offset = Reply.FirstPageOffset;
            int left = Reply.PageBytes;
            for (int i = 0; i < Reply.PageCount && left > 0; i++)
            {
                int take = Math.Min(PageBytes - offset, left);
                nint page = Reply.Pages[i].IsHole ? (nint)zeros : Session.Door.Frames.Address(Reply.Pages[i].Frame);
                _vectors[count++] = new IoVector { Base = page + offset, LengthBytes = (nuint)take };
                left -= take;
                offset = 0;
            }

            Invariant.Check(left == 0);
            fixed (IoVector* vectors = _vectors)
            {
                // ENOENT: the asker does not wait any more. Anything else that goes wrong ends the connection, which the next read tells.
                _ = Libc.WriteVectorHere(_connection, vectors, count);
            }
        }
    }
}
