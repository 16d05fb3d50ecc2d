// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text;
using Exo.Core.Memory;
using Exo.Core.Net;

namespace Exo.Benchmarks.Peers.Web;

/// <summary>What a load generator was asked for.</summary>
/// <param name="Interface">The interface of the client's end; the kernel must not have <paramref name="Client"/>.</param>
/// <param name="Client">The address that the clients use.</param>
/// <param name="Server">Where the server listens.</param>
/// <param name="Path">What is asked for; every answer must be of the same length.</param>
/// <param name="Connections">How many at a time.</param>
/// <param name="KeepsAlive">One connection for all requests, or one for each.</param>
/// <param name="Seconds">How long.</param>
/// <param name="RequestsPerSecond">Requests begun per second; 0 = each as soon as the one before it is answered.</param>
internal sealed record HttpLoad(
    string Interface, IPAddress Client, IPEndPoint Server, string Path, int Connections, bool KeepsAlive, double Seconds, double RequestsPerSecond);

/// <summary>What it did.</summary>
/// <param name="Requests">Answered while it was counting.</param>
/// <param name="RequestsInAll">Answered since it began: what the server had to do.</param>
/// <param name="Seconds">How long it counted.</param>
/// <param name="ProcessorSeconds">What it used meanwhile.</param>
/// <param name="Retransmissions">What was sent again.</param>
/// <param name="Failures">Answers that were no good, and connections that were reset.</param>
/// <param name="P50Us">Microseconds from a request (without keep-alive: from the SYN) to its whole answer, that half of them do not exceed.</param>
/// <param name="P99Us">The same for 99 of 100.</param>
/// <param name="P999Us">The same for 999 of 1,000.</param>
internal sealed record HttpLoadResult(
    long Requests, long RequestsInAll, double Seconds, double ProcessorSeconds, long Retransmissions, long Failures, double P50Us, double P99Us, double P999Us);

/// <summary>
/// An HTTP client that costs next to nothing: a packet socket and as much of TCP as a client needs whose server behaves. An answer costs one look at a
/// header for each (super-)packet; the next request carries its acknowledgement.
/// <code>
///   closed --SYN--> opening --SYN ACK--> waiting --whole answer--> waiting (keep-alive) or, FIN, closed
/// </code>
/// A packet out of order is not kept: the server sends it again. What makes no progress for 200 ms is sent again.
/// </summary>
internal sealed class RawHttpLoad
{
    private const int StuckMs = 200;
    private const ushort FirstPort = 2048;

    private readonly HttpLoad _load;
    private readonly NetworkDevice _device;
    private readonly ClientPackets _packets;
    private readonly Connection[] _connections;
    private readonly short[] _byPort = new short[65536];
    private readonly Stack<int> _idle = new();
    private readonly LatencyHistogram _latency = new();
    private readonly uint[] _usedUpTo = new uint[65536];
    private ushort _nextPort = FirstPort;
    private long _answerBytes;
    private long _requests;
    private long _requestsInAll;
    private long _begun;
    private long _driveStart;
    private int _opened;
    private long _retransmissions;
    private long _failures;
    private bool _isCounting;

    private RawHttpLoad(HttpLoad load, NetworkDevice device, MacAddress server)
    {
        _load = load;
        _device = device;
        string request = $"GET {load.Path} HTTP/1.1\r\nHost: {load.Server.Address}\r\n{(load.KeepsAlive ? "" : "Connection: close\r\n")}\r\n";
        _packets = new ClientPackets(device, server, load.Server, load.Client, Encoding.ASCII.GetBytes(request));
        _connections = new Connection[load.Connections];
        Array.Fill(_byPort, (short)-1);
    }

    private enum State : byte
    {
        Closed,
        Opening,
        Idle,
        Waiting,
    }

    public static HttpLoadResult Run(HttpLoad load)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 32 << 20 });

        // Without a ring, because filling that is work for whoever sends to it: the generator pays for itself, and the server's figure is the server's.
        using PacketSocketDevice device = PacketSocketDevice.Open(load.Interface, frames, new PacketSocketOptions { ReceiveRingSlots = 0 });
        using ReceiveBatch batch = new(frames);
        RawHttpLoad generator = new(load, device, AddressResolution.Ask(device, batch, load.Client, load.Server.Address));

        // Until the compiler has done its work, by processor time: on a busy machine a second of the clock may be little.
        for (int i = 0; i < 40 && Process.GetCurrentProcess().TotalProcessorTime.TotalSeconds < 1; i++)
        {
            generator.Drive(batch, 0.25);
        }

        generator._isCounting = true;
        TimeSpan cpu = Process.GetCurrentProcess().TotalProcessorTime;
        double seconds = generator.Drive(batch, load.Seconds);
        double cpuSeconds = (Process.GetCurrentProcess().TotalProcessorTime - cpu).TotalSeconds;
        generator.Abandon();
        return new HttpLoadResult(
            generator._requests, generator._requestsInAll, seconds, cpuSeconds, generator._retransmissions, generator._failures,
            generator._latency.PercentileUs(0.5), generator._latency.PercentileUs(0.99), generator._latency.PercentileUs(0.999));
    }

    private double Drive(ReceiveBatch batch, double seconds)
    {
        long start = Stopwatch.GetTimestamp(), lastLook = start;
        _driveStart = start;
        _begun = 0;
        while (true)
        {
            long now = Stopwatch.GetTimestamp();
            double elapsed = Stopwatch.GetElapsedTime(start, now).TotalSeconds;
            if (elapsed >= seconds)
            {
                return elapsed;
            }

            if (Stopwatch.GetElapsedTime(lastLook, now).TotalMilliseconds > StuckMs / 4)
            {
                lastLook = now;
                LookForStuck(now);
            }

            Begin(elapsed, now);
            int count = _device.Receive(batch);
            for (int i = 0; i < count; i++)
            {
                Take(batch.Head(i), batch.Packets[i].LengthBytes, now);
            }

            Begin(elapsed, now);
            _packets.Flush();
            if (count == 0)
            {
                _device.Wait(NetworkEvents.Receivable, _load.RequestsPerSecond > 0 ? TimeSpan.Zero : TimeSpan.FromMilliseconds(1));
            }
        }
    }

    // Requests that are due, on connections that have nothing to do.
    private void Begin(double elapsed, long now)
    {
        for (; _opened < _connections.Length; _opened++)
        {
            Open(_opened, now);
        }

        while (_idle.Count > 0 && (_load.RequestsPerSecond <= 0 || _begun < elapsed * _load.RequestsPerSecond))
        {
            int index = _idle.Pop();

            // From when it was due, not from when a connection was free for it: a server that stalls delays those too.
            long due = _load.RequestsPerSecond > 0 ? _driveStart + (long)(_begun / _load.RequestsPerSecond * Stopwatch.Frequency) : now;
            _begun++;
            if (_connections[index].State == State.Closed)
            {
                Open(index, now);
            }
            else
            {
                Request(ref _connections[index], now);
            }

            _connections[index].Began = due;
        }
    }

    private void Open(int index, long now)
    {
        ref Connection connection = ref _connections[index];
        do
        {
            _nextPort = _nextPort == ushort.MaxValue ? FirstPort : (ushort)(_nextPort + 1);
        }
        while (_byPort[_nextPort] >= 0);

        _byPort[connection.Port] = -1;
        _byPort[_nextPort] = (short)index;
        _usedUpTo[connection.Port] = connection.Next;
        connection = new Connection { State = State.Opening, Port = _nextPort, Next = FirstSequence(_nextPort, now), Began = now, Progress = now };
        _packets.Send(connection.Port, connection.Next, 0, 0, ClientPackets.Syn);
    }

    // The clock of RFC 9293 section 3.4.1, four microseconds a number, and never a number that the port has used: the server may still have the last
    // connection of the port in TIME-WAIT, where only a younger SYN opens another (RFC 6191).
    private uint FirstSequence(ushort port, long now)
    {
        uint clock = (uint)(now / (Stopwatch.Frequency / 250_000));
        uint least = _usedUpTo[port] + (1 << 16);
        return _usedUpTo[port] == 0 || (int)(clock - least) > 0 ? clock : least;
    }

    private void Request(ref Connection connection, long now)
    {
        connection.State = State.Waiting;
        connection.Got = 0;
        connection.Progress = now;
        _packets.Send(connection.Port, connection.Next, connection.Expected, connection.Echo, ClientPackets.Acknowledge | ClientPackets.Push, withRequest: true);
        connection.Next += (uint)_packets.RequestBytes;
    }

    private void Take(ReadOnlySpan<byte> packet, int lengthBytes, long now)
    {
        if (AddressResolution.TryAnswer(_device, packet, _load.Client) || packet.Length < 54 || packet[12] != 8 || packet[13] != 0 || packet[14] != 0x45 || packet[23] != 6)
        {
            return;
        }

        ReadOnlySpan<byte> tcp = packet[34..];
        ushort port = BinaryPrimitives.ReadUInt16BigEndian(tcp[2..]);
        int index = _byPort[port];
        if (index < 0)
        {
            return;
        }

        ref Connection connection = ref _connections[index];
        uint sequence = BinaryPrimitives.ReadUInt32BigEndian(tcp[4..]);
        byte flags = tcp[13];
        if ((flags & ClientPackets.Reset) != 0)
        {
            Fail(index, now);
            return;
        }

        ReadStamp(tcp, ref connection.Echo);
        if (connection.State == State.Opening)
        {
            if ((flags & (ClientPackets.Syn | ClientPackets.Acknowledge)) == (ClientPackets.Syn | ClientPackets.Acknowledge))
            {
                connection.Next++;
                connection.Expected = sequence + 1;
                Request(ref connection, now);
            }
            else if ((flags & ClientPackets.Acknowledge) != 0)
            {
                // The server remembers another connection of this port: RFC 9293 section 3.10.7.3 has it forget that.
                _packets.Send(port, BinaryPrimitives.ReadUInt32BigEndian(tcp[8..]), 0, 0, ClientPackets.Reset);
                _packets.Send(port, connection.Next, 0, 0, ClientPackets.Syn);
            }

            return;
        }

        int headerBytes = (tcp[12] >> 4) * 4;
        int payloadBytes = Math.Min(lengthBytes, 14 + BinaryPrimitives.ReadUInt16BigEndian(packet[16..])) - 34 - headerBytes;
        bool isFin = (flags & ClientPackets.Fin) != 0;
        if (payloadBytes == 0 && !isFin)
        {
            return;
        }

        if (sequence != connection.Expected || connection.State != State.Waiting)
        {
            _packets.Send(port, connection.Next, connection.Expected, connection.Echo, ClientPackets.Acknowledge);
            return;
        }

        if (connection.Got == 0 && payloadBytes > 0)
        {
            ReadHead(tcp[headerBytes..]);
        }

        connection.Progress = now;
        connection.Expected += (uint)payloadBytes + (isFin ? 1u : 0);
        connection.Got += payloadBytes;
        if (connection.Got >= _answerBytes && (_load.KeepsAlive || isFin))
        {
            Answered(index, now, isFin);
        }
        else if (isFin)
        {
            Fail(index, now);
        }
        else
        {
            _packets.Send(port, connection.Next, connection.Expected, connection.Echo, ClientPackets.Acknowledge);
        }
    }

    private void Answered(int index, long now, bool isFin)
    {
        ref Connection connection = ref _connections[index];
        _requestsInAll++;
        if (_isCounting)
        {
            _requests++;
            _latency.Add((now - connection.Began) * (1_000_000_000 / Stopwatch.Frequency));
        }

        if (isFin)
        {
            _packets.Send(connection.Port, connection.Next, connection.Expected, connection.Echo, ClientPackets.Acknowledge | ClientPackets.Fin);
            connection.State = State.Closed;
        }
        else
        {
            connection.State = State.Idle;
        }

        _idle.Push(index);
    }

    private static void ReadStamp(ReadOnlySpan<byte> tcp, ref uint echo)
    {
        int end = Math.Min((tcp[12] >> 4) * 4, tcp.Length);
        for (int at = 20; at + 10 <= end && tcp[at] != 0; at += tcp[at] == 1 ? 1 : Math.Max((byte)2, tcp[at + 1]))
        {
            if (tcp[at] == 8)
            {
                echo = BinaryPrimitives.ReadUInt32BigEndian(tcp[(at + 2)..]);
                return;
            }
        }
    }

    // The length of an answer is learnt from the first; that it is a good one is looked at every time.
    private void ReadHead(ReadOnlySpan<byte> answer)
    {
        if (!answer.StartsWith("HTTP/1.1 200"u8))
        {
            _failures++;
        }

        if (_answerBytes == 0)
        {
            int head = answer.IndexOf("\r\n\r\n"u8);
            string text = Encoding.ASCII.GetString(answer[..Math.Max(head, 0)]);
            int at = text.IndexOf("Content-Length:", StringComparison.OrdinalIgnoreCase);
            if (at < 0)
            {
                throw new InvalidOperationException($"the server answers without a length: {text}");
            }

            _answerBytes = head + 4 + long.Parse(text[(at + 15)..].Split('\r')[0], CultureInfo.InvariantCulture);
        }
    }

    private void Fail(int index, long now)
    {
        _failures++;
        Open(index, now);
    }

    private void LookForStuck(long now)
    {
        foreach (ref Connection connection in _connections.AsSpan())
        {
            if (connection.State is not (State.Opening or State.Waiting) || Stopwatch.GetElapsedTime(connection.Progress, now).TotalMilliseconds < StuckMs)
            {
                continue;
            }

            _retransmissions++;
            connection.Progress = now;
            if (connection.State == State.Opening)
            {
                _packets.Send(connection.Port, connection.Next, 0, 0, ClientPackets.Syn);
            }
            else if (connection.Got == 0)
            {
                _packets.Send(
                    connection.Port, connection.Next - (uint)_packets.RequestBytes, connection.Expected, connection.Echo, ClientPackets.Acknowledge | ClientPackets.Push, withRequest: true);
            }
            else
            {
                _packets.Send(connection.Port, connection.Next, connection.Expected, connection.Echo, ClientPackets.Acknowledge);
            }
        }
    }

    // The server need not wait for clients that are gone.
    private void Abandon()
    {
        foreach (Connection connection in _connections)
        {
            if (connection.State != State.Closed)
            {
                uint next = connection.Next + (connection.State == State.Opening ? 1u : 0);
                _packets.Send(connection.Port, next, connection.Expected, connection.Echo, ClientPackets.Reset | ClientPackets.Acknowledge);
            }
        }

        _packets.Flush();
    }

    private struct Connection
    {
        public State State;
        public ushort Port;

        /// <summary>The next sequence number to be sent, and the next one expected.</summary>
        public uint Next;
        public uint Expected;

        /// <summary>The server's timestamp, to be told back.</summary>
        public uint Echo;

        /// <summary>Bytes of the answer so far.</summary>
        public long Got;

        /// <summary>When the request began (with its connection, if it has one of its own), and when something happened last.</summary>
        public long Began;
        public long Progress;
    }
}
