// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Wire;
using Exo.Simulation.Timing;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>
/// Runs a conversation written down, in the manner of packetdrill (Cardwell et al. 2013): one line each for a segment that arrives, one that must leave,
/// a call of the application, and what must be true. Numbers count from each side's initial sequence number; time is simulated.
/// <code>
/// # a comment
/// only IPv4                   numbers that hold for one version of IP; other scripts run over both, where a maximum segment told by the stack is 20 bytes less over IPv6
/// option TimeWait=1           a setting in seconds or a number, before anything else; peer-iss=N sets where the peer counts from
/// listen | stop-listening | connect | send N | send N close | close | full-close | abort | pause | resume | take N
/// +0.2 &lt; S. 0:0(0) ack 1 win 1000 &lt;mss 1000,sackOK,wscale 7,TS val 5 ecr 0&gt;     arrives, after so many seconds
/// +0.2 &gt; P. 1:101(100) ack 1 win 500 &lt;ecr 5,sack 1:2&gt;                           is the next to leave, after so many seconds; parts left out are not looked at
///                             flags are those of FSRP.UEW; between window and options may stand not-ect, ect0, ect1 or ce, which is left out of what arrives not-ect
/// too-big MTU N               a router says so of our segment N
/// nothing 0.5                 nothing leaves for so long
/// keep-stamp                  the timestamp that left last is "ecr kept" from now on, as the one that left last at any time is "ecr last"
/// congestion N                the congestion window in bytes
/// state ESTABLISHED | none · received N · peer-closed · closed Reset · connections N · time-wait N
/// </code>
/// </summary>
internal sealed partial class PacketScript : ITcpHandler, IDisposable
{
    private readonly InternetAddress own, peer;
    private readonly bool isV6;
    private readonly FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly ScriptedDevice device;
    private readonly VirtualTime time = new();
    private NetworkStack? stack;
    private NetworkStackOptions options;
    private TcpConnection? connection;
    private uint ownStart, peerStart;
    private bool ownStartKnown;
    private ushort ownPort = 80, peerPort = 4000;
    private uint ownStamp, keptStamp;
    private int received, takeAtMost = int.MaxValue;
    private bool peerClosed;
    private TcpCloseReason? closed;
    private string line = string.Empty;

    private PacketScript(bool isV6)
    {
        this.isV6 = isV6;
        own = InternetAddress.Parse(isV6 ? "fd00::1" : "10.0.0.1");
        peer = InternetAddress.Parse(isV6 ? "fd00::2" : "10.0.0.2");
        device = new ScriptedDevice(frames);
        options = new NetworkStackOptions
        {
            Addresses = [new InterfaceAddress(own, isV6 ? 64 : 24)], Time = time, Seed = 1, ReceiveWindowBytes = 64_000,
        };
    }

    /// <summary>Whether a script is for a version of IP.</summary>
    public static bool IsFor(string text, bool isV6) => !text.Split('\n').Contains(isV6 ? "only IPv4" : "only IPv6");

    public static void Run(string text, bool isV6)
    {
        using var script = new PacketScript(isV6);
        int number = 0;
        foreach (string raw in text.Split('\n'))
        {
            number++;
            string code = raw.Split('#')[0].Trim();
            if (code.Length == 0)
            {
                continue;
            }

            script.line = $"line {number}: {code}";
            script.Step(code);
        }
    }

    public void OnOpened(TcpConnection opened) => connection = opened;

    public int OnReceived(TcpConnection from, ReadOnlySpan<byte> bytes)
    {
        int count = Math.Min(takeAtMost, bytes.Length);
        takeAtMost -= takeAtMost == int.MaxValue ? 0 : count;
        received += count;
        return count;
    }

    public void OnAcknowledged(TcpConnection from)
    {
    }

    public void OnPeerClosed(TcpConnection from) => peerClosed = true;

    public void OnClosed(TcpConnection ended, TcpCloseReason reason) => closed = reason;

    public void Dispose()
    {
        stack?.Dispose();
        frames.Dispose();
    }

    private NetworkStack Stack
    {
        get
        {
            if (stack is null)
            {
                stack = new NetworkStack(device, options);
                stack.Poll();
                stack.Link.Neighbors.Learn(peer, new MacAddress(0x02_00_00_00_00_02), mayAdd: true, stack.NowUs);
            }

            return stack;
        }
    }

    private void Step(string code)
    {
        string[] words = code.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        switch (words[0])
        {
            case "only":
                Equal(words[1], isV6 ? "IPv6" : "IPv4");
                return;
            case "option":
                Option(words[1].Split('='));
                return;
            case "listen":
                Stack.Listen(80, this);
                return;
            case "stop-listening":
                Stack.StopListening(80);
                Stack.Poll();
                return;
            case "connect":
                peerPort = 80;
                connection = Stack.Connect(new IPEndPoint(peer.ToIPAddress(), 80), this);
                ownPort = (ushort)connection.LocalEndPoint.Port;
                Stack.Poll();
                return;
            case "send":
                Assert.True(connection!.TrySend(new byte[int.Parse(words[1], CultureInfo.InvariantCulture)]), line);
                if (words is [_, _, "close"])
                {
                    connection.CloseSend();
                }

                Stack.Poll();
                return;
            case "close":
                connection!.CloseSend();
                Stack.Poll();
                return;
            case "full-close":
                connection!.Close();
                Stack.Poll();
                return;
            case "abort":
                connection!.Abort();
                Stack.Poll();
                return;
            case "pause":
                connection!.PauseReceive();
                return;
            case "resume":
                connection!.ResumeReceive();
                Stack.Poll();
                return;
            case "take":
                takeAtMost = int.Parse(words[1], CultureInfo.InvariantCulture);
                return;
            case "too-big":
                TooBig(uint.Parse(words[1], CultureInfo.InvariantCulture), uint.Parse(words[2], CultureInfo.InvariantCulture));
                return;
            case "nothing":
                Nothing(words.Length > 1 ? Seconds(words[1]) : TimeSpan.Zero);
                return;
            case "state":
                string state = connection is null || connection.State == TcpState.Closed ? "none" : connection.State.ToString();
                Assert.True(string.Equals(state, words[1].Replace("-", string.Empty, StringComparison.Ordinal), StringComparison.OrdinalIgnoreCase), $"{line}: it is {state}");
                return;
            case "keep-stamp":
                keptStamp = ownStamp;
                return;
            case "congestion":
                Equal(int.Parse(words[1], CultureInfo.InvariantCulture), connection!.CongestionWindowBytes);
                return;
            case "received":
                Equal(int.Parse(words[1], CultureInfo.InvariantCulture), received);
                return;
            case "peer-closed":
                Assert.True(peerClosed, line);
                return;
            case "closed":
                Equal(words[1], closed?.ToString());
                return;
            case "connections":
                Equal(int.Parse(words[1], CultureInfo.InvariantCulture), Stack.ConnectionCount);
                return;
            case "time-wait":
                Equal(int.Parse(words[1], CultureInfo.InvariantCulture), Stack.TimeWaitCount);
                return;
            default:
                Packet(code);
                return;
        }
    }

    private void Option(string[] pair)
    {
        double value = double.Parse(pair[1], CultureInfo.InvariantCulture);
        options = pair[0] switch
        {
            "peer-iss" => options,
            "peer-port" => options,
            "TimeWait" => options with { TimeWait = TimeSpan.FromSeconds(value) },
            "KeepAlive" => options with { KeepAlive = TimeSpan.FromSeconds(value) },
            "KeepAliveInterval" => options with { KeepAliveInterval = TimeSpan.FromSeconds(value) },
            "KeepAliveProbes" => options with { KeepAliveProbes = (int)value },
            "HalfOpenMax" => options with { HalfOpenMax = (int)value },
            "PathMtuRetry" => options with { PathMtuRetry = TimeSpan.FromSeconds(value) },
            "Ecn" => options with { Ecn = (EcnUse)value },
            "ReceiveWindowBytes" => options with { ReceiveWindowBytes = (int)value },
            "ChallengeAcksPerSecond" => options with { ChallengeAcksPerSecond = (int)value },
            _ => throw new FormatException($"{line}: no such option"),
        };
        peerStart = pair[0] == "peer-iss" ? (uint)value : peerStart;
        peerPort = pair[0] == "peer-port" ? (ushort)value : peerPort;
    }

    [GeneratedRegex(@"^\+(?<time>[\d.]+)\s+(?<way>[<>])\s+(?<flags>[FSRPUEW.]+)\s+(?<start>\d+):(?<end>\d+)\((?<length>\d+)\)(\s+ack\s+(?<ack>\d+))?(\s+win\s+(?<win>\d+))?(\s+(?<ecn>not-ect|ect1|ect0|ce))?(\s+<(?<options>[^>]*)>)?$")]
    private static partial Regex PacketPattern { get; }

    private void Packet(string code)
    {
        Match match = PacketPattern.Match(code);
        Assert.True(match.Success, $"{line}: not understood");
        TimeSpan delay = Seconds(match.Groups["time"].Value);
        if (match.Groups["way"].Value == "<")
        {
            Nothing(delay);
            Arrive(match);
        }
        else
        {
            Expect(match, delay);
        }
    }

    private void Arrive(Match match)
    {
        int length = Number(match, "length");
        var segment = new TcpSegment(
            peerPort, ownPort, peerStart + (uint)Number(match, "start"), match.Groups["ack"].Success ? ownStart + (uint)Number(match, "ack") : 0,
            Flags(match), (ushort)(match.Groups["win"].Success ? Number(match, "win") : 65535), Options(match.Groups["options"].Value));
        byte[] packet = new byte[segment.SizeBytes + length];
        segment.Emit(packet);
        Arrive(IpProtocol.Tcp, packet, Ecn(match));
    }

    private void Arrive(IpProtocol protocol, ReadOnlySpan<byte> payload, byte trafficClass = 0)
    {
        int headBytes = EthernetFrame.SizeBytes + IpHead(default, peer, own, protocol, 0);
        byte[] frame = new byte[headBytes + payload.Length];
        new EthernetFrame(new MacAddress(0x02_00_00_00_00_01), new MacAddress(0x02_00_00_00_00_02), isV6 ? EtherType.Ipv6 : EtherType.Ipv4).Emit(frame);
        IpHead(frame.AsSpan(EthernetFrame.SizeBytes), peer, own, protocol, payload.Length, trafficClass);
        payload.CopyTo(frame.AsSpan(headBytes));
        device.Arrive(frame);
        Stack.Poll();
    }

    // Writes a head if there is room for one; its length.
    private int IpHead(Span<byte> bytes, InternetAddress source, InternetAddress destination, IpProtocol protocol, int payloadBytes, byte trafficClass = 0)
    {
        if (!bytes.IsEmpty && isV6)
        {
            new Ipv6Packet(source, destination, protocol, payloadBytes, TrafficClass: trafficClass).Emit(bytes);
        }
        else if (!bytes.IsEmpty)
        {
            new Ipv4Packet(source, destination, protocol, payloadBytes, TrafficClass: trafficClass).Emit(bytes);
        }

        return isV6 ? Ipv6Packet.SizeBytes : Ipv4Packet.SizeBytes;
    }

    private void TooBig(uint mtuBytes, uint start)
    {
        int ipBytes = IpHead(default, own, peer, IpProtocol.Tcp, 0);
        byte[] message = new byte[IcmpMessage.SizeBytes + ipBytes + 8];
        Span<byte> quoted = message.AsSpan(IcmpMessage.SizeBytes);
        IpHead(quoted, own, peer, IpProtocol.Tcp, 1000);
        BinaryPrimitives.WriteUInt16BigEndian(quoted[ipBytes..], ownPort);
        BinaryPrimitives.WriteUInt16BigEndian(quoted[(ipBytes + 2)..], peerPort);
        BinaryPrimitives.WriteUInt32BigEndian(quoted[(ipBytes + 4)..], ownStart + start);
        if (isV6)
        {
            new IcmpMessage(IcmpMessage.TooBigV6, 0, mtuBytes).EmitV6(peer, own, message);
        }
        else
        {
            new IcmpMessage(IcmpMessage.UnreachableV4, 4, mtuBytes).EmitV4(message);
        }

        Arrive(isV6 ? IpProtocol.Icmpv6 : IpProtocol.Icmpv4, message);
    }

    private void Expect(Match match, TimeSpan delay)
    {
        TimeSpan begin = time.Elapsed;
        TimeSpan slack = TimeSpan.FromMilliseconds(4) + (delay / 50);
        while (device.Sent.Count == 0 && time.Elapsed - begin <= delay + slack)
        {
            Advance(begin + delay + slack + TimeSpan.FromMilliseconds(1) - time.Elapsed);
        }

        Assert.True(device.Sent.TryDequeue(out (TcpSegment Segment, int PayloadBytes, byte TrafficClass) sent), $"{line}: nothing left");
        TcpSegment segment = sent.Segment;
        string what = $"{line}: left {PacketPrinter.Describe(segment, sent.PayloadBytes)} (own start {ownStart}, peer start {peerStart})";
        TimeSpan took = time.Elapsed - begin;
        Assert.True(took >= delay - slack && took <= delay + slack, $"{what} after {took.TotalSeconds} s");
        if ((segment.Flags & TcpFlags.Syn) != 0)
        {
            ownStart = segment.Sequence;
            ownStartKnown = true;
        }

        ownStamp = segment.Options.HasTimestamps ? segment.Options.Timestamp : ownStamp;
        Assert.True(Flags(match) == segment.Flags, what);
        Assert.True(!ownStartKnown || ownStart + (uint)Number(match, "start") == segment.Sequence || (segment.Flags & TcpFlags.Rst) != 0 && segment.Sequence == (uint)Number(match, "start"), what);
        Assert.True(Number(match, "length") == sent.PayloadBytes, what);
        Assert.True(!match.Groups["ack"].Success || peerStart + (uint)Number(match, "ack") == segment.Acknowledgment, what);
        Assert.True(!match.Groups["ecn"].Success || Ecn(match) == sent.TrafficClass, $"{what}: traffic class {sent.TrafficClass}");
        Assert.True(!match.Groups["win"].Success || Number(match, "win") == segment.Window, what);
        foreach (string option in match.Groups["options"].Value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            Assert.True(Has(segment.Options, option.Split(' ')), $"{what}: {option}");
        }
    }

    private bool Has(in TcpOptions options, string[] words)
    {
        switch (words[0])
        {
            case "mss":
                return options.MaximumSegmentBytes == int.Parse(words[1], CultureInfo.InvariantCulture) - (isV6 ? Ipv6Packet.SizeBytes - Ipv4Packet.SizeBytes : 0);
            case "wscale":
                return options.HasWindowScale && options.WindowScale == int.Parse(words[1], CultureInfo.InvariantCulture);
            case "sackOK":
                return options.SackPermitted;
            case "ecr":
                return options.HasTimestamps && options.TimestampEcho == uint.Parse(words[1], CultureInfo.InvariantCulture);
            case "no":
                return words[1] switch
                {
                    "TS" => !options.HasTimestamps,
                    "sackOK" => !options.SackPermitted,
                    "wscale" => !options.HasWindowScale,
                    _ => options.SackCount == 0,
                };
            case "sack":
                return options.SackCount == words.Length - 1 && words.Skip(1).Select((word, i) => (word, i)).All(Holds(options));
            default:
                throw new FormatException($"{line}: option {words[0]}");
        }
    }

    private Func<(string Word, int Index), bool> Holds(TcpOptions options) => pair =>
    {
        uint[] ends = [.. pair.Word.Split(':').Select(end => peerStart + uint.Parse(end, CultureInfo.InvariantCulture))];
        return options.Sack(pair.Index) == new SackBlock(ends[0], ends[1]);
    };

    private TcpOptions Options(string text)
    {
        var options = default(TcpOptions);
        foreach (string option in text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            string[] words = option.Split(' ');
            options = words[0] switch
            {
                "mss" => options with { MaximumSegmentBytes = ushort.Parse(words[1], CultureInfo.InvariantCulture) },
                "wscale" => options with { HasWindowScale = true, WindowScale = byte.Parse(words[1], CultureInfo.InvariantCulture) },
                "sackOK" => options with { SackPermitted = true },
                "TS" => options with
                {
                    HasTimestamps = true, Timestamp = uint.Parse(words[2], CultureInfo.InvariantCulture),
                    TimestampEcho = words[4] == "last" ? ownStamp : words[4] == "kept" ? keptStamp : uint.Parse(words[4], CultureInfo.InvariantCulture),
                },
                "sack" => Sacks(options, [.. words.Skip(1).Select(word => word.Split(':').Select(end => ownStart + uint.Parse(end, CultureInfo.InvariantCulture)).ToArray())]),
                _ => throw new FormatException($"{line}: option {option}"),
            };
        }

        return options;
    }

    private static TcpOptions Sacks(TcpOptions options, uint[][] blocks) => options with
    {
        SackCount = blocks.Length,
        Sack0 = new SackBlock(blocks[0][0], blocks[0][1]),
        Sack1 = blocks.Length > 1 ? new SackBlock(blocks[1][0], blocks[1][1]) : default,
        Sack2 = blocks.Length > 2 ? new SackBlock(blocks[2][0], blocks[2][1]) : default,
    };

    private void Nothing(TimeSpan duration)
    {
        TimeSpan end = time.Elapsed + duration;
        while (time.Elapsed < end)
        {
            Advance(end - time.Elapsed);
        }

        Assert.True(
            device.Sent.Count == 0, device.Sent.TryPeek(out (TcpSegment Segment, int PayloadBytes, byte TrafficClass) sent) ? $"{line}: left {PacketPrinter.Describe(sent.Segment, sent.PayloadBytes)}" : line);
    }

    private void Advance(TimeSpan most)
    {
        TimeSpan step = Stack.UntilNext;
        step = step == Timeout.InfiniteTimeSpan || step > most ? most : step;
        time.Advance(step > TimeSpan.Zero ? step : TimeSpan.FromTicks(10));
        Stack.Poll();
    }

    private void Equal<T>(T expected, T actual) => Assert.True(Equals(expected, actual), $"{line}: it is {actual}");

    private static TimeSpan Seconds(string text) => TimeSpan.FromSeconds(double.Parse(text, CultureInfo.InvariantCulture));

    private static int Number(Match match, string group) => int.Parse(match.Groups[group].Value, CultureInfo.InvariantCulture);

    private static byte Ecn(Match match) => match.Groups["ecn"].Value switch { "ce" => 3, "ect0" => 2, "ect1" => 1, _ => 0 };

    private static TcpFlags Flags(Match match)
    {
        var flags = TcpFlags.None;
        foreach (char flag in match.Groups["flags"].Value)
        {
            flags |= (TcpFlags)(1 << "FSRP.UEW".IndexOf(flag, StringComparison.Ordinal));
        }

        return flags;
    }
}
