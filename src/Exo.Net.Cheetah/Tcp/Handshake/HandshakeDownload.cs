// SPDX-License-Identifier: MIT
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp.Handshake;

/// <summary>
/// Keeps the program that answers SYNs (<see cref="HandshakeProgram"/>) at the device as the stack is now: for the ports and addresses that want it, with the interface's address and MTU. The stack
/// hears of a connection when the last segment of its handshake brings the cookie back.
/// </summary>
/// <param name="device">The device, which takes handlers.</param>
/// <param name="tcp">The layer whose cookies they are.</param>
/// <param name="addresses">The interface's addresses.</param>
/// <param name="originNs">What the monotonic clock said when the stack's clock said 0.</param>
internal sealed class HandshakeDownload(NetworkDevice device, TcpLayer tcp, IReadOnlyList<InterfaceAddress> addresses, long originNs)
{
    private readonly HashSet<ListenPoint> points = [];
    private MacAddress hardware;
    private int mtuBytes;

    /// <exception cref="NotSupportedException">It is for other addresses than what is there already: the program knows addresses, and ports that are the same for all of them.</exception>
    public void Add(ListenPoint point)
    {
        if (points.Count > 0 && !AddressesOf(points.First()).SequenceEqual(AddressesOf(point)))
        {
            throw new NotSupportedException("Ports whose handshakes are in the kernel are listened on at the same addresses.");
        }

        points.Add(point);
        try
        {
            Install();
        }
        catch
        {
            points.Remove(point);
            throw;
        }
    }

    public void Remove(ListenPoint point)
    {
        if (points.Remove(point))
        {
            Install();
        }
    }

    /// <summary>No port wants it any more, perhaps because the device is gone.</summary>
    public void RemoveAll()
    {
        if (points.Count > 0)
        {
            points.Clear();
            try
            {
                device.SetHandler(null);
            }
            catch (Exception failure) when (failure is NetworkDeviceException or ObjectDisposedException)
            {
                // What is gone answers nothing.
            }
        }
    }

    /// <summary>The interface may have changed. When the kernel does not take the new program, SYNs come to the stack as ever.</summary>
    public void Refresh()
    {
        if (points.Count > 0 && (tcp.Link.Hardware != hardware || tcp.Link.MtuBytes != mtuBytes))
        {
            tcp.ReclaimAll();   // segments may be shorter now
            try
            {
                Install();
            }
            catch (NetworkDeviceException)
            {
                RemoveAll();
            }
        }
    }

    private IEnumerable<InterfaceAddress> AddressesOf(ListenPoint point) => addresses.Where(own => point.Covers(own.Address));

    private void Install()
    {
        if (points.Count == 0)
        {
            device.SetHandler(null);
            return;
        }

        // The table stays when there is no handler: connections have slots in it.
        if (tcp.Farewells is null)
        {
            tcp.Farewells = new FarewellTable(device.Name);
            tcp.Cookies.Secrets.ShareWith(tcp.Farewells);
        }

        hardware = tcp.Link.Hardware;
        mtuBytes = tcp.Link.MtuBytes;
        InterfaceAddress[] own = [.. AddressesOf(points.First())];
        HandshakeAnswer answer = new(
            [.. points.Select(point => point.Port).Distinct()], own, hardware, tcp.Hash, originNs, (ushort)Math.Min(tcp.Options.ReceiveWindowBytes, ushort.MaxValue), tcp.WindowScale, tcp.WholeWindow(tcp.WindowScale),
            tcp.OwnSegmentBytes(v4: true), tcp.OwnSegmentBytes(v4: false), tcp.Farewells.Descriptor, tcp.Answers?.Descriptor ?? 0, tcp.Answers?.Key ?? 0);
        tcp.Cookies.AreMadeElsewhere = true;
        PacketHandler handler = new(HandshakeProgram.ForIngress(answer), HandshakeProgram.ForReceive(answer));
        device.SetHandler(handler);
        if (!IsUnderstood(handler, new ListenPoint(own[0].Address, points.First().Port)))
        {
            device.SetHandler(null);
            throw new NetworkDeviceException(0, device.Name, $"The kernel's answers to SYNs on {device.Name} are not ours: the process may have a clock of its own (a time namespace).");
        }
    }

    // Has the kernel answer a SYN from nobody and reads the cookie.
    private bool IsUnderstood(PacketHandler handler, ListenPoint point)
    {
        InternetAddress own = point.Address;
        InternetAddress other = own.IsV4 ? InternetAddress.FromV4(0x0808_0808) : new InternetAddress(0x2001_0DB8_0000_0000, 1);
        var key = new ConnectionKey(own, point.Port, other, 1);
        var syn = new TcpSegment(key.RemotePort, key.LocalPort, 1, 0, TcpFlags.Syn, 0, new TcpOptions(MaximumSegmentBytes: 1460, HasTimestamps: true, Timestamp: 1));
        int ipBytes = own.IsV4 ? Ipv4Packet.SizeBytes : Ipv6Packet.SizeBytes;
        Span<byte> packet = stackalloc byte[EthernetFrame.SizeBytes + ipBytes + syn.SizeBytes];
        Span<byte> ip = packet[EthernetFrame.SizeBytes..], segment = ip[ipBytes..];
        new EthernetFrame(hardware, new MacAddress(0x0200_0000_0001), own.IsV4 ? EtherType.Ipv4 : EtherType.Ipv6).Emit(packet);
        if (own.IsV4)
        {
            new Ipv4Packet(other, own, IpProtocol.Tcp, segment.Length).Emit(ip);
        }
        else
        {
            new Ipv6Packet(other, own, IpProtocol.Tcp, segment.Length).Emit(ip);
        }

        syn.Emit(segment);
        TcpSegment.Seal(other, own, segment, 0, 0);
        _ = device.TestHandler(handler, packet);
        return TcpSegment.Check(own, other, segment) && TcpSegment.TryParse(segment, out TcpSegment answered, out _)
            && tcp.Cookies.TryRead(key, syn.Sequence, answered.Sequence, tcp.NowUs, out ushort segmentBytes) && segmentBytes == 1460;
    }
}
