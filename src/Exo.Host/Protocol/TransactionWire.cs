// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;
using Exo.Storage.XN;

namespace Exo.Host.Protocol;

/// <summary>Transactions and templates as messages.</summary>
internal static class TransactionWire
{
    private const uint FramesNone = 0;
    private const uint FramesOfHost = 1;
    private const uint FramesOfClient = 2;

    /// <summary>Writes a transaction. Its frame numbers are the client's own; <see cref="AnyFrame"/> is a frame that the host shall choose.</summary>
    public static void Write(ref WireWriter to, XnTransaction transaction)
    {
        to.U32((uint)transaction.Edits.Count);
        foreach (Edit edit in transaction.Edits)
        {
            to.Block(edit.Block);
            to.U32((uint)edit.OffsetBytes);
            to.Bytes(transaction.Bytes(edit));
        }

        to.U32((uint)transaction.Claims.Count);
        foreach (Claim claim in transaction.Claims)
        {
            to.U32((uint)claim.Kind);
            to.Extent(claim.Extent.Extent);
            to.U32(claim.Extent.Template.Value);
            to.Block(claim.Block);
            to.U32((uint)claim.Partition);
            to.Block(claim.ToBlock);
            to.U32((uint)claim.ToPartition);
            bool areHosts = claim.FrameCount > 0 && transaction.Frames[claim.FirstFrame] == AnyFrame;
            to.U32(claim.FrameCount == 0 ? FramesNone : areHosts ? FramesOfHost : FramesOfClient);
            to.U32((uint)claim.FrameCount);
            for (int i = 0; i < claim.FrameCount && !areHosts; i++)
            {
                to.U32(transaction.Frames[claim.FirstFrame + i].Value);
            }
        }

        to.U32((uint)transaction.Orders.Count);
        foreach ((var before, var after) in transaction.Orders)
        {
            to.Block(before);
            to.Block(after);
        }
    }

    /// <summary>In the place of frames: the host gives zeroed ones that the client can only read, as for metadata.</summary>
    public static FrameNumber AnyFrame => new(uint.MaxValue);

    /// <summary>Reads a transaction. Frames are asked for by <paramref name="frames"/>: how many, and which of the client's (null: any of the host's).</summary>
    /// <exception cref="MalformedException">It makes no sense.</exception>
    public static void Read(ref WireReader from, XnTransaction into, FrameSource frames)
    {
        into.Clear();
        for (int edits = from.Count(16); edits > 0; edits--)
        {
            var block = from.Block();
            uint offset = from.U32();
            into.Write(block, (int)Math.Min(offset, int.MaxValue), from.Bytes());
        }

        for (int claims = from.Count(48); claims > 0; claims--)
        {
            uint kind = from.U32();
            BlockExtent extent = from.Extent();
            TemplateId template = new(from.U32());
            var block = from.Block();
            int partition = (int)from.U32();
            var toBlock = from.Block();
            int toPartition = (int)from.U32();
            uint source = from.U32();
            FrameNumber[] given = [];
            if (source == FramesNone)
            {
                _ = from.U32();
            }
            else if (kind != (uint)ClaimKind.Allocate || source > FramesOfClient)
            {
                throw new MalformedException("frames where there can be none");
            }
            else if (source == FramesOfHost)
            {
                given = frames((int)Math.Min(from.U32(), int.MaxValue), null, template);
            }
            else
            {
                uint[] wished = new uint[from.Count(4)];
                for (int i = 0; i < wished.Length; i++)
                {
                    wished[i] = from.U32();
                }

                given = frames(wished.Length, wished, template);
            }

            switch ((ClaimKind)kind)
            {
                case ClaimKind.Allocate:
                    into.ClaimAllocate(extent, template, block, partition, given);
                    break;
                case ClaimKind.Free:
                    into.ClaimFree(extent, template, block, partition);
                    break;
                case ClaimKind.FreeTree:
                    into.ClaimFreeTree(extent, template, block, partition);
                    break;
                case ClaimKind.Move:
                    into.ClaimMove(extent, template, block, partition, toBlock, toPartition);
                    break;
                case ClaimKind.Share:
                    into.ClaimShare(extent, template, toBlock, toPartition, block, partition);
                    break;
                default:
                    throw new MalformedException($"{kind} is no claim");
            }
        }

        for (int orders = from.Count(16); orders > 0; orders--)
        {
            into.Order(from.Block(), from.Block());
        }
    }

    public static void Write(ref WireWriter to, TemplateSource source)
    {
        to.Text(source.Name);
        to.U32((uint)source.Flags);
        to.U32((uint)source.ReadSetBytes);
        to.U32((uint)source.Partitions.Count);
        foreach (PartitionGroup group in source.Partitions)
        {
            to.U32((uint)group.OffsetBytes);
            to.U32((uint)group.StrideBytes);
            to.U32((uint)group.Count);
        }

        to.U32((uint)source.Children.Count);
        foreach (string child in source.Children)
        {
            to.Text(child);
        }

        to.Bytes(source.Owns?.ToBytes() ?? []);
        to.Bytes(source.Acl?.ToBytes() ?? []);
        to.Bytes(source.Size?.ToBytes() ?? []);
        to.U32((uint)source.ApproveUnitBytes);
        to.Bytes(source.Approve?.ToBytes() ?? []);
    }

    public static TemplateSource ReadTemplate(ref WireReader from)
    {
        string name = from.Text();
        TemplateFlags flags = (TemplateFlags)from.U32();
        int readSet = (int)from.U32();
        PartitionGroup[] groups = new PartitionGroup[from.Count(12)];
        for (int i = 0; i < groups.Length; i++)
        {
            groups[i] = new PartitionGroup((int)from.U32(), (int)from.U32(), (int)from.U32());
        }

        string[] children = new string[from.Count(4)];
        for (int i = 0; i < children.Length; i++)
        {
            children[i] = from.Text();
        }

        return new TemplateSource
        {
            Name = name,
            Flags = flags,
            ReadSetBytes = readSet,
            Partitions = groups,
            Children = children,
            Owns = Code(from.Bytes()),
            Acl = Code(from.Bytes()),
            Size = Code(from.Bytes()),
            ApproveUnitBytes = (int)from.U32(),
            Approve = Code(from.Bytes()),
        };
    }

    private static Program? Code(ReadOnlySpan<byte> bytes) =>
        bytes.IsEmpty ? null : Program.TryParse(bytes, out Program? program) ? program : throw new MalformedException("a program that is none");
}

/// <summary>Gives frames for a claim: the client's, by its own numbers, or any that it can only read.</summary>
internal delegate FrameNumber[] FrameSource(int count, uint[]? wished, TemplateId template);
