// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Linux;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Core.PacketFilters;

namespace Exo.Core.Tests.Net;

/// <summary>A port has one owner, who had the capability for it; whoever else asks is told why not.</summary>
public sealed class InterfacePortsTests : IDisposable
{
    private const byte Tcp = ProtocolFilters.Tcp;

    private static readonly IPAddress[] s_addresses = [IPAddress.Parse("10.0.0.1"), IPAddress.Parse("fd00::1")];

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
    private readonly ExoEnvironment _root, _web, _mail;
    private readonly PacketFilterTree _filters;
    private readonly LoopDevice _device;
    private readonly InterfacePorts _ports;

    public InterfacePortsTests()
    {
        _root = ExoEnvironment.CreateRoot(_frames.Authority);
        _web = _root.CreateChild([1]);
        _mail = _root.CreateChild([2], new EnvironmentQuotas { Ports = 9 });
        _filters = new PacketFilterTree(_frames.Authority);
        _device = new LoopDevice(_frames);
        _ports = new InterfacePorts(_device, _filters, _root, s_addresses, areKernels: false);
        _ports.Grant(_root.Credential, 80, 89, _web.Name);
        _ports.Grant(_root.Credential, 25, 25, _mail.Name);
        _ports.Grant(_root.Credential, 85, 85, _mail.Name);
    }

    public void Dispose()
    {
        _root.Dispose();
        Assert.Equal(0, _filters.Count);
        _device.Dispose();
        _frames.Dispose();
    }

    [Fact]
    public void A_port_is_bound_with_the_capability_for_it_and_without_it_not()
    {
        Assert.True(Bind(_web, 80, out PortBinding? http).IsBound);
        Assert.True(http!.IsValid);
        Assert.Equal((_web, Tcp, (ushort)80), (http.Owner, http.Protocol, http.Port));

        // For each address the port and the errors that quote it, and the binding itself.
        Assert.Equal((5, 6L), (_filters.Count, _web.Held(ResourceKind.Ports)));
        Assert.Equal(1, _device.Updates);
        PortVerdict refused = Bind(_mail, 81, out PortBinding? none);
        Assert.Equal((PortRefusal.Access, AccessRefusal.NotDominated), (refused.Refusal, refused.Access));
        Assert.Null(none);
        Assert.Equal(PortRefusal.Access, Bind(_web, 443, out _).Refusal);

        // Who presents what the port was granted to may have it bound for somebody else; the owner of all ports may for everybody.
        Assert.True(_ports.For(_mail).TryBind(Tcp, 81, _web.Credential, out PortBinding? granted).IsBound);
        Assert.Same(_mail, granted!.Owner);
        Assert.True(Bind(_root, 443, out _).IsBound);
    }

    [Fact]
    public void A_port_that_somebody_has_is_refused_to_everybody()
    {
        Assert.True(Bind(_web, 85, out PortBinding? binding).IsBound);
        long held = _web.Held(ResourceKind.Ports);
        int filters = _filters.Count;
        foreach (ExoEnvironment thief in (ExoEnvironment[])[_mail, _web, _root])
        {
            PortVerdict verdict = Bind(thief, 85, out PortBinding? stolen);
            Assert.Equal((PortRefusal.Taken, _web), (verdict.Refusal, verdict.Holder));
            Assert.Null(stolen);
        }

        // Another protocol's port of that number is another port.
        Assert.True(_ports.For(_mail).TryBind(ProtocolFilters.Udp, 85, null, out PortBinding? datagrams).IsBound);
        datagrams!.Dispose();

        // Around the registry: the filters themselves stand in the way, whether wider or narrower.
        IPEndPoint local = new(s_addresses[0], 85);
        foreach (PacketFilter filter in (PacketFilter[])[
            ProtocolFilters.Port(Tcp, local), ProtocolFilters.Connection(Tcp, local, new IPEndPoint(IPAddress.Parse("10.0.0.2"), 1)), ProtocolFilters.Ip(AddressFamily.InterNetwork), PacketFilter.Create()])
        {
            Assert.Equal(FilterRefusal.Overlap, _filters.TryInsert(_mail, filter, out _).Refusal);
        }

        Assert.Equal((held, filters), (_web.Held(ResourceKind.Ports), _filters.Count));
        Assert.Equal(0, _mail.Held(ResourceKind.Ports));
        binding!.Dispose();
        binding.Dispose();
        Assert.False(binding.IsValid);
        Assert.True(Bind(_mail, 85, out _).IsBound);
    }

    [Fact]
    public void A_filter_of_a_stranger_that_may_accept_the_packets_makes_the_port_taken()
    {
        Assert.True(_filters.TryInsert(_mail, ProtocolFilters.PortErrors(Tcp, new IPEndPoint(s_addresses[1], 80), ProtocolFilters.TooBigV6), out InstalledFilter? inTheWay).IsInstalled);
        PortVerdict verdict = Bind(_web, 80, out _);
        Assert.Equal((PortRefusal.Taken, _mail), (verdict.Refusal, verdict.Holder));
        Assert.Equal((1, 0L), (_filters.Count, _web.Held(ResourceKind.Ports)));
        inTheWay!.Dispose();
        Assert.True(Bind(_web, 80, out _).IsBound);
    }

    [Fact]
    public void What_is_refused_for_want_of_quota_changes_nothing()
    {
        Assert.True(Bind(_mail, 25, out _).IsBound);
        PortVerdict verdict = Bind(_mail, 85, out _);
        Assert.Equal((PortRefusal.Quota, QuotaRefusal.QuotaExhausted, _mail), (verdict.Refusal, verdict.Quota.Refusal, verdict.Quota.LimitedBy));
        Assert.Equal((5, 6L), (_filters.Count, _mail.Held(ResourceKind.Ports)));
        Assert.True(Bind(_web, 85, out _).IsBound);
    }

    [Fact]
    public void When_the_kernel_refuses_the_program_nothing_is_changed()
    {
        _device.Refuses = true;
        Assert.Throws<NetworkDeviceException>(() => Bind(_web, 80, out _));
        Assert.Equal((0, 0L), (_filters.Count, _web.Held(ResourceKind.Ports)));
        _device.Refuses = false;
        Assert.True(Bind(_web, 80, out _).IsBound);
    }

    [Fact]
    public async Task A_port_comes_back_when_its_environment_ends_or_is_made_to_give_it()
    {
        Assert.True(Bind(_web, 85, out PortBinding? first).IsBound);
        int updates = _device.Updates;
        _web.Dispose();
        Assert.False(first!.IsValid);
        Assert.Equal(0, _filters.Count);
        Assert.True(_device.Updates > updates);
        Assert.True(Bind(_mail, 85, out PortBinding? second).IsBound);
        first.Dispose();
        Assert.True(second!.IsValid);
        RevocationOutcome outcome = await _mail.RevokeAsync(_root.Credential, ResourceKind.Ports, _mail.Held(ResourceKind.Ports), TimeSpan.Zero);
        Assert.Equal(6, outcome.Repossessed);
        Assert.False(second.IsValid);
        Assert.True(Bind(_root, 85, out _).IsBound);
    }

    [Fact]
    public void Only_who_may_change_the_ports_list_grants()
    {
        Assert.Throws<AccessDeniedException>(() => _ports.Grant(_web.Credential, 443, 443, _web.Name));
        ExoEnvironment below = _web.CreateChild([1]);
        _ports.Grant(_root.Credential, 8080, 8081, below.Name);

        // A capability above dominates.
        Assert.True(Bind(_web, 8080, out _).IsBound);
        Assert.True(Bind(below, 8081, out _).IsBound);
        Assert.Equal(PortRefusal.Access, Bind(below, 80, out _).Refusal);
    }

    [Fact]
    public void Where_the_kernel_has_the_address_a_port_is_the_kernels_or_ours()
    {
        InterfacePorts ports = new(_device, _filters, _root, [IPAddress.Loopback, IPAddress.IPv6Loopback], areKernels: true);
        using Socket service = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        service.Bind(new IPEndPoint(IPAddress.Any, 0));
        service.Listen();
        ushort taken = (ushort)((IPEndPoint)service.LocalEndPoint!).Port;
        PortVerdict verdict = ports.For(_root).TryBind(Tcp, taken, null, out _);
        Assert.Equal((PortRefusal.Taken, null), (verdict.Refusal, verdict.Holder));
        Assert.Contains("another program", verdict.ToString(), StringComparison.Ordinal);
        Assert.Equal(0, _filters.Count);

        service.Dispose();
        Assert.True(ports.For(_root).TryBind(Tcp, taken, null, out PortBinding? binding).IsBound);
        foreach (IPAddress address in (IPAddress[])[IPAddress.Loopback, IPAddress.IPv6Loopback, IPAddress.Any])
        {
            Assert.Equal(SocketError.AddressAlreadyInUse, BindError(address, taken));
        }

        binding!.Dispose();
        Assert.Equal(SocketError.Success, BindError(IPAddress.Any, taken));
    }

    [Fact]
    public async Task Packets_of_two_environments_go_out_and_come_in_by_their_ports()
    {
        using SharedInterface shared = new(_device, _filters, _root, s_addresses, areKernels: false);
        shared.Ports.Grant(_root.Credential, 80, 80, _web.Name);
        shared.Ports.Grant(_root.Credential, 25, 25, _mail.Name);
        Assert.True(shared.TryOpen(_web, out EnvironmentDevice? web).IsGranted);
        Assert.True(shared.TryOpen(_mail, out EnvironmentDevice? mail, new SharedInterfaceOptions { TransmitPacketsMax = 2 }).IsGranted);
        Assert.True(web!.Ports.TryBind(Tcp, 80, null, out _).IsBound);
        Assert.Equal(PortRefusal.Access, mail!.Ports.TryBind(Tcp, 80, null, out _).Refusal);
        Assert.True(mail.Ports.TryBind(Tcp, 25, null, out PortBinding? smtp).IsBound);

        // The device gives back what it is given.
        Assert.Equal(2, Transmit(web, 80, 25, 80));
        Assert.Equal(2, Transmit(mail, 25, 80, 443, 25));
        Assert.Equal(NetworkEvents.None, mail.Wait(NetworkEvents.Receivable | NetworkEvents.Transmittable, TimeSpan.Zero));
        while (shared.Poll() > 0)
        {
        }

        using ReceiveBatch batch = new(_frames);
        Assert.Equal(NetworkEvents.Receivable | NetworkEvents.Transmittable, mail.Wait(NetworkEvents.Receivable | NetworkEvents.Transmittable, TimeSpan.Zero));
        Assert.Equal([80, 80], Receive(web, batch));
        Assert.Equal([25], Receive(mail, batch));
        Assert.Equal(1, shared.Unclaimed);
        Assert.Equal((2L, 1L), (web.Counters.ReceivedPackets, mail.Counters.ReceivedPackets));
        batch.Clear();

        // Who waits is told, by whoever polls.
        Task<NetworkEvents> waits = Task.Run(() => web.Wait(NetworkEvents.Receivable, TimeSpan.FromSeconds(60)));
        Transmit(mail, 25, 80);
        Assert.True(SpinWait.SpinUntil(() => shared.Poll() >= 0 && waits.IsCompleted, TimeSpan.FromSeconds(60)));
        Assert.Equal(NetworkEvents.Receivable, await waits & NetworkEvents.Receivable);

        // An environment that ends has no part any more, and nobody else's is touched.
        _mail.Dispose();
        shared.Poll();
        Assert.False(smtp!.IsValid);
        Assert.Throws<NetworkDeviceException>(() => mail.Receive(batch));
        Assert.Throws<NetworkDeviceException>(() => Transmit(mail, 25, 80));
        Assert.Equal([80], Receive(web, batch));
    }

    private PortVerdict Bind(ExoEnvironment owner, ushort port, out PortBinding? binding) => _ports.For(owner).TryBind(Tcp, port, null, out binding);

    private static SocketError BindError(IPAddress address, int port)
    {
        try
        {
            using Socket socket = new(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(address, port));
            return SocketError.Success;
        }
        catch (SocketException refused)
        {
            return refused.SocketErrorCode;
        }
    }

    // Segments from a port of the first address to ports of it.
    private int Transmit(NetworkDevice device, byte from, params int[] ports)
    {
        TransmitBatch batch = new();
        List<FrameNumber> frames = [];
        foreach (int port in ports)
        {
            Assert.True(_frames.TryAllocate(_frames.RootCredential, out FrameNumber frame));
            Span<byte> bytes = _frames.Bytes(frame)[..54];
            bytes.Clear();
            (bytes[12], bytes[14], bytes[17], bytes[23], bytes[35], bytes[37], bytes[46]) = (8, 0x45, 40, Tcp, from, (byte)port, 0x50);
            s_addresses[0].GetAddressBytes().CopyTo(bytes[26..]);
            s_addresses[0].GetAddressBytes().CopyTo(bytes[30..]);
            bytes[36] = (byte)(port >> 8);
            Assert.True(batch.TryAdd(new PacketSlice(frame, 0, 54), []));
            frames.Add(frame);
        }

        try
        {
            return device.Transmit(batch);
        }
        finally
        {
            frames.ForEach(frame => _frames.Release(frame));
        }
    }

    private static int[] Receive(NetworkDevice device, ReceiveBatch batch)
    {
        device.Receive(batch);
        return [.. Enumerable.Range(0, batch.Count).Select(i => batch.Head(i)[36] << 8 | batch.Head(i)[37])];
    }

    /// <summary>What is sent comes in again.</summary>
    private sealed class LoopDevice(FramePool frames) : NetworkDevice("loop", frames)
    {
        private readonly ReceiveFrames _receiveFrames = new(frames, frames.RootCredential, 128);
        private readonly Queue<byte[]> _packets = new();

        public int Updates { get; private set; }

        public bool Refuses { get; set; }

        public override NetworkDeviceFeatures Features { get; } = new() { Driver = "loop", Address = default, MtuBytes = 1500, TransmitSlicesMax = 2 };

        public override NetworkDeviceCounters Counters => default;

        public override void UpdateFilters()
        {
            if (Refuses)
            {
                throw new NetworkDeviceException(Errno.EINVAL, Name, "Refused.");
            }

            Updates++;
        }

        public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout) => wanted;

        public override void Wake()
        {
        }

        protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
        {
            foreach (ref readonly TransmitPacket packet in packets)
            {
                _packets.Enqueue(packet.Header.Bytes(Frames).ToArray());
            }

            return packets.Length;
        }

        protected override int ReceiveInto(ReceiveBatch batch)
        {
            while (batch.Count < batch.Capacity && _packets.TryDequeue(out byte[]? packet))
            {
                Assert.True(_receiveFrames.TryTake(out FrameNumber frame));
                packet.CopyTo(Frames.Bytes(frame));
                batch.Add(_receiveFrames, [new PacketSlice(frame, 0, packet.Length)]);
            }

            return batch.Count;
        }

        protected override void Dispose(bool disposing) => _receiveFrames.Dispose();
    }
}
