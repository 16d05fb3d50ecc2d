// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using Exo.Capabilities;
using Exo.Core.DownloadedCode;
using Exo.Core.Environments;
using Exo.Core.PacketFilters;
using Exo.Tests;

namespace Exo.Core.Tests.PacketFilters;

/// <summary>Who may install what, and how filters end.</summary>
public sealed class FilterOwnershipTests : IDisposable
{
    private static readonly IPEndPoint Web = new(IPAddress.Any, 80);
    private static readonly IPEndPoint Here = new(IPAddress.Parse("10.0.0.1"), 80);
    private static readonly IPEndPoint There = new(IPAddress.Parse("10.0.0.2"), 4000);

    private readonly ExoEnvironment _root = FilterGen.Root();
    private readonly PacketFilterTree _tree;
    private readonly ExoEnvironment _server;
    private readonly ExoEnvironment _thief;

    public FilterOwnershipTests()
    {
        _tree = FilterGen.Tree(_root);
        _server = _root.CreateChild([1], new EnvironmentQuotas { Ports = 2 });
        _thief = _root.CreateChild([2]);
    }

    public void Dispose() => _root.Dispose();

    [Fact]
    public void The_example_of_the_documentation()
    {
        // A server takes port 80, then one connection of it for itself.
        InstalledFilter port = _tree.Insert(_server, ProtocolFilters.Port(ProtocolFilters.Tcp, Web));
        InstalledFilter connection = _tree.Insert(_server, ProtocolFilters.Connection(ProtocolFilters.Tcp, Here, There));
        byte[] packet = TcpPacket(There, Here, optionWords: 1);
        Assert.Same(connection, _tree.Classify(packet));

        // Nobody else gets at these packets, neither with more bits nor with fewer.
        FilterVerdict longer = _tree.TryInsert(_thief, PacketFilter.Parse(connection.Filter + "; u8[27] == 0x18"), out _);
        FilterVerdict shorter = _tree.TryInsert(_thief, ProtocolFilters.EtherType(0x0800), out _);
        Assert.Equal((FilterRefusal.Overlap, FilterRefusal.Overlap), (longer.Refusal, shorter.Refusal));
        Assert.True(longer.InTheWay == port || longer.InTheWay == connection);

        // A filter that has ended gets nothing from then on.
        connection.Dispose();
        Assert.Same(port, _tree.Classify(packet));
        Assert.Equal(AccessRefusal.Revoked, connection.Binding.TryUse(Rights.Read, out _));
    }

    [Fact]
    public void The_documented_tree_and_programs()
    {
        _tree.Insert(_server, ProtocolFilters.Port(ProtocolFilters.Tcp, Web));
        _tree.Insert(_server, ProtocolFilters.Connection(ProtocolFilters.Tcp, Here, There));
        _tree.Insert(_thief, ProtocolFilters.EtherType(0x0806));
        Assert.True(_tree.TryToProgram(out Program? program));
        Assert.True(_tree.TryToXdpProgram(7, out Program? xdp));
        Snapshot.Verify($"{_tree}\nprogram:\n{program}\n\nfor XDP:\n{xdp}");
    }

    [Fact]
    public void Whose_capability_is_dominated_does_not_stand_in_the_way()
    {
        InstalledFilter port = _tree.Insert(_server, ProtocolFilters.Port(ProtocolFilters.Tcp, Web));
        PacketFilter connection = ProtocolFilters.Connection(ProtocolFilters.Tcp, Here, There);
        Assert.Equal(new FilterVerdict(FilterRefusal.Overlap, port, default, default), _tree.TryInsert(_thief, connection, out InstalledFilter? none));
        Assert.Null(none);
        Assert.Equal(0, _thief.Held(ResourceKind.Ports));

        // Reading the server's name is not enough; a capability with the right to write is.
        Capability server = _server.Credential.Capabilities[0];
        Capability reader = server.Forge(server.Name, Rights.Read);
        Assert.Equal(FilterRefusal.Overlap, _tree.TryInsert(_thief, connection, out _, Credential.Of(reader)).Refusal);
        Capability delegated = server.Forge(server.Name, Rights.Write);
        Assert.True(_tree.TryInsert(_thief, connection, out InstalledFilter? granted, Credential.Of(delegated)).IsInstalled);
        Assert.Same(granted, _tree.Classify(TcpPacket(There, Here)));

        // The environment above dominates both.
        InstalledFilter all = _tree.Insert(_root, PacketFilter.Create());
        Assert.Same(all, _tree.Classify([]));
    }

    [Fact]
    public void Equally_specific_filters_are_answered_by_age()
    {
        InstalledFilter first = _tree.Insert(_root, PacketFilter.Parse("u16[0] & 0xff00 == 0x100"));
        InstalledFilter second = _tree.Insert(_root, PacketFilter.Parse("u8[1] == 1"));
        InstalledFilter again = _tree.Insert(_root, PacketFilter.Parse("u16[0] & 0xff00 == 0x100"));
        Assert.Same(first, _tree.Classify([1, 1]));
        first.Dispose();
        Assert.Same(second, _tree.Classify([1, 1]));
        Assert.Same(again, _tree.Classify([1, 0]));
    }

    [Fact]
    public void The_most_specific_wins_in_whichever_branch_it_is()
    {
        _tree.Insert(_root, PacketFilter.Parse("u32[0] == 0x01020304"));
        InstalledFilter winner = _tree.Insert(_root, PacketFilter.Parse("u8[0] == 1; u64[8] == 5"));
        _tree.Insert(_root, PacketFilter.Parse("u16[0] == 0x0102; u16[4] == 0"));
        Assert.Same(winner, _tree.Classify([1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]));
    }

    [Fact]
    public void Quotas_hold_and_are_given_back()
    {
        InstalledFilter one = _tree.Insert(_server, ProtocolFilters.EtherType(1));
        _tree.Insert(_server, ProtocolFilters.EtherType(2));
        FilterVerdict verdict = _tree.TryInsert(_server, ProtocolFilters.EtherType(3), out _);
        Assert.Equal((FilterRefusal.Quota, _server), (verdict.Refusal, verdict.Quota.LimitedBy));
        one.Dispose();
        one.Dispose();
        Assert.Equal(1, _server.Held(ResourceKind.Ports));
        Assert.True(_tree.TryInsert(_server, ProtocolFilters.EtherType(3), out _).IsInstalled);
    }

    [Fact]
    public async Task Filters_end_with_their_environment_and_by_revocation()
    {
        InstalledFilter ofServer = _tree.Insert(_server, ProtocolFilters.EtherType(1));
        InstalledFilter ofThief = _tree.Insert(_thief, ProtocolFilters.EtherType(2));
        _server.Dispose();
        Assert.False(ofServer.IsInstalled);
        Assert.Null(_tree.Classify(Frame(1)));
        Assert.Throws<AccessDeniedException>(() => ofServer.Binding.Use());
        Assert.NotEqual(FilterRefusal.None, _tree.TryInsert(_server, ProtocolFilters.EtherType(3), out _).Refusal);
        Assert.Equal(1, _tree.Count);

        Assert.Equal(new RevocationOutcome(0, 1), await _thief.RevokeAsync(_root.Credential, ResourceKind.Ports, 1, TimeSpan.Zero));
        Assert.Null(_tree.Classify(Frame(2)));
        Assert.Equal(AccessRefusal.Revoked, ofThief.Binding.TryUse(Rights.Read, out _));
        Assert.False(_tree.TryGet(ofThief.Number, out _));
    }

    [Fact]
    public void Environments_of_another_authority_are_refused()
    {
        using ExoEnvironment stranger = FilterGen.Root();
        Assert.Equal(
            (FilterRefusal.Access, AccessRefusal.NoValidCapability),
            (_tree.TryInsert(stranger, PacketFilter.Create(), out _) is var verdict ? verdict.Refusal : default, verdict.Access));
    }

    [Fact]
    public void The_ready_made_filters_accept_what_they_say()
    {
        PacketFilter port = ProtocolFilters.Port(ProtocolFilters.Tcp, Web);
        Assert.True(port.Accepts(TcpPacket(There, Here)));
        Assert.True(port.Accepts(TcpPacket(There, Here, optionWords: 10)));
        Assert.False(port.Accepts(TcpPacket(Here, There)));
        Assert.False(port.Accepts(TcpPacket(There, Here).AsSpan(0, 37)));
        byte[] fragment = TcpPacket(There, Here);
        fragment[21] = 1;
        Assert.False(port.Accepts(fragment));
        Assert.True(ProtocolFilters.Ip(AddressFamily.InterNetwork, ProtocolFilters.Tcp).Accepts(fragment));

        IPEndPoint here6 = new(IPAddress.Parse("fd00::1"), 53), there6 = new(IPAddress.Parse("fd00::2"), 4000);
        byte[] packet6 = new byte[62];
        packet6[12] = 0x86;
        packet6[13] = 0xdd;
        packet6[14] = 0x60;
        packet6[20] = ProtocolFilters.Udp;
        there6.Address.GetAddressBytes().CopyTo(packet6, 22);
        here6.Address.GetAddressBytes().CopyTo(packet6, 38);
        (packet6[54], packet6[55], packet6[57]) = (4000 >> 8, 4000 & 255, 53);
        Assert.True(ProtocolFilters.Connection(ProtocolFilters.Udp, here6, there6).Accepts(packet6));
        Assert.True(ProtocolFilters.Port(ProtocolFilters.Udp, here6).Accepts(packet6));
        Assert.False(ProtocolFilters.Connection(ProtocolFilters.Udp, there6, here6).Accepts(packet6));
        Assert.True(ProtocolFilters.Ip(AddressFamily.InterNetworkV6).Accepts(packet6));
        Assert.Throws<ArgumentException>(() => ProtocolFilters.Connection(ProtocolFilters.Udp, here6, There));
        Assert.Throws<ArgumentException>(() => ProtocolFilters.Ip(AddressFamily.Unix));
    }

    /// <summary>An Ethernet frame with an IPv4 header of the given length and the beginning of a TCP header.</summary>
    internal static byte[] TcpPacket(IPEndPoint from, IPEndPoint to, int optionWords = 0)
    {
        int transport = 34 + (4 * optionWords);
        byte[] packet = new byte[transport + 20];
        packet[12] = 0x08;
        packet[14] = (byte)(0x45 + optionWords);
        packet[23] = ProtocolFilters.Tcp;
        from.Address.GetAddressBytes().CopyTo(packet, 26);
        to.Address.GetAddressBytes().CopyTo(packet, 30);
        (packet[transport], packet[transport + 1]) = ((byte)(from.Port >> 8), (byte)from.Port);
        (packet[transport + 2], packet[transport + 3]) = ((byte)(to.Port >> 8), (byte)to.Port);
        return packet;
    }

    private static byte[] Frame(byte type) => [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, type];
}
