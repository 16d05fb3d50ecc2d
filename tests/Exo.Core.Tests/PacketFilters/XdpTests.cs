// SPDX-License-Identifier: MIT
using System.ComponentModel;
using System.Text;
using CsCheck;
using Exo.Core.DownloadedCode;
using Exo.Core.Environments;
using Exo.Core.Linux;
using Exo.Core.PacketFilters;
using Exo.Tests;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Tests.PacketFilters;

/// <summary>The program for XDP in the running kernel: its verifier takes it, and it answers as the tree does.</summary>
public sealed unsafe class XdpTests
{
    private const int XdpPass = 2;
    private const int XdpRedirect = 4;

    // The kernel runs frames of 14 bytes and more.
    private static readonly Gen<(PacketFilter[] Filters, byte[][] Packets)> Scenario =
        Gen.Select(FilterGen.Filter(18, hasSteps: true).Array[1, 10], FilterGen.Packet(14, 40).Array[50]);

    [Fact]
    public void The_kernel_redirects_exactly_the_packets_that_the_tree_classifies()
    {
        using SafeFileHandle map = DeviceMap();
        int matched = 0, passed = 0;
        Scenario.Sample(
            scenario =>
            {
                using ExoEnvironment root = FilterGen.Root();
                PacketFilterTree tree = Tree(root, scenario.Filters.Where(filter => filter.FixedBits > 2));
                Assert.True(tree.TryToXdpProgram((int)map.DangerousGetHandle(), out Program? program));
                using SafeFileHandle loaded = Load(program);
                foreach (byte[] packet in scenario.Packets)
                {
                    bool isMatch = tree.Classify(packet) is not null;
                    Assert.Equal(isMatch ? XdpRedirect : XdpPass, Run(loaded, packet));
                    Interlocked.Increment(ref isMatch ? ref matched : ref passed);
                }
            },
            iter: 150, threads: 1);
        Assert.True(matched > 100 && passed > 100, $"{matched} matched, {passed} did not");
    }

    [Fact]
    public void The_kernel_finds_the_same_filter_as_the_tree()
    {
        using SafeFileHandle map = DeviceMap();
        int matched = 0;
        Scenario.Sample(
            scenario =>
            {
                using ExoEnvironment root = FilterGen.Root();
                PacketFilterTree tree = Tree(root, scenario.Filters);
                using SafeFileHandle loaded = Load(tree.ToXdpNumbers()!);
                foreach (byte[] packet in scenario.Packets)
                {
                    ulong number = tree.Classify(packet)?.Number ?? 0;
                    Assert.Equal((long)number, Run(loaded, packet));
                    matched += number == 0 ? 0 : 1;
                }
            },
            iter: 150, threads: 1);
        Assert.True(matched > 100);
    }

    [Fact]
    public void The_kernel_takes_thousands_of_ports()
    {
        using SafeFileHandle map = DeviceMap();
        using ExoEnvironment root = FilterGen.Root();
        PacketFilterTree tree = Tree(root, Enumerable.Range(1, 4000).Select(port =>
            ProtocolFilters.Port(ProtocolFilters.Tcp, new System.Net.IPEndPoint(System.Net.IPAddress.Any, port * 7))));
        Assert.True(tree.TryToXdpProgram((int)map.DangerousGetHandle(), out Program? program));
        using SafeFileHandle loaded = Load(program);
        for (int port = 1; port < 65_536; port += 13)
        {
            byte[] packet = FilterOwnershipTests.TcpPacket(new(0x0200000a, 9), new(0x0100000a, port), optionWords: port % 11);
            Assert.Equal(tree.Classify(packet) is null ? XdpPass : XdpRedirect, Run(loaded, packet));
        }
    }

    [Fact]
    public void An_empty_tree_and_a_tree_of_everything_load_too()
    {
        using SafeFileHandle map = DeviceMap();
        using ExoEnvironment root = FilterGen.Root();
        foreach ((PacketFilterTree tree, int expected) in new[] { (Tree(root, []), XdpPass), (Tree(root, [PacketFilter.Create()]), XdpRedirect) })
        {
            Assert.True(tree.TryToXdpProgram((int)map.DangerousGetHandle(), out Program? program));
            using SafeFileHandle loaded = Load(program);
            Assert.Equal(expected, Run(loaded, new byte[14]));
        }
    }

    private static PacketFilterTree Tree(ExoEnvironment root, IEnumerable<PacketFilter> filters)
    {
        PacketFilterTree tree = FilterGen.Tree(root);
        foreach (PacketFilter filter in filters)
        {
            tree.Insert(root, filter);
        }

        return tree;
    }

    // A map of devices with the loopback device in entry 0: a redirect to an entry that is there shows in the verdict.
    private static SafeFileHandle DeviceMap()
    {
        Requires.Root();
        BpfMapCreate create = new() { Type = BpfAbi.MAP_TYPE_DEVMAP, KeyBytes = 4, ValueBytes = 4, EntriesMax = 1 };
        int map = Libc.Bpf(BpfAbi.MAP_CREATE, &create);
        Requires.That(map >= 0, $"the kernel makes no map for XDP: {Errno.Describe(Errno.Last)}");
        SafeFileHandle handle = new(map, ownsHandle: true);
        uint key = 0, loopback = 1;
        BpfMapUpdate update = new() { Map = (uint)map, Key = (ulong)&key, Value = (ulong)&loopback };
        int updated = Libc.Bpf(BpfAbi.MAP_UPDATE_ELEM, &update);
        Requires.That(updated == 0, $"the kernel takes no device into a map: {Errno.Describe(Errno.Last)}");
        return handle;
    }

    private static SafeFileHandle Load(Program program)
    {
        byte[] log = new byte[1 << 20];
        byte[] instructions = program.ToBytes();
        fixed (byte* first = instructions, license = "MIT\0"u8, text = log)
        {
            BpfProgramLoad load = new()
            {
                Type = BpfAbi.PROG_TYPE_XDP,
                InstructionCount = (uint)(instructions.Length / Instruction.SizeBytes),
                Instructions = (ulong)first,
                License = (ulong)license,
            };
            int loaded = Libc.Bpf(BpfAbi.PROG_LOAD, &load);
            if (loaded >= 0)
            {
                return new SafeFileHandle(loaded, ownsHandle: true);
            }

            string error = Errno.Describe(Errno.Last);
            (load.LogLevel, load.LogBytes, load.Log) = (1, (uint)log.Length, (ulong)text);
            _ = Libc.Bpf(BpfAbi.PROG_LOAD, &load);
            string said = Encoding.UTF8.GetString(log.AsSpan(0, Math.Max(0, log.AsSpan().IndexOf((byte)0))));
            throw new Win32Exception($"The kernel refused the program: {error}\n{said[Math.Max(0, said.Length - 3000)..]}\n{program}");
        }
    }

    private static long Run(SafeFileHandle program, byte[] packet)
    {
        fixed (byte* first = packet)
        {
            BpfTestRun run = new() { Program = (uint)(int)program.DangerousGetHandle(), InputBytes = (uint)packet.Length, Input = (ulong)first, Repeat = 1 };
            int ran = Libc.Bpf(BpfAbi.PROG_TEST_RUN, &run);
            Assert.True(ran == 0, Errno.Describe(Errno.Last));
            return run.Result;
        }
    }
}
