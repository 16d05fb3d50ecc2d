// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Adapters.Fuse.Messages;
using Exo.Core.Linux;

namespace Exo.Adapters.Fuse.Mounting;

/// <summary>What the kernel is told without having asked (FUSE_NOTIFY_*), through <c>/dev/fuse</c> whatever way messages go. Thread-safe.</summary>
internal sealed unsafe class FuseNotifications(int connection)
{
    private const int InvalidateInode = 2;
    private const int InvalidateEntry = 3;
    private const int PruneInodes = 9;
    private const int PruneBytes = FuseReply.HeaderBytes + 16;
    private const int PruneMax = 512;
    private const int InodeBytes = FuseReply.HeaderBytes + 24;
    private const int EntryBytes = FuseReply.HeaderBytes + 16;
    private const int NameBytesMax = 255;

    /// <summary>
    /// The kernel writes back and drops what it holds of a file from an offset on, and its attributes. It does so with WRITE messages before this returns: others must be there to answer them.
    /// False when it does not know the inode (any more, or yet).
    /// </summary>
    /// <param name="node">The kernel's name for the inode.</param>
    /// <param name="offset">Where it begins.</param>
    /// <param name="lengthBytes">How much of it; 0 for all from there on.</param>
    public bool Invalidate(ulong node, long offset, long lengthBytes = 0) => SendInode(node, Math.Max(0, offset), lengthBytes);

    /// <summary>The kernel asks for an inode's attributes anew when it needs them. False when it does not know the inode.</summary>
    public bool InvalidateAttributes(ulong node) => SendInode(node, -1, 0);

    /// <summary>The kernel forgets what a name means, also that it means nothing; what it holds of the inode goes with the last one who uses it. It takes the directory's lock and so waits for its lookups.</summary>
    public void InvalidateName(ulong directory, ReadOnlySpan<byte> name)
    {
        Invariant.Check(name.Length is > 0 and <= NameBytesMax);
        Span<byte> notification = stackalloc byte[EntryBytes + NameBytesMax + 1];
        notification = notification[..(EntryBytes + name.Length + 1)];
        notification.Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(notification[FuseReply.HeaderBytes..], directory);
        BinaryPrimitives.WriteInt32LittleEndian(notification[(FuseReply.HeaderBytes + 8)..], name.Length);
        name.CopyTo(notification[EntryBytes..]);
        Send(notification, InvalidateEntry);
    }

    /// <summary>The kernel drops what it remembers of inodes that nobody uses, and says so with FORGET messages; it waits for nobody. False when it does not know this (before Linux 6.18).</summary>
    public bool Prune(ReadOnlySpan<ulong> nodes)
    {
        Span<byte> notification = stackalloc byte[PruneBytes + (PruneMax * sizeof(ulong))];
        while (!nodes.IsEmpty)
        {
            int count = Math.Min(nodes.Length, PruneMax);
            Span<byte> some = notification[..(PruneBytes + (count * sizeof(ulong)))];
            some[..PruneBytes].Clear();
            BinaryPrimitives.WriteInt32LittleEndian(some[FuseReply.HeaderBytes..], count);
            for (int i = 0; i < count; i++)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(some[(PruneBytes + (i * sizeof(ulong)))..], nodes[i]);
            }

            if (!TrySend(some, PruneInodes))
            {
                return false;
            }

            nodes = nodes[count..];
        }

        return true;
    }

    private bool SendInode(ulong node, long offset, long lengthBytes)
    {
        Span<byte> notification = stackalloc byte[InodeBytes];
        notification.Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(notification[FuseReply.HeaderBytes..], node);
        BinaryPrimitives.WriteInt64LittleEndian(notification[(FuseReply.HeaderBytes + 8)..], offset);
        BinaryPrimitives.WriteInt64LittleEndian(notification[(FuseReply.HeaderBytes + 16)..], lengthBytes);
        return Send(notification, InvalidateInode);
    }

    private bool Send(Span<byte> notification, int kind) => TrySend(notification, kind) || Errno.Last != Errno.ENOENT;

    private bool TrySend(Span<byte> notification, int kind)
    {
        BinaryPrimitives.WriteInt32LittleEndian(notification, notification.Length);
        BinaryPrimitives.WriteInt32LittleEndian(notification[4..], kind);
        fixed (byte* bytes = notification)
        {
            return Libc.Write(connection, bytes, (nuint)notification.Length) >= 0;
        }
    }
}
