// SPDX-License-Identifier: MIT
using Exo.Adapters.Fuse.Messages;
using Exo.FileSystems.CFFS;
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.Adapters.Fuse.Session;

/// <content>Names: found, made, moved and removed.</content>
internal sealed partial class FuseSession
{
    private const ushort TypeMask = 0xF000;
    private const ushort RegularFile = 0x8000;
    private const ushort Directory = 0x4000;
    private const ushort SymbolicLinkMode = 0xA000 | 0x1FF;
    private const int NameBytesMax = 255;
    private const uint RenameNoReplace = 1;
    private const uint RenameExchange = 2;
    private const uint RenameWhiteout = 4;

    private void Lookup(in FuseRequest request, FuseReply reply)
    {
        int at = 0;
        ReadOnlyMemory<byte> name = request.Name(ref at);
        Inode? found = name.Span.SequenceEqual("."u8) ? FindByHandle(request.Node) : _door.Lookup(NodeOf(request), name);
        if (found is not null)
        {
            AddEntry(found, reply);
        }
        else
        {
            FuseStructures.WriteAbsence(reply.Add(FuseStructures.EntryBytes));
        }
    }

    /// <summary>
    /// The inode of a file handle, held: the kernel asks for "." of a node that it does not know (FUSE_EXPORT_SUPPORT), or knows no more, while its FORGET is still on the way here. So nobody has it
    /// open, and one that has no name is gone. A handle may be from before the mount began; numbers are never used again, so it is the same inode or none.
    /// </summary>
    private Inode FindByHandle(ulong node)
    {
        Inode? found = Nodes.Find(node) is { } known ? _door.Lookup(known, Dot) : _door.FindByNumber(node);
        if (found is not null && !_door.HasName(found))
        {
            _door.Release(found);
            found = null;
        }

        return found ?? throw new CffsException(CffsError.Stale, $"inode {node} does not exist");
    }

    private void BatchForget(in FuseRequest request, FuseReply reply)
    {
        reply.Silence();
        uint count = request.BodyWord(0);
        for (int at = 8; count > 0 && at + 16 <= request.Body.Length; at += 16, count--)
        {
            Nodes.Forget(request.BodyLong(at), request.BodyLong(at + 8));
        }
    }

    private void ReadLink(in FuseRequest request, FuseReply reply)
    {
        byte[] target = _door.ReadLink(NodeOf(request));
        target.CopyTo(reply.Add(target.Length));
    }

    private void SymbolicLink(in FuseRequest request, FuseReply reply)
    {
        int at = 0;
        ReadOnlyMemory<byte> name = request.Name(ref at);
        ReadOnlyMemory<byte> target = request.Name(ref at);
        Make(request, name, SymbolicLinkMode, 0, target, reply);
    }

    private void MakeNode(in FuseRequest request, FuseReply reply)
    {
        int at = 16;
        ushort mode = (ushort)request.BodyWord(0);
        Make(request, request.Name(ref at), (mode & TypeMask) == 0 ? (ushort)(mode | RegularFile) : mode, request.BodyWord(4), default, reply, UmaskAt(request, 8));
    }

    private void MakeDirectory(in FuseRequest request, FuseReply reply)
    {
        int at = 8;
        Make(request, request.Name(ref at), (ushort)(Directory | (request.BodyWord(0) & 0xFFF)), 0, default, reply, UmaskAt(request, 4));
    }

    private void Make(in FuseRequest request, ReadOnlyMemory<byte> name, ushort mode, ulong device, ReadOnlyMemory<byte> target, FuseReply reply, ushort umask = 0)
    {
        Changed();
        (Inode inode, bool _) = _door.Create(NodeOf(request), name, mode, device, target, exclusive: true, request.User, request.Group, umask);
        AddEntry(inode, reply);
    }

    /// <summary>The umask that the kernel has left to us; else it has applied it.</summary>
    private ushort UmaskAt(in FuseRequest request, int offset) => _hasAccessLists ? (ushort)(request.BodyWord(offset) & 0x1FF) : (ushort)0;

    private void Create(in FuseRequest request, FuseReply reply)
    {
        const uint Exclusive = 0x80;
        const uint Truncate = 0x200;
        int at = 16;
        uint flags = request.BodyWord(0);
        ReadOnlyMemory<byte> name = request.Name(ref at);
        Changed();
        (Inode inode, bool created) = _door.Create(
            NodeOf(request), name, (ushort)(RegularFile | (request.BodyWord(4) & 0xFFF)), 0, default, (flags & Exclusive) != 0, request.User, request.Group, UmaskAt(request, 8));
        bool truncate = !created && (flags & Truncate) != 0;
        if (truncate)
        {
            TakeSetId(inode, Nodes.NumberOf(inode), mayKeep: (request.BodyWord(12) & OpenKillSetId) == 0);
        }

        if (!_door.TryOpen(inode, truncate))
        {
            _door.Release(inode);
            throw new CffsException(CffsError.NotFound, "removed while it was opened");
        }

        AddEntry(inode, reply);
        AddOpen(inode, flags, reply);
    }

    /// <summary>O_TMPFILE. The name in the message means nothing.</summary>
    private void CreateUnnamed(in FuseRequest request, FuseReply reply)
    {
        Changed();
        Inode inode = _door.CreateUnnamed(NodeOf(request), (ushort)(RegularFile | (request.BodyWord(4) & 0xFFF)), request.User, request.Group, UmaskAt(request, 8));
        AddEntry(inode, reply);
        AddOpen(inode, request.BodyWord(0), reply);
    }

    private void Remove(in FuseRequest request, bool isDirectory)
    {
        int at = 0;
        ReadOnlyMemory<byte> name = request.Name(ref at);
        Changed();
        _door.Remove(NodeOf(request), CheckLength(name), isDirectory);
    }

    private void Rename(in FuseRequest request, uint flags, int namesAt)
    {
        Inode from = NodeOf(request);
        Inode to = NodeOf(request.BodyLong(0));
        ReadOnlyMemory<byte> fromName = request.Name(ref namesAt);
        ReadOnlyMemory<byte> toName = request.Name(ref namesAt);
        if ((flags & ~(RenameNoReplace | RenameExchange | RenameWhiteout)) != 0 || ((flags & RenameExchange) != 0 && flags != RenameExchange))
        {
            throw new CffsException(CffsError.Invalid, $"flags {flags:x} of a rename");
        }

        Changed();
        if ((flags & RenameExchange) != 0)
        {
            _door.Exchange(from, CheckLength(fromName), to, CheckLength(toName));
            ForgetAbove(from, to, fromName);
        }
        else if ((flags & RenameWhiteout) != 0)
        {
            _door.RenameWithWhiteout(from, CheckLength(fromName), to, CheckLength(toName), (flags & RenameNoReplace) == 0, request.User, request.Group);
        }
        else
        {
            _door.Rename(from, CheckLength(fromName), to, CheckLength(toName), (flags & RenameNoReplace) == 0);
        }

        ForgetAbove(to, from, toName);
    }

    /// <summary>The kernel remembers a directory's listing until the directory changes. One that has come from elsewhere has not, but for its <c>..</c>.</summary>
    private void ForgetAbove(Inode directory, Inode before, ReadOnlyMemory<byte> name)
    {
        if (directory == before || ListingChanged is null)
        {
            return;
        }

        try
        {
            if (_door.Lookup(directory, name) is { } moved)
            {
                if (moved.IsDirectory)
                {
                    ListingChanged(Nodes.NumberOf(moved));
                }

                _door.Release(moved);
            }
        }
        catch (Exception refused) when (refused is CffsException or IOException)
        {
            // It has moved, and that is the answer.
        }
    }

    private void Link(in FuseRequest request, FuseReply reply)
    {
        int at = 8;
        Inode inode = NodeOf(request.BodyLong(0));
        ReadOnlyMemory<byte> name = request.Name(ref at);
        Changed();
        _door.Link(inode, NodeOf(request), name);
        _door.Hold(inode);
        AddEntry(inode, reply);
    }

    /// <summary>Tells the kernel of an inode; takes the hold over.</summary>
    private void AddEntry(Inode inode, FuseReply reply)
    {
        ulong node = Nodes.NumberOf(inode);
        Nodes.Tell(inode);
        try
        {
            FuseStructures.WriteEntry(reply.Add(FuseStructures.EntryBytes), node, _door.Stat(inode));
        }
        catch
        {
            Nodes.Forget(node, 1);
            throw;
        }
    }

    private static ReadOnlyMemory<byte> CheckLength(ReadOnlyMemory<byte> name) =>
        name.Length <= NameBytesMax ? name : throw new CffsException(CffsError.NameTooLong, $"a name of {name.Length} bytes is longer than 255");
}
