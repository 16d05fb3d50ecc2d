// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Attributes;
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.FileSystems.CFFS.Nodes;

/// <content>Extended attributes. The kernel has checked who may.</content>
internal sealed partial class NodeDoor
{
    /// <summary>The value, or null. Attributes of namespaces that are not kept are refused.</summary>
    public byte[]? GetAttribute(Inode inode, ReadOnlyMemory<byte> name)
    {
        AttributeNames.Check(name.Span);
        inode.Lock.Enter();
        try
        {
            return core.Attributes.GetAsync(inode, name, IoMode.Sync).Take();
        }
        finally
        {
            inode.Lock.Exit();
        }
    }

    public IReadOnlyList<byte[]> ListAttributes(Inode inode)
    {
        inode.Lock.Enter();
        try
        {
            return core.Attributes.ListAsync(inode, IoMode.Sync).Take();
        }
        finally
        {
            inode.Lock.Exit();
        }
    }

    /// <summary>Sets an attribute, or removes it where there is no value. An access control list may take the set-group-id bit away.</summary>
    public void SetAttribute(Inode inode, ReadOnlyMemory<byte> name, ReadOnlyMemory<byte>? value, CffsAttributeSet when, bool dropSetGroup = false)
    {
        AttributeNames.Check(name.Span);
        inode.RequireThawed();
        Change(inode, () => core.Attributes.SetAnyAsync(inode, name, value, when, IoMode.Sync, dropSetGroup));
    }
}
