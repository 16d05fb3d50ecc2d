// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Memory;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tcp;
using Exo.Simulation.Net;
using Exo.Simulation.Timing;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>Two stacks on a wire under one clock and one seed: hours of protocol in seconds.</summary>
internal sealed class TwoHosts : IDisposable
{
    public TwoHosts(int seed = 1, SimulatedDeviceOptions? device = null, Func<NetworkStackOptions, NetworkStackOptions>? options = null)
    {
        Frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        (Wire, SimulatedNetworkDevice a, SimulatedNetworkDevice b) = SimulatedWire.CreatePair(Frames, Frames, device, Time, seed);
        DeviceA = new WatchedDevice(a);
        DeviceB = new WatchedDevice(b);
        A = Make(DeviceA, "10.0.0.1/24", "fd00::1/64", (ulong)seed, options);
        B = Make(DeviceB, "10.0.0.2/24", "fd00::2/64", (ulong)seed + 1000, options);
    }

    public static IPEndPoint ServerV4 => new(IPAddress.Parse("10.0.0.2"), 80);

    public static IPEndPoint ServerV6 => new(IPAddress.Parse("fd00::2"), 80);

    public VirtualTime Time { get; } = new();

    public FramePool Frames { get; }

    public SimulatedWire Wire { get; }

    public WatchedDevice DeviceA { get; }

    public WatchedDevice DeviceB { get; }

    public NetworkStack A { get; }

    public NetworkStack B { get; }

    /// <summary>Runs until a condition holds, at most so long on the simulated clock. False when the time is up or nothing can happen any more.</summary>
    public bool Run(Func<bool> until, TimeSpan most)
    {
        TimeSpan end = Time.Elapsed + most;
        while (!until())
        {
            if (A.Poll() + B.Poll() > 0)
            {
                continue;
            }

            TimeSpan? next = Wire.NextArrival is { } arrival ? arrival - Wire.Elapsed : null;
            foreach (NetworkStack stack in (NetworkStack[])[A, B])
            {
                TimeSpan own = stack.UntilNext;
                next = own == Timeout.InfiniteTimeSpan || next < own ? next : own;
            }

            if (next is not { } step || Time.Elapsed + step > end)
            {
                if (Time.Elapsed < end)
                {
                    Time.Advance(end - Time.Elapsed);
                    A.Poll();
                    B.Poll();
                }

                return until();
            }

            Time.Advance(step > TimeSpan.Zero ? step : TimeSpan.FromTicks(1));
        }

        return true;
    }

    /// <summary>Lets the time pass.</summary>
    public void Pass(TimeSpan time) => Run(() => false, time);

    public void Dispose()
    {
        A.Dispose();
        B.Dispose();
        Wire.Dispose();
        Frames.Dispose();
    }

    private NetworkStack Make(WatchedDevice device, string v4, string v6, ulong seed, Func<NetworkStackOptions, NetworkStackOptions>? options)
    {
        var set = new NetworkStackOptions
        {
            Addresses = [InterfaceAddress.Parse(v4), InterfaceAddress.Parse(v6)],
            Time = Time,
            Seed = seed,

            // Twice the MSL of RFC 9293: longer than any pause between two transmissions of a FIN, so that every end is graceful.
            TimeWait = TimeSpan.FromMinutes(4),
        };
        return new NetworkStack(device, options?.Invoke(set) ?? set);
    }
}

/// <summary>Sends a pattern and checks the peer's.</summary>
internal sealed class Pattern : ITcpHandler
{
    private readonly long bytesToSend;
    private readonly byte[] chunk = new byte[8192];

    public Pattern(long bytesToSend, bool closesWhenSent = true, bool closesWithPeer = true)
    {
        this.bytesToSend = bytesToSend;
        ClosesWhenSent = closesWhenSent;
        ClosesWithPeer = closesWithPeer;
    }

    public bool ClosesWhenSent { get; }

    public bool ClosesWithPeer { get; }

    public TcpConnection? Connection { get; private set; }

    public long Sent { get; private set; }

    public long Received { get; private set; }

    public int ReceiveAtMost { get; set; } = int.MaxValue;

    /// <summary>Bytes must be the pattern, and one connection at a time uses this.</summary>
    public bool Checks { get; set; } = true;

    public bool PeerClosed { get; private set; }

    public TcpCloseReason? Closed { get; private set; }

    public static byte At(long offset) => (byte)((offset * 31) ^ (offset >> 8) ^ (offset >> 16));

    public void OnOpened(TcpConnection connection)
    {
        Connection = connection;
        Fill(connection);
    }

    public int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes)
    {
        int count = Math.Min(bytes.Length, ReceiveAtMost);
        for (int i = 0; i < count; i++)
        {
            if (Checks && bytes[i] != At(Received + i))
            {
                Assert.Fail($"byte {Received + i} is {bytes[i]}, not {At(Received + i)}");
            }
        }

        Received += count;
        return count;
    }

    public void OnAcknowledged(TcpConnection connection) => Fill(connection);

    public void OnPeerClosed(TcpConnection connection)
    {
        Assert.False(PeerClosed && Checks);
        PeerClosed = true;
        if (ClosesWithPeer && Sent == bytesToSend)
        {
            connection.CloseSend();
        }
    }

    public void OnClosed(TcpConnection connection, TcpCloseReason reason)
    {
        Assert.True(Closed is null || !Checks);
        Closed = reason;
    }

    private void Fill(TcpConnection connection)
    {
        while (Sent < bytesToSend && connection.QueuedBytes < 512 * 1024)
        {
            int count = (int)Math.Min(chunk.Length, bytesToSend - Sent);
            for (int i = 0; i < count; i++)
            {
                chunk[i] = At(Sent + i);
            }

            Assert.True(connection.TrySend(chunk.AsSpan(0, count)));
            Sent += count;
        }

        if (Sent == bytesToSend && (ClosesWhenSent || (PeerClosed && ClosesWithPeer)))
        {
            connection.CloseSend();
        }
    }
}
