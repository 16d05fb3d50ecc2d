// SPDX-License-Identifier: MIT
using System.Net;
using CsCheck;
using Exo.Core.DownloadedCode;
using Exo.Core.Environments;
using Exo.Core.Linux;
using Exo.Core.Net;
using Exo.Core.PacketFilters;
using Exo.Tests;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Tests.PacketFilters;

/// <summary>The filters' program for socket buffers in the running kernel: its verifier takes it, and it answers as the tree does.</summary>
public sealed class BufferProgramTests
{
    private const int Next = -1;
    private const int Ends = 2;

    // A byte more than a header of Ethernet: the kernel runs no buffer that is empty behind it.
    private static readonly Gen<(PacketFilter[] Filters, byte[][] Packets)> Scenario =
        Gen.Select(FilterGen.Filter(18, hasSteps: true).Array[1, 10], FilterGen.Packet(15, 40).Array[50]);

    [Fact]
    public void At_the_ingress_hook_exactly_the_packets_end_that_the_tree_classifies()
    {
        Requires.Root();
        int matched = 0, passed = 0;
        Scenario.Sample(
            scenario =>
            {
                using ExoEnvironment root = FilterGen.Root();
                PacketFilterTree tree = Tree(root, scenario.Filters.Where(filter => filter.FixedBits > 2));
                using SafeFileHandle loaded = IngressHook.Load("test", BpfAbi.PROG_TYPE_SCHED_CLS, tree.ToIngressProgram()!);
                using SafeFileHandle socket = IngressHook.Load("test", BpfAbi.PROG_TYPE_SOCKET_FILTER, tree.ToSocketProgram(null)!);
                foreach (byte[] packet in scenario.Packets)
                {
                    bool isMatch = tree.Classify(packet) is not null;
                    Assert.Equal(isMatch ? Ends : Next, Run(loaded, packet));
                    Interlocked.Increment(ref isMatch ? ref matched : ref passed);
                }
            },
            iter: 150, threads: 1);
        Assert.True(matched > 100 && passed > 100, $"{matched} matched, {passed} did not");
    }

    [Fact]
    public void The_kernel_takes_a_thousand_ports_with_their_errors()
    {
        Requires.Root();
        using ExoEnvironment root = FilterGen.Root();
        PacketFilterTree tree = Tree(root, Enumerable.Range(1, 1000).SelectMany(port => (PacketFilter[])[
            ProtocolFilters.Port(ProtocolFilters.Tcp, new IPEndPoint(IPAddress.Any, port * 7)),
            ProtocolFilters.PortErrors(ProtocolFilters.Tcp, new IPEndPoint(IPAddress.Any, port * 7), ProtocolFilters.UnreachableV4)]));
        using SafeFileHandle loaded = IngressHook.Load("test", BpfAbi.PROG_TYPE_SCHED_CLS, tree.ToIngressProgram()!);
        for (int port = 1; port < 8000; port += 13)
        {
            byte[] packet = FilterOwnershipTests.TcpPacket(new(0x0200000a, 9), new(0x0100000a, port), optionWords: port % 11);
            Assert.Equal(tree.Classify(packet) is null ? Next : Ends, Run(loaded, packet));
        }
    }

    [Fact]
    public void Nothing_ends_with_an_empty_tree_and_everything_with_the_filter_of_everything()
    {
        Requires.Root();
        using ExoEnvironment root = FilterGen.Root();
        foreach ((PacketFilterTree tree, int expected) in new[] { (Tree(root, []), Next), (Tree(root, [PacketFilter.Create()]), Ends) })
        {
            using SafeFileHandle loaded = IngressHook.Load("test", BpfAbi.PROG_TYPE_SCHED_CLS, tree.ToIngressProgram()!);
            Assert.Equal(expected, Run(loaded, new byte[15]));
            using SafeFileHandle socket = IngressHook.Load("test", BpfAbi.PROG_TYPE_SOCKET_FILTER, tree.ToSocketProgram(null)!);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Errors_of_a_port_are_those_that_quote_a_packet_from_it(bool v6)
    {
        IPEndPoint local = new(IPAddress.Parse(v6 ? "fd00::1" : "10.0.0.1"), 80);
        byte type = v6 ? ProtocolFilters.TooBigV6 : ProtocolFilters.UnreachableV4;
        PacketFilter filter = ProtocolFilters.PortErrors(ProtocolFilters.Tcp, local, type);
        byte[] message = v6 ? ErrorV6(local, type) : ErrorV4(local, type, outerOptionWords: 1, quotedOptionWords: 2);
        Assert.True(filter.Accepts(message));
        if (!v6)
        {
            Assert.True(filter.Accepts(ErrorV4(local, type, 0, 0)));
        }

        // Every byte that says what it is counts: one bit more, and it is something else.
        int[] counts = v6
            ? [12, 13, 14, 20, 38, 53, 54, 62, 68, 70, 85, 102, 103]
            : [12, 13, 23, 30, 33, 38, 46 + 9, 46 + 12, 46 + 15, 46 + 28, 46 + 29];
        foreach (int at in counts)
        {
            byte[] other = [.. message];
            other[at] ^= 0x80;
            Assert.False(filter.Accepts(other), $"byte {at}");
        }

        Assert.False(filter.Accepts(message.AsSpan(0, message.Length - 1)));
    }

    private static byte[] ErrorV4(IPEndPoint local, byte type, int outerOptionWords, int quotedOptionWords)
    {
        int outerBytes = 20 + 4 * outerOptionWords, quotedBytes = 20 + 4 * quotedOptionWords;
        byte[] packet = new byte[14 + outerBytes + 8 + quotedBytes + 2];
        packet[12] = 8;
        Span<byte> ip = packet.AsSpan(14), icmp = ip[outerBytes..], quoted = icmp[8..];
        ip[0] = (byte)(0x40 | outerBytes / 4);
        ip[9] = 1;
        local.Address.GetAddressBytes().CopyTo(ip[16..]);
        icmp[0] = type;
        quoted[0] = (byte)(0x40 | quotedBytes / 4);
        quoted[9] = ProtocolFilters.Tcp;
        local.Address.GetAddressBytes().CopyTo(quoted[12..]);
        quoted[quotedBytes + 1] = (byte)local.Port;
        return packet;
    }

    private static byte[] ErrorV6(IPEndPoint local, byte type)
    {
        byte[] packet = new byte[14 + 40 + 8 + 40 + 2];
        (packet[12], packet[13]) = (0x86, 0xdd);
        Span<byte> ip = packet.AsSpan(14), icmp = ip[40..], quoted = icmp[8..];
        ip[0] = quoted[0] = 0x60;
        ip[6] = 58;
        local.Address.GetAddressBytes().CopyTo(ip[24..]);
        icmp[0] = type;
        quoted[6] = ProtocolFilters.Tcp;
        local.Address.GetAddressBytes().CopyTo(quoted[8..]);
        quoted[41] = (byte)local.Port;
        return packet;
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

    private static int Run(SafeFileHandle loaded, byte[] packet) => IngressHook.Run("test", loaded, packet, new byte[packet.Length], out _);
}
