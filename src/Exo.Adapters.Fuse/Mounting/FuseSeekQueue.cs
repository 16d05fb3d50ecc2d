// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Collections.Concurrent;
using Exo.Adapters.Fuse.Messages;
using Exo.Adapters.Fuse.Session;
using Exo.Core.Linux;

namespace Exo.Adapters.Fuse.Mounting;

/// <summary>
/// SEEK for holes and data in a file that somebody has open for writing. With the writeback cache the kernel may hold pages that the volume has not seen yet, and asks nevertheless:
/// what was just written would be found to be a hole. So the kernel is told first to write back and drop what it holds (FUSE_NOTIFY_INVAL_INODE). It does so with WRITE messages
/// before the notification returns, hence from a thread of its own: those that answer WRITE stay free.
/// </summary>
internal sealed unsafe class FuseSeekQueue(FuseSession session) : IDisposable
{
    private const int NotificationBytes = FuseReply.HeaderBytes + 24;
    private const int InvalidateInode = 2;
    private const int BodyAt = FuseRequest.HeaderBytes;

    private readonly BlockingCollection<(byte[] Message, int Connection)> _waiting = [];
    private readonly FuseWorker _worker = new(session, connection: -1);

    /// <summary>Takes a message over if it is one that must wait for the kernel's pages.</summary>
    public bool TryTake(ReadOnlyMemory<byte> message, int connection)
    {
        if (!FuseRequest.TryParse(message, out FuseRequest request) || request.Opcode != FuseOpcode.Seek || !session.IsWrittenBehind(request))
        {
            return false;
        }

        try
        {
            return _waiting.TryAdd((message.ToArray(), connection));
        }
        catch (InvalidOperationException)
        {
            // The mount is ending.
            return false;
        }
    }

    /// <summary>Answers one message; waits for it. False when no more will come.</summary>
    public bool Step()
    {
        if (!_waiting.TryTake(out (byte[] Message, int Connection) next, Timeout.Infinite))
        {
            return false;
        }

        // From the offset on: what lies before does not matter to the answer. An inode that the kernel has forgotten has no pages: that error is as good as success.
        Span<byte> notification = stackalloc byte[NotificationBytes];
        notification.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(notification, NotificationBytes);
        BinaryPrimitives.WriteInt32LittleEndian(notification[4..], InvalidateInode);
        next.Message.AsSpan(16, 8).CopyTo(notification[FuseReply.HeaderBytes..]);
        long offset = BinaryPrimitives.ReadInt64LittleEndian(next.Message.AsSpan(BodyAt + 8));
        BinaryPrimitives.WriteInt64LittleEndian(notification[(FuseReply.HeaderBytes + 8)..], Math.Max(0, offset));
        fixed (byte* bytes = notification)
        {
            _ = Libc.Write(next.Connection, bytes, NotificationBytes);
        }

        _worker.Answer(next.Message, next.Connection);
        return true;
    }

    /// <summary>No more messages are taken; the last ones are answered.</summary>
    public void End() => _waiting.CompleteAdding();

    public void Dispose() => _waiting.Dispose();
}
