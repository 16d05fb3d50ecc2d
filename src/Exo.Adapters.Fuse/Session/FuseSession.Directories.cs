// SPDX-License-Identifier: MIT
using Exo.Adapters.Fuse.Messages;
using Exo.FileSystems.CFFS;
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.Adapters.Fuse.Session;

/// <content>
/// Listings. A position is 0 before <c>.</c>, 1 before <c>..</c>, and the slot address of the entry before plus 3 from there on: it needs no handle, and stays true
/// while others come and go.
/// </content>
internal sealed partial class FuseSession
{
    private const ulong FirstPosition = 2;
    private const long SlotAddressMax = uint.MaxValue;
    private static readonly byte[] Dot = "."u8.ToArray();
    private static readonly byte[] DotDot = ".."u8.ToArray();

    [ThreadStatic]
    private static List<CffsDirectoryEntry>? t_entries;

    private void ReadDirectory(in FuseRequest request, FuseReply reply, bool plus)
    {
        Inode directory = NodeOf(request);
        ulong position = request.BodyLong(8);
        int room = (int)Math.Min(request.BodyWord(16), FuseReply.BodyBytesMax);
        if (!directory.IsDirectory)
        {
            throw new CffsException(CffsError.NotDirectory, "not a directory");
        }

        if (position == 0)
        {
            if (!AddName(reply, ref room, plus, directory.Number, 1, CffsKind.Directory, Dot))
            {
                return;
            }

            position = 1;
        }

        if (position == 1)
        {
            Inode above = _door.Lookup(directory, DotDot)!;
            ulong number = above.Number;
            _door.Release(above);
            if (!AddName(reply, ref room, plus, number, FirstPosition, CffsKind.Directory, DotDot))
            {
                return;
            }

            position = FirstPosition;
        }

        if (position - FirstPosition > SlotAddressMax)
        {
            return;
        }

        List<CffsDirectoryEntry> entries = t_entries ??= [];
        entries.Clear();
        int smallest = FuseStructures.DirectoryEntryLength(1) + (plus ? FuseStructures.EntryBytes : 0);
        _door.List(directory, (long)(position - FirstPosition) - 1, (room / smallest) + 1, entries);
        foreach (CffsDirectoryEntry entry in entries)
        {
            ulong next = (ulong)entry.Position + FirstPosition + 1;
            bool added;
            try
            {
                added = plus
                    ? AddFound(reply, ref room, directory, entry, next)
                    : AddName(reply, ref room, plus, entry.Inode, next, entry.Kind, entry.Name);
            }
            catch (Exception refused) when (refused is CffsException or IOException && reply.LengthBytes > FuseReply.HeaderBytes)
            {
                // The entries before it have been counted: the kernel must learn of them, or it never forgets them. It asks again from here, and is told.
                break;
            }

            if (!added)
            {
                break;
            }
        }

        entries.Clear();
    }

    /// <summary>An entry with its attributes. One that has gone meanwhile is left out.</summary>
    private bool AddFound(FuseReply reply, ref int room, Inode directory, in CffsDirectoryEntry entry, ulong next)
    {
        if (room < FuseStructures.EntryBytes + FuseStructures.DirectoryEntryLength(entry.Name.Length))
        {
            return false;
        }

        if (_door.Lookup(directory, entry.Name) is not { } inode)
        {
            return true;
        }

        ulong node = Nodes.NumberOf(inode);
        ulong number = inode.Number;
        Nodes.Tell(inode);
        CffsStat stat;
        try
        {
            stat = _door.Stat(inode);
        }
        catch
        {
            Nodes.Forget(node, 1);
            throw;
        }

        FuseStructures.WriteEntry(reply.Add(FuseStructures.EntryBytes), node, stat);
        room -= FuseStructures.EntryBytes;
        bool added = AddName(reply, ref room, plus: false, number, next, stat.Kind, entry.Name);
        Invariant.Check(added);
        return true;
    }

    /// <summary>An entry; in a listing with attributes one whose attributes are not told.</summary>
    private static bool AddName(FuseReply reply, ref int room, bool plus, ulong inode, ulong next, CffsKind kind, ReadOnlyMemory<byte> name)
    {
        int prefix = plus ? FuseStructures.EntryBytes : 0;
        int length = prefix + FuseStructures.DirectoryEntryLength(name.Length);
        if (length > room)
        {
            return false;
        }

        FuseStructures.WriteDirectoryEntry(reply.Add(length)[prefix..], inode, next, kind, name.Span);
        room -= length;
        return true;
    }
}
