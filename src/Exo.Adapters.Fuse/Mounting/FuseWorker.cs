// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Adapters.Fuse.Messages;
using Exo.Adapters.Fuse.Session;
using Exo.Core.Linux;

namespace Exo.Adapters.Fuse.Mounting;

/// <summary>One thread's share of a connection: a descriptor, a buffer for messages, and an answer. READ is answered from the pages of the cache.</summary>
internal sealed unsafe class FuseWorker
{
    // A WRITE's header, and the bytes; the kernel refuses to hand messages to a buffer that a largest one would not fit.
    private const int MessageBytesMax = 4096 + FuseSessionLimits.WriteBytesMax;
    private const int PageBytes = 4096;

    private readonly FuseSession _session;
    private readonly int _connection;
    private readonly FuseSeekQueue? _seeks;
    private readonly FuseReply _reply = new();

    // Pinned: the kernel writes to it, and C-FFS reads it as memory. What page it begins at does not matter to either.
    private readonly byte[] _message;
    private readonly byte[] _zeros = GC.AllocateArray<byte>(PageBytes, pinned: true);
    private readonly IoVector[] _vectors = GC.AllocateArray<IoVector>(FuseReply.PagesMax + 1, pinned: true);

    /// <param name="session">What answers.</param>
    /// <param name="connection">Where messages come from; -1 for one that only answers what others have received.</param>
    /// <param name="seeks">Who answers what must wait.</param>
    public FuseWorker(FuseSession session, int connection, FuseSeekQueue? seeks = null)
    {
        _session = session;
        _connection = connection;
        _seeks = seeks;
        _message = connection < 0 ? [] : GC.AllocateUninitializedArray<byte>(MessageBytesMax, pinned: true);
    }

    /// <summary>Answers one message. False when the connection is over.</summary>
    public bool Step()
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

        ReadOnlyMemory<byte> next = _message.AsMemory(0, (int)received);
        if (_seeks is null || !_seeks.TryTake(next, _connection))
        {
            Answer(next, _connection);
        }

        return true;
    }

    /// <summary>Answers a message where it came from.</summary>
    public void Answer(ReadOnlyMemory<byte> message, int connection)
    {
        try
        {
            _session.Handle(message, _reply);
        }
        catch
        {
            // A bug. Whoever asked must not wait for ever while the mount is taken down.
            _session.GiveBack(_reply);
            _reply.Fail(FuseErrno.EIO);
            _reply.Seal(BinaryPrimitives.ReadUInt64LittleEndian(message.Span[8..]));
            Send(connection);
            throw;
        }

        try
        {
            if (!_reply.IsSilent)
            {
                Send(connection);
            }
        }
        finally
        {
            _session.GiveBack(_reply);
        }
    }

    private void Send(int connection)
    {
        int count = 0;
        ReadOnlySpan<byte> head = _reply.Bytes;
        fixed (byte* bytes = head, zeros = _zeros)
        {
            // head lies in a pinned array that lives as long as the worker; pages stay borrowed until Step gives them back.
            _vectors[count++] = new IoVector { Base = (nint)bytes, LengthBytes = (nuint)head.Length };
            int offset = _reply.FirstPageOffset;
            int left = _reply.PageBytes;
            for (int i = 0; i < _reply.PageCount && left > 0; i++)
            {
                int take = Math.Min(PageBytes - offset, left);
                nint page = _reply.Pages[i].IsHole ? (nint)zeros : _session.Door.Frames.Address(_reply.Pages[i].Frame);
                _vectors[count++] = new IoVector { Base = page + offset, LengthBytes = (nuint)take };
                left -= take;
                offset = 0;
            }

            Invariant.Check(left == 0);
            fixed (IoVector* vectors = _vectors)
            {
                // ENOENT: the asker does not wait any more. Anything else that goes wrong ends the connection, which the next read tells.
                _ = Libc.WriteVectorHere(connection, vectors, count);
            }
        }
    }
}
