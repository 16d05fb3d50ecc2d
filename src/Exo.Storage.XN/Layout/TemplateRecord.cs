// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;
using Exo.Core.DownloadedCode;

namespace Exo.Storage.XN;

/// <summary>
/// A template as one block: header, then, with the flag for it, the lengths of <c>approve</c>'s unit and program (u16 each), groups (offset u16, stride u16, count u16 each), children
/// (id u32 each), then the programs. A template without <c>approve</c> has the bytes that it had before there was such.
/// </summary>
internal static class TemplateRecord
{
    /// <summary>Writes a template. False when it does not fit into a block.</summary>
    public static bool TryEmit(Span<byte> block, TemplateId id, TemplateSource source, ReadOnlySpan<TemplateId> children)
    {
        byte[] owns = source.Owns?.ToBytes() ?? [];
        byte[] acl = source.Acl?.ToBytes() ?? [];
        byte[] size = source.Size?.ToBytes() ?? [];
        byte[] approve = source.Approve?.ToBytes() ?? [];
        int length = TemplateBlock.VariableOffset + (approve.Length > 0 ? TemplateBlock.ApproveHeaderBytes : 0) + approve.Length + (source.Partitions.Count * 6) + (children.Length * 4) + owns.Length + acl.Length + size.Length;
        if (length > block.Length)
        {
            return false;
        }

        block.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(block[TemplateBlock.MagicOffset..], TemplateBlock.MagicValue);
        BinaryPrimitives.WriteUInt32LittleEndian(block[TemplateBlock.IdOffset..], id.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(block[TemplateBlock.FlagsOffset..], (uint)source.Flags | (approve.Length > 0 ? TemplateBlock.HasApprove : 0));
        BinaryPrimitives.WriteUInt32LittleEndian(block[TemplateBlock.ReadSetBytesOffset..], (uint)source.ReadSetBytes);
        BinaryPrimitives.WriteUInt16LittleEndian(
            block[TemplateBlock.NameLengthOffset..], (ushort)Encoding.UTF8.GetBytes(source.Name, block.Slice(TemplateBlock.NameOffset, TemplateBlock.NameBytesMax)));
        BinaryPrimitives.WriteUInt16LittleEndian(block[TemplateBlock.GroupCountOffset..], (ushort)source.Partitions.Count);
        BinaryPrimitives.WriteUInt16LittleEndian(block[TemplateBlock.ChildCountOffset..], (ushort)children.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(block[TemplateBlock.OwnsBytesOffset..], (ushort)owns.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(block[TemplateBlock.AclBytesOffset..], (ushort)acl.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(block[TemplateBlock.SizeBytesOffset..], (ushort)size.Length);
        int at = TemplateBlock.VariableOffset;
        if (approve.Length > 0)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(block[at..], (ushort)source.ApproveUnitBytes);
            BinaryPrimitives.WriteUInt16LittleEndian(block[(at + 2)..], (ushort)approve.Length);
            at += TemplateBlock.ApproveHeaderBytes;
        }

        foreach (PartitionGroup group in source.Partitions)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(block[at..], (ushort)group.OffsetBytes);
            BinaryPrimitives.WriteUInt16LittleEndian(block[(at + 2)..], (ushort)group.StrideBytes);
            BinaryPrimitives.WriteUInt16LittleEndian(block[(at + 4)..], (ushort)group.Count);
            at += 6;
        }

        foreach (TemplateId child in children)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(block[at..], child.Value);
            at += 4;
        }

        foreach (byte[] program in (ReadOnlySpan<byte[]>)[owns, acl, size, approve])
        {
            program.CopyTo(block[at..]);
            at += program.Length;
        }

        // What a template is, apart from its number: two of the same content are one.
        Span<byte> hash = stackalloc byte[32];
        SHA256.HashData(block[TemplateBlock.FlagsOffset..], hash);
        hash.CopyTo(block[TemplateBlock.ContentHashOffset..]);
        return true;
    }

    /// <summary>Reads a template block whose checksum has been verified.</summary>
    public static bool TryParse(ReadOnlySpan<byte> block, out TemplateId id, [NotNullWhen(true)] out TemplateSource? source, out TemplateId[] children)
    {
        id = default;
        source = null;
        children = [];
        if (BinaryPrimitives.ReadUInt32LittleEndian(block[TemplateBlock.MagicOffset..]) != TemplateBlock.MagicValue)
        {
            return false;
        }

        id = new TemplateId(BinaryPrimitives.ReadUInt32LittleEndian(block[TemplateBlock.IdOffset..]));
        int nameLength = BinaryPrimitives.ReadUInt16LittleEndian(block[TemplateBlock.NameLengthOffset..]);
        int groupCount = BinaryPrimitives.ReadUInt16LittleEndian(block[TemplateBlock.GroupCountOffset..]);
        int childCount = BinaryPrimitives.ReadUInt16LittleEndian(block[TemplateBlock.ChildCountOffset..]);
        int ownsBytes = BinaryPrimitives.ReadUInt16LittleEndian(block[TemplateBlock.OwnsBytesOffset..]);
        int aclBytes = BinaryPrimitives.ReadUInt16LittleEndian(block[TemplateBlock.AclBytesOffset..]);
        int sizeBytes = BinaryPrimitives.ReadUInt16LittleEndian(block[TemplateBlock.SizeBytesOffset..]);
        uint readSetBytes = BinaryPrimitives.ReadUInt32LittleEndian(block[TemplateBlock.ReadSetBytesOffset..]);
        uint flags = BinaryPrimitives.ReadUInt32LittleEndian(block[TemplateBlock.FlagsOffset..]);
        int at = TemplateBlock.VariableOffset;
        int unitBytes = 0;
        int approveBytes = 0;
        if ((flags & TemplateBlock.HasApprove) != 0)
        {
            unitBytes = BinaryPrimitives.ReadUInt16LittleEndian(block[at..]);
            approveBytes = BinaryPrimitives.ReadUInt16LittleEndian(block[(at + 2)..]);
            at += TemplateBlock.ApproveHeaderBytes;
            if (approveBytes == 0)
            {
                return false;
            }
        }

        if (nameLength > TemplateBlock.NameBytesMax || readSetBytes > 4096
            || at + (groupCount * 6) + (childCount * 4) + ownsBytes + aclBytes + sizeBytes + approveBytes > block.Length)
        {
            return false;
        }

        PartitionGroup[] groups = new PartitionGroup[groupCount];
        for (int i = 0; i < groupCount; i++, at += 6)
        {
            groups[i] = new PartitionGroup(
                BinaryPrimitives.ReadUInt16LittleEndian(block[at..]),
                BinaryPrimitives.ReadUInt16LittleEndian(block[(at + 2)..]),
                BinaryPrimitives.ReadUInt16LittleEndian(block[(at + 4)..]));
        }

        children = new TemplateId[childCount];
        for (int i = 0; i < childCount; i++, at += 4)
        {
            children[i] = new TemplateId(BinaryPrimitives.ReadUInt32LittleEndian(block[at..]));
        }

        if (!TryProgram(block.Slice(at, ownsBytes), out Program? owns) || !TryProgram(block.Slice(at + ownsBytes, aclBytes), out Program? acl)
            || !TryProgram(block.Slice(at + ownsBytes + aclBytes, sizeBytes), out Program? size)
            || !TryProgram(block.Slice(at + ownsBytes + aclBytes + sizeBytes, approveBytes), out Program? approve))
        {
            return false;
        }

        source = new TemplateSource
        {
            Name = Encoding.UTF8.GetString(block.Slice(TemplateBlock.NameOffset, nameLength)),
            Flags = (TemplateFlags)(flags & ~TemplateBlock.HasApprove),
            ReadSetBytes = (int)readSetBytes,
            Partitions = groups,
            Owns = owns,
            Acl = acl,
            Size = size,
            Approve = approve,
            ApproveUnitBytes = unitBytes,
        };
        return true;
    }

    public static ReadOnlySpan<byte> ContentHash(ReadOnlySpan<byte> block) => block.Slice(TemplateBlock.ContentHashOffset, 32);

    private static bool TryProgram(ReadOnlySpan<byte> bytes, out Program? program)
    {
        program = null;
        return bytes.IsEmpty || Program.TryParse(bytes, out program);
    }
}
