// SPDX-License-Identifier: MIT
using Exo.Adapters.Fuse.Messages;
using Exo.FileSystems.CFFS;
using Exo.FileSystems.CFFS.Attributes;
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.Adapters.Fuse.Session;

/// <content>Extended attributes. The kernel has checked the rules of their namespaces; it shows <c>trusted.</c> to the superuser only.</content>
internal sealed partial class FuseSession
{
    private void GetExtendedAttribute(in FuseRequest request, FuseReply reply)
    {
        Inode inode = NodeOf(request);
        uint room = request.BodyWord(0);
        int at = 8;
        ReadOnlyMemory<byte> name = request.Name(ref at);
        RequireOffered(name);
        if (_door.GetAttribute(inode, name) is { } value)
        {
            AddValue(value, room, reply);
        }
        else
        {
            // No exception: the kernel asks for security.capability at the first write to each file.
            reply.Fail((int)CffsError.NoAttribute);
        }
    }

    private void ListExtendedAttributes(in FuseRequest request, FuseReply reply)
    {
        bool isSuperuser = request.User == 0;
        List<byte> list = [];
        foreach (byte[] name in _door.ListAttributes(NodeOf(request)))
        {
            AttributeNamespace kind = AttributeNames.NamespaceOf(name);
            if (kind == AttributeNamespace.Trusted ? isSuperuser : kind != AttributeNamespace.AccessLists || _hasAccessLists)
            {
                list.AddRange(name);
                list.Add(0);
            }
        }

        AddValue([.. list], request.BodyWord(0), reply);
    }

    private void SetExtendedAttribute(in FuseRequest request)
    {
        const uint Create = 1;
        const uint Replace = 2;
        const uint DropSetGroup = 1;
        Inode inode = NodeOf(request);
        uint length = request.BodyWord(0);
        uint flags = request.BodyWord(4);
        int at = _hasAccessLists ? 16 : 8;
        bool dropSetGroup = _hasAccessLists && (request.BodyWord(8) & DropSetGroup) != 0;
        ReadOnlyMemory<byte> name = request.Name(ref at);
        RequireOffered(name);
        if (length > request.Body.Length - at)
        {
            throw new FuseMessageException($"an attribute of {length} bytes with fewer");
        }

        Changed();
        _door.SetAttribute(
            inode, name, request.Body.Slice(at, (int)length),
            (flags & Create) != 0 ? CffsAttributeSet.Create : (flags & Replace) != 0 ? CffsAttributeSet.Replace : CffsAttributeSet.Always,
            dropSetGroup);
    }

    private void RemoveExtendedAttribute(in FuseRequest request)
    {
        int at = 0;
        ReadOnlyMemory<byte> name = request.Name(ref at);
        RequireOffered(name);
        Changed();
        try
        {
            _door.SetAttribute(NodeOf(request), name, null, CffsAttributeSet.Replace);
        }
        catch (CffsException absent) when (absent.Error == CffsError.NoAttribute && AccessList.IsName(name.Span))
        {
            // Every inode has a list, if it is only its mode: there is always one to take away.
        }
    }

    /// <summary>Without <c>acl</c> there are no access control lists, whatever the volume has.</summary>
    private void RequireOffered(ReadOnlyMemory<byte> name)
    {
        if (!_hasAccessLists && AccessList.IsName(name.Span))
        {
            throw new CffsException(CffsError.NotSupported, "mounted without access control lists");
        }
    }

    /// <summary>The value, where there is room for it; its length, where no room is given.</summary>
    private static void AddValue(byte[] value, uint room, FuseReply reply)
    {
        if (room == 0)
        {
            FuseStructures.PutWord(reply.Add(8), 0, (uint)value.Length);
        }
        else if (value.Length > room)
        {
            reply.Fail(FuseErrno.ERANGE);
        }
        else
        {
            value.CopyTo(reply.Add(value.Length));
        }
    }
}
