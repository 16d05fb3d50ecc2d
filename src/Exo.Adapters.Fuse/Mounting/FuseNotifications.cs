// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Adapters.Fuse.Messages;
using Exo.Core.Linux;

namespace Exo.Adapters.Fuse.Mounting;

/// <summary>What the kernel is told without having asked (FUSE_NOTIFY_*), through <c>/dev/fuse</c> whatever way messages go. Thread-safe.</summary>
internal sealed unsafe class FuseNotifications(int connection)
{
    private const int InvalidateInode = 2;

    /// <summary>
    /// The kernel writes back and drops what it holds of a file from an offset on. It does so with WRITE messages before this returns: others must be there to answer them.
    /// An inode that the kernel has forgotten has no pages: that error is as good as success.
    /// </summary>
    public void WriteBackAndDrop(ulong node, long offset)
    {
        const int LengthBytes = FuseReply.HeaderBytes + 24;
        Span<byte> notification = stackalloc byte[LengthBytes];
        notification.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(notification, LengthBytes);
        BinaryPrimitives.WriteInt32LittleEndian(notification[4..], InvalidateInode);
        BinaryPrimitives.WriteUInt64LittleEndian(notification[FuseReply.HeaderBytes..], node);
        BinaryPrimitives.WriteInt64LittleEndian(notification[(FuseReply.HeaderBytes + 8)..], Math.Max(0, offset));
        fixed (byte* bytes = notification)
        {
            _ = Libc.Write(connection, bytes, LengthBytes);
        }
    }
}
