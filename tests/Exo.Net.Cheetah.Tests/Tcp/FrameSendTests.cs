// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Tcp;
using Exo.Simulation.Net;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>An application's own frames, sent from where they lie and given back exactly once, whatever becomes of the connection. EXO_TCP_SEEDS as in <see cref="TransferTests"/>.</summary>
public class FrameSendTests
{
    private static readonly TimeSpan Most = TimeSpan.FromHours(2);

    [Theory]
    [InlineData(false, true)]
    [InlineData(true, true)]
    [InlineData(true, false)]
    public void Through_a_bad_wire_every_byte_arrives_and_every_frame_comes_back_once(bool fromFrames, bool computesChecksums)
    {
        int seeds = int.Parse(Environment.GetEnvironmentVariable("EXO_TCP_SEEDS") ?? "2", System.Globalization.CultureInfo.InvariantCulture);
        for (int seed = 1; seed <= seeds; seed++)
        {
            using var hosts = new TwoHosts(seed, new SimulatedDeviceOptions { TransmitsFromFrames = fromFrames, TransmitRingPackets = 16, TransmitChecksum = computesChecksums });
            hosts.Wire.Impairments = new WireImpairments { Loss = 0.05, Reordering = 0.05, Duplication = 0.02, Corruption = 0.01, Delay = TimeSpan.FromMilliseconds(5), ReorderingDelay = TimeSpan.FromMilliseconds(3) };
            var sender = new Sender(hosts, seed, 700_000);
            var receiver = new Pattern(0);
            hosts.B.Listen(80, receiver);
            hosts.A.Connect(seed % 2 == 0 ? TwoHosts.ServerV4 : TwoHosts.ServerV6, sender);
            Assert.True(hosts.Run(() => sender.Closed is not null && receiver.Closed is not null, Most), $"seed {seed}");
            hosts.Pass(TimeSpan.FromSeconds(1));
            Assert.Equal(TcpCloseReason.Graceful, sender.Closed);
            Assert.Equal(sender.LengthBytes, receiver.Received);
            Assert.All(sender.ReleasedCounts, count => Assert.Equal(1, count));
            Assert.Equal(0, hosts.A.Tcp.Counters.BytesCopied);
            sender.GiveUp();
            Assert.Equal(0, sender.HeldFrames);
        }
    }

    [Theory]
    [InlineData("abort")]
    [InlineData("reset")]
    [InlineData("timeout")]
    [InlineData("dispose")]
    public void However_a_connection_ends_frames_come_back_once(string end)
    {
        using var hosts = new TwoHosts(7, new SimulatedDeviceOptions { TransmitsFromFrames = end != "dispose", TransmitRingPackets = 16 });
        hosts.Wire.Impairments = new WireImpairments { BitsPerSecond = 100_000_000, Delay = TimeSpan.FromMilliseconds(5) };
        var sender = new Sender(hosts, 1, 700_000);
        var receiver = new Pattern(0, closesWhenSent: false);
        hosts.B.Listen(80, receiver);
        TcpConnection connection = hosts.A.Connect(TwoHosts.ServerV4, sender);
        Assert.True(hosts.Run(() => receiver.Received > 50_000, Most));
        switch (end)
        {
            case "abort":
                connection.Abort();
                break;
            case "reset":
                receiver.Connection!.Abort();
                break;
            case "timeout":
                hosts.Wire.Impairments = new WireImpairments { Loss = 1 };
                break;
            default:
                hosts.A.Dispose();
                break;
        }

        if (end != "dispose")
        {
            Assert.True(hosts.Run(() => sender.Closed is not null, Most));
            hosts.Pass(TimeSpan.FromSeconds(1));
        }

        Assert.NotNull(sender.Closed);
        Assert.All(sender.ReleasedCounts, count => Assert.Equal(1, count));
        sender.GiveUp();
        Assert.Equal(0, sender.HeldFrames);
    }

    [Fact]
    public void What_cannot_be_sent_is_not_held_and_nobody_is_called()
    {
        using var hosts = new TwoHosts(3);
        var client = new Pattern(0, closesWhenSent: false);
        hosts.B.Listen(80, new Pattern(0, closesWhenSent: false));
        TcpConnection connection = hosts.A.Connect(TwoHosts.ServerV4, client);
        Assert.True(hosts.Run(() => connection.State == TcpState.Established, Most));
        Assert.True(hosts.Frames.TryAllocate(hosts.Frames.RootCredential, out FrameNumber held));
        Assert.True(hosts.Frames.TryAllocate(hosts.Frames.RootCredential, out FrameNumber free));
        hosts.Frames.Release(free);
        foreach (PacketSlice[] wrong in (PacketSlice[][])
        [
            [], [new(held, 0, 0)], [new(held, -1, 5)], [new(held, 4096, 1)], [new(held, 0, 10), new(free, 0, 10)], [new(new FrameNumber((uint)hosts.Frames.FrameCount), 0, 1)], [new(new FrameNumber((uint)hosts.Frames.FrameCount - 1), 4095, 2)],
        ])
        {
            Assert.Throws<ArgumentException>(() => connection.Send(wrong, _ => Assert.Fail("called")));
        }

        connection.CloseSend();
        Assert.Throws<InvalidOperationException>(() => connection.Send([new PacketSlice(held, 0, 10)], _ => Assert.Fail("called")));
        Assert.Equal(1, hosts.Frames.ReferenceCount(held));
        hosts.Frames.Release(held);
        hosts.Pass(Most);
    }

    [Fact]
    public void Sending_the_same_frame_again_when_it_comes_back_allocates_nothing()
    {
        using var hosts = new TwoHosts(3);
        var receiver = new Pattern(0, closesWhenSent: false) { Checks = false };
        var client = new Pattern(0, closesWhenSent: false);
        hosts.B.Listen(80, receiver);
        TcpConnection connection = hosts.A.Connect(TwoHosts.ServerV4, client);
        Assert.True(hosts.Run(() => connection.State == TcpState.Established, Most));
        Assert.True(hosts.Frames.TryAllocate(hosts.Frames.RootCredential, out FrameNumber frame));
        long sent = 0, allocated = 0;
        bool isOver = false;
        Action<object?> again = null!;
        again = state =>
        {
            if (isOver)
            {
                return;
            }

            long before = GC.GetAllocatedBytesForCurrentThread();
            sent++;
            connection.Send([new PacketSlice(frame, 10, 4000)], again, state);   // from the callback itself
            allocated = sent > 20 ? allocated + GC.GetAllocatedBytesForCurrentThread() - before : 0;
        };
        again(null);
        Assert.True(hosts.Run(() => sent > 1000, Most));
        Assert.Equal(0, allocated);
        Assert.Equal(2, hosts.Frames.ReferenceCount(frame));
        Assert.InRange(receiver.Received, 990 * 4000, 1010 * 4000);
        isOver = true;
        connection.Abort();
        hosts.A.Poll();   // the last packets that name it leave
        Assert.Equal(1, hosts.Frames.ReferenceCount(frame));
        hosts.Frames.Release(frame);
    }

    /// <summary>Sends the pattern of <see cref="Pattern"/> from frames of its own, in pieces of all lengths and offsets.</summary>
    private sealed class Sender : ITcpHandler
    {
        private readonly TwoHosts hosts;
        private readonly List<List<PacketSlice>> calls = [];
        private readonly List<FrameNumber> frames = [];

        public Sender(TwoHosts hosts, int seed, long lengthBytes)
        {
            this.hosts = hosts;
            var random = new Random(seed);
            while (LengthBytes < lengthBytes)
            {
                List<PacketSlice> call = [];
                for (int pieces = random.Next(1, 7); pieces > 0; pieces--)
                {
                    int count = random.Next(1, 5), offset = random.Next(FramePool.FrameBytes);
                    Assert.True(hosts.Frames.TryAllocateRun(hosts.Frames.RootCredential, count, out FrameNumber first));
                    var slice = new PacketSlice(first, offset, random.Next(1, (count * FramePool.FrameBytes) - offset + 1));
                    Span<byte> bytes = slice.Bytes(hosts.Frames);
                    for (int i = 0; i < bytes.Length; i++)
                    {
                        bytes[i] = Pattern.At(LengthBytes + i);
                    }

                    for (uint i = 0; i < count; i++)
                    {
                        frames.Add(new FrameNumber(first.Value + i));
                    }

                    LengthBytes += slice.LengthBytes;
                    call.Add(slice);
                }

                calls.Add(call);
            }

            ReleasedCounts = new int[calls.Count];
        }

        public long LengthBytes { get; private set; }

        public int[] ReleasedCounts { get; }

        public TcpCloseReason? Closed { get; private set; }

        public int HeldFrames => frames.Count(frame => hosts.Frames.ReferenceCount(frame) > 0);

        public void OnOpened(TcpConnection connection)
        {
            for (int i = 0; i < calls.Count; i++)
            {
                connection.Send(calls[i].ToArray(), state => ReleasedCounts[(int)state!]++, i);
            }

            connection.CloseSend();
        }

        public int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes) => bytes.Length;

        public void OnAcknowledged(TcpConnection connection)
        {
        }

        public void OnPeerClosed(TcpConnection connection)
        {
        }

        public void OnClosed(TcpConnection connection, TcpCloseReason reason) => Closed = reason;

        /// <summary>Lets go of the own hold on each frame.</summary>
        public void GiveUp() => frames.ForEach(hosts.Frames.Release);
    }
}
