// SPDX-License-Identifier: MIT
using System.Buffers;
using Exo.Adapters.Fuse.Messages;
using Exo.FileSystems.CFFS;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Nodes;

namespace Exo.Adapters.Fuse.Session;

/// <content>Attributes and contents.</content>
internal sealed partial class FuseSession
{
    private const uint OpenKillSetId = 1;
    private const uint NoAccessTime = 0x40000;
    private const long SizeMax = long.MaxValue;
    private const uint SeekData = 3;
    private const uint SeekHole = 4;

    [Flags]
    private enum Changes : uint
    {
        Mode = 1 << 0,
        User = 1 << 1,
        Group = 1 << 2,
        Size = 1 << 3,
        AccessTime = 1 << 4,
        ModifyTime = 1 << 5,
        Values = Mode | User | Group | Size | AccessTime | ModifyTime,
        AccessNow = 1 << 7,
        ModifyNow = 1 << 8,
        ChangeTime = 1 << 10,
        KillSetId = 1 << 11,
    }

    private void SetAttributes(in FuseRequest request, FuseReply reply)
    {
        Inode inode = NodeOf(request);
        Changes valid = (Changes)request.BodyWord(0);
        ulong size = request.BodyLong(16);
        if ((valid & Changes.Size) != 0 && size > SizeMax)
        {
            throw new CffsException(CffsError.Invalid, "a negative length");
        }

        long now = _door.Now();
        CffsAttributeChange change = new()
        {
            Permissions = (valid & Changes.Mode) != 0 ? (ushort)(request.BodyWord(68) & 0xFFF) : null,
            User = (valid & Changes.User) != 0 ? request.BodyWord(76) : null,
            Group = (valid & Changes.Group) != 0 ? request.BodyWord(80) : null,
            Size = (valid & Changes.Size) != 0 ? (long)size : null,
            AccessTimeNs = (valid & Changes.AccessTime) == 0 ? null : (valid & Changes.AccessNow) != 0 ? now : TimeAt(request, 32, 56),
            ModifyTimeNs = (valid & Changes.ModifyTime) == 0 ? null : (valid & Changes.ModifyNow) != 0 ? now : TimeAt(request, 40, 60),
        };
        Changed();

        // A change of nothing but the change time comes before contents are changed by somebody who may not keep the set-id bits, and for chown(-1, -1), which the kernel lets everybody do.
        // The two look alike: so only the owner and the superuser take the bits that way, and a change of contents takes them by itself.
        bool mayTakeBits = request.User == 0 || request.User == inode.Record.User;
        bool dropSetId = (valid & Changes.KillSetId) != 0 || ((valid & Changes.Values) == 0 && mayTakeBits);
        _door.SetAttributes(inode, change, (valid & Changes.ChangeTime) != 0 ? TimeAt(request, 48, 64) : null, dropSetId);
        FuseStructures.WriteAttributesOut(reply.Add(16 + FuseStructures.AttributesBytes), _door.Stat(inode));
    }

    /// <summary>
    /// Takes a file's set-id bits before somebody changes its contents who may not keep them. The kernel asks for times and length anew after a change of contents, but runs programs by the
    /// mode that it remembers: so it is told before there is anything new to run.
    /// </summary>
    private void TakeSetId(Inode inode, ulong node, bool mayKeep)
    {
        if (!mayKeep && _door.TakeSetId(inode))
        {
            AttributesChanged?.Invoke(node);
        }
    }

    // 64 bits of nanoseconds last from 1677 to 2262; what lies outside becomes the nearer end.
    private static long TimeAt(in FuseRequest request, int secondsAt, int nanosecondsAt)
    {
        const long SecondsMax = (long.MaxValue / 1_000_000_000) - 1;
        long seconds = Math.Clamp((long)request.BodyLong(secondsAt), -SecondsMax, SecondsMax);
        return (seconds * 1_000_000_000) + Math.Min(request.BodyWord(nanosecondsAt), 999_999_999);
    }

    private void Open(in FuseRequest request, FuseReply reply)
    {
        const uint Truncate = 0x200;
        Inode inode = NodeOf(request);
        bool truncate = (request.BodyWord(0) & Truncate) != 0;
        if ((request.BodyWord(0) & 3) != 0)
        {
            // With write-back a refusal of the write itself would come too late.
            inode.RequireThawed();
        }

        if (truncate)
        {
            Changed();
            TakeSetId(inode, request.Node, mayKeep: (request.BodyWord(4) & OpenKillSetId) == 0);
        }

        if (!_door.TryOpen(inode, truncate))
        {
            throw new CffsException(CffsError.NotFound, "removed while it was opened");
        }

        AddOpen(inode, request.BodyWord(0), reply);
    }

    /// <summary>Tells the kernel of an open file; takes the handle's hold over.</summary>
    private void AddOpen(Inode inode, uint flags, FuseReply reply)
    {
        const uint AccessMask = 3;
        const uint KeepCache = 1 << 1;
        Span<byte> body = reply.Add(16);
        if (_hasHandles)
        {
            FuseStructures.PutLong(body, 0, _handles.Add(inode, writes: (flags & AccessMask) != 0));
        }
        else
        {
            // O_TMPFILE: the kernel's knowing of the node keeps the file.
            _door.Close(inode);
        }

        FuseStructures.PutWord(body, 8, KeepCache);
    }

    private void Release(in FuseRequest request)
    {
        if (_handles.Remove(request.BodyLong(0)) is { } inode)
        {
            _door.Close(inode);
        }
    }

    private void Read(in FuseRequest request, FuseReply reply)
    {
        Inode inode = FileOf(request);
        ulong offset = request.BodyLong(8);
        if (offset > SizeMax)
        {
            throw new CffsException(CffsError.Invalid, "a negative offset");
        }

        int length = (int)Math.Min(request.BodyWord(16), FuseSessionLimits.WriteBytesMax);
        Span<byte> inline = reply.Add(NodeDoor.InlineBytesMax);
        bool isNoted = (request.BodyWord(32) & NoAccessTime) == 0;
        int there = _door.Borrow(inode, (long)offset, length, reply.Pages, inline, isNoted, out int pages);
        bool isInline = pages == 0;
        reply.Shorten(isInline ? NodeDoor.InlineBytesMax - there : NodeDoor.InlineBytesMax);
        if (!isInline)
        {
            reply.PageCount = pages;
            reply.FirstPageOffset = (int)(offset % 4096);
            reply.PageBytes = there;
        }
    }

    private void Write(in FuseRequest request, FuseReply reply)
    {
        const int FixedBytes = 40;
        const uint FromPageCache = 1;
        const uint KillSetId = 1 << 2;
        Inode inode = FileOf(request);
        ulong offset = request.BodyLong(8);
        uint size = request.BodyWord(16);
        uint flags = request.BodyWord(20);
        if (request.Body.Length < FixedBytes || size > request.Body.Length - FixedBytes)
        {
            throw new FuseMessageException($"a write of {size} bytes with fewer");
        }

        if (offset > SizeMax)
        {
            throw new CffsException(CffsError.Invalid, "a negative offset");
        }

        Changed();
        TakeSetId(inode, request.Node, mayKeep: (flags & KillSetId) == 0);
        int written = _door.Write(inode, (long)offset, request.Body.Slice(FixedBytes, (int)size), (flags & FromPageCache) != 0);
        FuseStructures.PutWord(reply.Add(8), 0, (uint)written);
    }

    private void Allocate(in FuseRequest request, FuseReply reply)
    {
        const uint KeepSize = 1;
        const uint PunchHole = 2;
        const uint ZeroRange = 0x10;
        Inode inode = FileOf(request);
        (ulong offset, ulong length, uint mode) = (request.BodyLong(8), request.BodyLong(16), request.BodyWord(24));
        if (offset > SizeMax || length > SizeMax)
        {
            throw new CffsException(CffsError.Invalid, "a negative range");
        }

        Changed();
        TakeSetId(inode, request.Node, mayKeep: request.User == 0);
        switch (mode)
        {
            case 0 or KeepSize: _door.Allocate(inode, (long)offset, (long)length, keepSize: mode == KeepSize); break;
            case PunchHole | KeepSize: _door.Punch(inode, (long)offset, (long)length); break;
            case ZeroRange or (ZeroRange | KeepSize): _door.Zero(inode, (long)offset, (long)length, keepSize: (mode & KeepSize) != 0); break;
            default: reply.Fail(FuseErrno.EOPNOTSUPP); break;
        }
    }

    private void CopyFileRange(in FuseRequest request, FuseReply reply)
    {
        const int StepBytes = 1 << 20;

        // The answer counts in 32 bits; programs ask again for the rest, and others get their turn meanwhile.
        const ulong OnceBytesMax = 64 << 20;
        Inode from = FileOf(request);
        Inode to = FileOf(request.BodyLong(24), request.BodyLong(16));
        (ulong fromOffset, ulong toOffset, ulong length) = (request.BodyLong(8), request.BodyLong(32), request.BodyLong(40));
        if (fromOffset > SizeMax || toOffset > SizeMax)
        {
            throw new CffsException(CffsError.Invalid, "a negative offset");
        }

        Changed();
        TakeSetId(to, Nodes.NumberOf(to), mayKeep: request.User == 0);
        byte[] buffer = ArrayPool<byte>.Shared.Rent(StepBytes);
        try
        {
            int copied = _door.Copy(from, (long)fromOffset, to, (long)toOffset, (int)Math.Min(length, OnceBytesMax), buffer.AsMemory(0, StepBytes));
            FuseStructures.PutWord(reply.Add(8), 0, (uint)copied);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Whether a message asks where data are of a file of which the kernel may hold pages that it has not written here yet.</summary>
    public bool IsWrittenBehind(in FuseRequest request) =>
        writebackCache && request.Opcode == FuseOpcode.Seek && request.Body.Length >= 24 && (!_hasHandles || (_handles.Find(request.BodyLong(0)) is { } inode && _handles.IsWritten(inode)));

    /// <summary>The hole, as the volume has it, by which a SEEK is answered. There is none where it is not, and where nobody can have written to the file through a map.</summary>
    public bool TryFindHole(in FuseRequest request, out long from, out long lengthBytes)
    {
        (from, lengthBytes) = (0, 0);
        if (request.Opcode != FuseOpcode.Seek || _door.IsReadOnly)
        {
            return false;
        }

        try
        {
            Inode inode = FileOf(request);
            from = (long)request.BodyLong(8);
            if (request.BodyWord(16) == SeekHole)
            {
                from = _door.SeekData(inode, from, data: false);
            }

            long size = _door.Stat(inode).Size;
            if (from < 0 || from >= size || (_hasHandles && !_handles.IsWritten(inode)))
            {
                return false;
            }

            long data = _door.SeekData(inode, from, data: true);
            lengthBytes = (data < 0 ? size : data) - from;
            return lengthBytes > 0;
        }
        catch (Exception refused) when (refused is CffsException or IOException or FuseMessageException)
        {
            // As the message itself was.
            return false;
        }
    }

    private void Seek(in FuseRequest request, FuseReply reply)
    {
        uint whence = request.BodyWord(16);
        if (whence is not (SeekData or SeekHole))
        {
            throw new CffsException(CffsError.Invalid, $"whence {whence}");
        }

        long found = _door.SeekData(FileOf(request), (long)request.BodyLong(8), whence == SeekData);
        if (found < 0)
        {
            reply.Fail(FuseErrno.ENXIO);
            return;
        }

        FuseStructures.PutLong(reply.Add(8), 0, (ulong)found);
    }
}
