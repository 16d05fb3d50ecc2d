// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Attributes;

/// <summary>The access control lists that something new begins with, as entries of the block of its attributes; <see cref="AttributeStore.TryClaim"/> seals it when the block's place is known.</summary>
internal sealed class InheritedLists
{
    private InheritedLists(byte[] block, int entryBytes)
    {
        Block = block;
        EntryBytes = entryBytes;
    }

    public byte[] Block { get; }

    public int EntryBytes { get; }

    /// <summary>Null when neither says more than permission bits do.</summary>
    /// <exception cref="CffsException">NoSpace: they do not fit into a block.</exception>
    public static InheritedLists? Of(AccessList access, AccessList defaults)
    {
        byte[] block = new byte[AttributeBlock.SizeBytes];
        int entryBytes = 0;
        bool fits = (!access.IsExtended || AttributeBlock.TryAppend(block, ref entryBytes, AccessList.AccessName, access.ToBytes()))
            && (defaults.IsNone || AttributeBlock.TryAppend(block, ref entryBytes, AccessList.DefaultName, defaults.ToBytes()));
        if (!fits)
        {
            throw AttributeStore.Full();
        }

        return entryBytes > 0 ? new InheritedLists(block, entryBytes) : null;
    }
}
