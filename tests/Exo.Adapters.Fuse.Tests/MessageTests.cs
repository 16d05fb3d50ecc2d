// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using CsCheck;
using Exo.Adapters.Fuse.Messages;
using Exo.Adapters.Fuse.Session;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;
using Exo.Simulation.Faults;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>Messages without a kernel: whatever they hold, there is an answer of the right form or none.</summary>
public sealed class MessageTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Any_message_is_answered_or_dropped(bool fileHandles)
    {
        using TempFolder folder = new();
        using CffsVolume volume = CffsVolume.Create(folder["disk.img"], new CffsCreateOptions { SizeBytes = 16 << 20, Seed = 1 });
        volume.WriteAllBytes("/file", new byte[10000]);
        FuseSession session = new(volume, writebackCache: true, fileHandles: fileHandles);
        FuseReply reply = new();
        session.Handle(Message(FuseOpcode.Initialise, 1, 0, Initialise), reply);
        Assert.True(session.IsReady);
        session.Handle(Message(FuseOpcode.Lookup, 2, 1, "file\0"u8.ToArray()), reply);
        ulong node = BinaryPrimitives.ReadUInt64LittleEndian(reply.Bytes[16..]);
        session.Handle(Message(FuseOpcode.Open, 3, node, new byte[8]), reply);

        // Small numbers hit the nodes and handles that are there; names are of a few letters, so that some exist.
        Gen<byte[]> fields = Gen.OneOf(Gen.Byte[0, 3], Gen.Byte, Gen.Const((byte)0)).Array[0, 120];
        Gen<byte[]> names = Gen.Select(Gen.Int[0, 5], Gen.Byte[97, 99].Array[1, 3], Gen.Byte[97, 99].Array[0, 3], (words, a, b) =>
            (byte[])[.. Enumerable.Repeat<byte>(1, words), .. new byte[(words * 8) - words], .. a, 0, .. b, 0]);
        Gen.Select(Gen.UInt[0, 55], Gen.OneOf(Gen.Const(1UL), Gen.Const(node), Gen.ULong[16, 40], Gen.ULong), Gen.OneOf(fields, names), Gen.Int[-3, 3])
            .Sample((opcode, to, body, lie) =>
            {
                byte[] message = Message((FuseOpcode)opcode, 77, to, body);
                BinaryPrimitives.WriteInt32LittleEndian(message, message.Length + Math.Max(0, lie));
                session.Handle(message, reply);
                if (!reply.IsSilent)
                {
                    Assert.Equal((uint)(reply.LengthBytes + reply.PageBytes), BinaryPrimitives.ReadUInt32LittleEndian(reply.Bytes));
                    Assert.InRange(BinaryPrimitives.ReadInt32LittleEndian(reply.Bytes[4..]), -4095, 0);
                    Assert.Equal(77UL, BinaryPrimitives.ReadUInt64LittleEndian(reply.Bytes[8..]));
                }

                session.GiveBack(reply);
            }, iter: 20_000, threads: 1);
    }

    /// <summary>The kernel does not ask for it; a directory's blocks are metadata, and a length would cut them.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_directory_has_no_contents_and_no_length(bool fileHandles)
    {
        using TempFolder folder = new();
        using CffsVolume volume = CffsVolume.Create(folder["disk.img"], new CffsCreateOptions { SizeBytes = 16 << 20, Seed = 1 });
        volume.WriteAllBytes("/file", new byte[10]);
        FuseSession session = new(volume, writebackCache: true, fileHandles: fileHandles);
        FuseReply reply = new();
        session.Handle(Message(FuseOpcode.Initialise, 1, 0, Initialise), reply);
        session.Handle(Message(FuseOpcode.SetAttributes, 2, 1, [.. Words(1 << 3, 0, 0, 0, 100, 0), .. new byte[64]]), reply);
        Assert.Equal((int)CffsError.IsDirectory, reply.Error);
        session.Handle(fileHandles ? Message(FuseOpcode.Open, 3, 1, new byte[8]) : Message(FuseOpcode.Read, 3, 1, new byte[40]), reply);
        Assert.Equal((int)CffsError.IsDirectory, reply.Error);
        Assert.True(volume.Exists("/file"));
    }

    /// <summary>The kernel has let go of a file without a name, its FORGET is still on the way, and somebody opens it by a handle that he kept: he must not get it back.</summary>
    [Fact]
    public void A_handle_of_a_removed_file_is_stale_before_it_is_forgotten()
    {
        using TempFolder folder = new();
        using CffsVolume volume = CffsVolume.Create(folder["disk.img"], new CffsCreateOptions { SizeBytes = 16 << 20, Seed = 1 });
        volume.WriteAllBytes("/file", new byte[10000]);
        FuseSession session = new(volume, writebackCache: true);
        FuseReply reply = new();
        session.Handle(Message(FuseOpcode.Initialise, 1, 0, Initialise), reply);
        session.Handle(Message(FuseOpcode.Lookup, 2, 1, "file\0"u8.ToArray()), reply);
        ulong node = BinaryPrimitives.ReadUInt64LittleEndian(reply.Bytes[16..]);
        session.Handle(Message(FuseOpcode.Lookup, 3, node, ".\0"u8.ToArray()), reply);
        Assert.Equal(0, reply.Error);
        session.Handle(Message(FuseOpcode.Unlink, 4, 1, "file\0"u8.ToArray()), reply);
        session.Handle(Message(FuseOpcode.Lookup, 5, node, ".\0"u8.ToArray()), reply);
        Assert.Equal((int)CffsError.Stale, reply.Error);
        session.End();
    }

    /// <summary>Every entry of a listing with attributes is one that the kernel will forget: those before one that cannot be read must reach it.</summary>
    [Fact]
    public void A_listing_ends_before_an_entry_that_cannot_be_told()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using MemoryBlockDevice memory = new(frames, blockCount: 4096);
        using (CffsVolume made = CffsVolume.Create(memory))
        {
            made.WriteAllBytes("/a", new byte[10]);
            made.WriteAllBytes("/linked", new byte[10]);
            made.CreateHardLink("/linked", "/twin");
        }

        using FaultyBlockDevice device = new(memory, new FaultOptions { ReadError = 1 }) { IsFailing = false };
        using CffsVolume volume = CffsVolume.Open(device);
        FuseSession session = new(volume, writebackCache: false);
        FuseReply reply = new();
        session.Handle(Message(FuseOpcode.Initialise, 1, 0, Initialise), reply);
        session.Handle(Message(FuseOpcode.ReadDirectory, 2, 1, [.. Words(0, 0, 0, 0, 4096), .. new byte[20]]), reply);
        Assert.Equal(0, reply.Error);

        // The inode of a file of two names lies elsewhere.
        device.IsFailing = true;
        session.Handle(Message(FuseOpcode.ReadDirectoryPlus, 3, 1, [.. Words(0, 0, 0, 0, 4096), .. new byte[20]]), reply);
        Assert.Equal((0, 1), (reply.Error, session.NodeCount));
        byte[] told = reply.Bytes[FuseReply.HeaderBytes..].ToArray();
        int last = told.Length - FuseStructures.DirectoryEntryLength(1);
        Assert.Equal((byte)'a', told[last + 24]);
        ulong position = BinaryPrimitives.ReadUInt64LittleEndian(told.AsSpan(last + 8));
        ulong node = BinaryPrimitives.ReadUInt64LittleEndian(told.AsSpan(last - FuseStructures.EntryBytes));
        session.Handle(Message(FuseOpcode.ReadDirectoryPlus, 4, 1, [.. Words(0, 0, (uint)position, (uint)(position >> 32), 4096), .. new byte[20]]), reply);
        Assert.NotEqual(0, reply.Error);
        session.Handle(Message(FuseOpcode.Forget, 5, node, [1, 0, 0, 0, 0, 0, 0, 0]), reply);
        Assert.Equal(0, session.NodeCount);

        // Another time all of it is there.
        device.IsFailing = false;
        session.Handle(Message(FuseOpcode.ReadDirectoryPlus, 6, 1, [.. Words(0, 0, (uint)position, (uint)(position >> 32), 4096), .. new byte[20]]), reply);
        Assert.Equal((0, 1), (reply.Error, session.NodeCount));
        session.End();
    }

    [Fact]
    public void Old_kernels_are_refused_and_new_ones_asked_again()
    {
        using TempFolder folder = new();
        using CffsVolume volume = CffsVolume.Create(folder["disk.img"], new CffsCreateOptions { SizeBytes = 16 << 20 });
        FuseSession session = new(volume, writebackCache: false);
        FuseReply reply = new();
        session.Handle(Message(FuseOpcode.Initialise, 1, 0, Words(7, 8, 0, 0)), reply);
        Assert.Equal((false, FuseErrno.EPROTO), (session.IsReady, reply.Error));
        session.Handle(Message(FuseOpcode.Initialise, 2, 0, Words(8, 0, 0, 0)), reply);
        Assert.Equal((false, 0, 7u), (session.IsReady, reply.Error, BinaryPrimitives.ReadUInt32LittleEndian(reply.Bytes[16..])));
        session.Handle(Message(FuseOpcode.Lookup, 3, 1, "a\0"u8.ToArray()), reply);
        Assert.Equal(FuseErrno.EPROTO, reply.Error);
    }

    // struct fuse_init_in: every feature is offered.
    internal static byte[] Initialise => [.. Words(7, 45, 65536, uint.MaxValue, uint.MaxValue), .. new byte[44]];

    private static byte[] Words(params uint[] words) => [.. words.SelectMany(BitConverter.GetBytes)];

    internal static byte[] Message(FuseOpcode opcode, ulong unique, ulong node, byte[] body)
    {
        byte[] message = new byte[FuseRequest.HeaderBytes + body.Length];
        BinaryPrimitives.WriteInt32LittleEndian(message, message.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(message.AsSpan(4), (uint)opcode);
        BinaryPrimitives.WriteUInt64LittleEndian(message.AsSpan(8), unique);
        BinaryPrimitives.WriteUInt64LittleEndian(message.AsSpan(16), node);
        body.CopyTo(message, FuseRequest.HeaderBytes);
        return message;
    }
}
