// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Adapters.Fuse.Messages;
using Exo.Adapters.Fuse.Session;
using Exo.FileSystems.CFFS;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>What a mount costs is the number of its messages, and what each takes.</summary>
public sealed class MessageCountTests
{
    private const int Files = 50;
    private const int O_RDWR = 2, O_CREAT = 0x40;

    [Theory]
    [InlineData("io_uring")]
    [InlineData("noio_uring")]
    public void What_the_kernel_knows_costs_no_message(string how)
    {
        using Mounted at = new(new FuseMountOptions().With(how));
        string[] files = [.. Enumerable.Range(0, Files).Select(i => at[$"f{i}"])];
        Dictionary<string, long> made = Count(at, () =>
        {
            foreach (string file in files)
            {
                int fd = Posix.Open(file, O_RDWR | O_CREAT);
                Assert.Equal(100, Posix.Write(fd, new byte[100], 0));
                Assert.Equal(0, Posix.Close(fd));
            }
        });

        // The attributes of the directory are asked for again after each change of it; GETXATTR asks whether the file has capabilities to lose.
        Assert.Equal((Files, Files, Files), (made["LOOKUP"], made["MKNOD"], made["WRITE"]));
        Assert.InRange(made.GetValueOrDefault("OPEN") + made.GetValueOrDefault("CREATE") + made.GetValueOrDefault("FLUSH"), 0, 3);
        Assert.InRange(made.Values.Sum(), 0, (5 * Files) + 4);

        void Read()
        {
            foreach (string file in files)
            {
                int fd = Posix.Open(file, 0);
                Assert.Equal(100, Posix.Read(fd, 0, 200).Length);
                Assert.Equal(0, Posix.Close(fd));
                Assert.Equal(-Posix.ENOENT, Posix.Open(at["none"], 0));
            }
        }

        // Of a page that was written in part the kernel reads the rest, once.
        Read();
        Assert.Equal(0, Count(at, Read).Values.Sum());
    }

    [Fact]
    public void With_handles_each_opening_is_told()
    {
        using Mounted at = new(new FuseMountOptions { FileHandles = true });
        File.WriteAllText(at["f"], "x");
        Dictionary<string, long> read = Count(at, () =>
        {
            for (int i = 0; i < Files; i++)
            {
                Assert.Equal(0, Posix.Close(Posix.Open(at["f"], 0)));
            }
        });
        Assert.Equal(Files, read["OPEN"]);
    }

    [Fact]
    public void A_message_allocates_nothing()
    {
        using TempFolder folder = new();
        using CffsVolume volume = CffsVolume.Create(folder["disk.img"], new CffsCreateOptions { SizeBytes = 16 << 20, Seed = 1 });
        volume.CreateDirectory("/d");
        volume.WriteAllBytes("/d/file", new byte[10000]);
        volume.WriteAllBytes("/d/tiny", new byte[10]);
        FuseSession session = new(volume, writebackCache: false);
        FuseReply reply = new();
        session.Handle(MessageTests.Message(FuseOpcode.Initialise, 1, 0, MessageTests.Initialise), reply);
        ulong Lookup(ulong directory, string name)
        {
            session.Handle(MessageTests.Message(FuseOpcode.Lookup, 1, directory, [.. System.Text.Encoding.ASCII.GetBytes(name), 0]), reply);
            return BinaryPrimitives.ReadUInt64LittleEndian(reply.Bytes[FuseReply.HeaderBytes..]);
        }

        ulong directory = Lookup(1, "d");
        ulong file = Lookup(directory, "file");
        ulong tiny = Lookup(directory, "tiny");
        byte[] read = new byte[40];
        BinaryPrimitives.WriteUInt32LittleEndian(read.AsSpan(16), 8192);
        byte[] write = [.. new byte[16], .. BitConverter.GetBytes(100u), .. new byte[20], .. new byte[100]];
        (string What, byte[] Message)[] messages =
        [
            ("GETATTR", MessageTests.Message(FuseOpcode.GetAttributes, 1, file, new byte[16])),
            ("LOOKUP", MessageTests.Message(FuseOpcode.Lookup, 1, directory, "file\0"u8.ToArray())),
            ("LOOKUP, absent", MessageTests.Message(FuseOpcode.Lookup, 1, directory, "none\0"u8.ToArray())),
            ("READ", MessageTests.Message(FuseOpcode.Read, 1, file, read)),
            ("READ, tiny", MessageTests.Message(FuseOpcode.Read, 1, tiny, read)),
            ("WRITE", MessageTests.Message(FuseOpcode.Write, 1, file, write)),
            ("GETXATTR", MessageTests.Message(FuseOpcode.GetExtendedAttribute, 1, file, [.. new byte[8], .. "security.capability\0"u8])),
            ("STATFS", MessageTests.Message(FuseOpcode.StatFileSystem, 1, 1, [])),
        ];
        foreach ((string what, byte[] message) in messages)
        {
            long Run(int times)
            {
                long before = GC.GetAllocatedBytesForCurrentThread();
                for (int i = 0; i < times; i++)
                {
                    session.Handle(message, reply);
                    session.GiveBack(reply);
                }

                return GC.GetAllocatedBytesForCurrentThread() - before;
            }

            Run(200);
            long allocated = Run(1000);
            Assert.True(allocated == 0 && reply.Error is 0 or (int)CffsError.NoAttribute, $"{what}: {allocated} bytes allocated in a thousand, error {reply.Error}");
        }

        session.End();
    }

    private static Dictionary<string, long> Count(Mounted at, Action action)
    {
        Dictionary<string, long> before = at.Mount.CountMessages().ToDictionary(m => m.Message, m => m.Count);
        action();
        return at.Mount.CountMessages().ToDictionary(m => m.Message, m => m.Count - before.GetValueOrDefault(m.Message));
    }
}
