// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Core.Predicates;
using Exo.Capabilities;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>
/// Two environments on a thread each that send as much as they can through one packet socket with shares of it, beside one of them alone. What each got of its share goes to standard error, beside the figures.
/// </summary>
/// <param name="name">On the command line.</param>
/// <param name="first">The weight of the first, who sends long packets.</param>
/// <param name="second">The weight of the second, who sends packets a third as long.</param>
internal sealed class ShareNetRow(string name, int first, int second) : IPeerRow
{
    private const int Seconds = 3;
    private const int LongBytes = 1500;
    private const int ShortBytes = 500;
    private const int QueuePackets = 4096;

    private readonly TwoNamespaces _network = new();

    public string Name => name;

    public string Work => $"packets of {LongBytes} bytes by one environment and of {ShortBytes} by another through one packet socket on a line of 400 Mbit/s, with shares of {first} and {second}: both together";

    public string Peer => "both by one environment alone, on a share of the same interface";

    public string Unit => "Mbit/s";

    public bool MoreIsBetter => true;

    public string? Missing() => TwoNamespaces.Missing() ?? Tool.Missing("tc");

    public void Prepare(WorkFolder folder)
    {
        // A line that is slower than its senders: otherwise there is nothing to share but processors.
        _network.Open();
        Tool.Run("ip", "netns", "exec", _network.Server, "tc", "qdisc", "add", "dev", TwoNamespaces.ServerLink, "root", "tbf", "rate", "400mbit", "burst", "128kb", "limit", "8mb");
    }

    public double RunExo() => Run(first, second);

    public double RunPeer() => Run(first, 0);

    public void Dispose() => _network.Dispose();

    /// <summary>Sends for a while through an interface, in the process that is in its namespace.</summary>
    public static int Send(string link, int[] weights)
    {
        using FramePool frames = FramePool.Create();
        using NetworkDevice device = PacketSocketDevice.Open(link, frames, new PacketSocketOptions { BypassQueueing = false, SocketBufferBytes = 1 << 20 });
        using ExoEnvironment root = ExoEnvironment.CreateRoot(frames.Authority);
        using TransmitShares shares = new(device);
        bool isOver = false;
        List<TransmitShare> all = [];
        List<Task> senders = [];
        for (int i = 0; i < weights.Length; i++)
        {
            ExoEnvironment owner = root.CreateChild([(byte)i]);
            if (weights[i] == 0 || !shares.TryAdd(owner, weights[i], QueuePackets, out TransmitShare? share).IsGranted)
            {
                continue;
            }

            all.Add(share!);
            int[] lengths = weights[1] == 0 ? [LongBytes, ShortBytes, ShortBytes, ShortBytes] : [i == 0 ? LongBytes : ShortBytes];
            senders.Add(Task.Run(() => SendAsync(share!, frames, lengths, () => Volatile.Read(ref isOver))));
        }

        long start = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(start).TotalSeconds < Seconds)
        {
            if (shares.Poll() == 0)
            {
                device.Wait(NetworkEvents.Transmittable, TimeSpan.FromMilliseconds(1));
            }
        }

        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        Console.WriteLine(string.Join(' ', all.Select(share => (share.BytesSent * 8 / 1e6 / seconds).ToString("0.0", CultureInfo.InvariantCulture))));
        Volatile.Write(ref isOver, true);
        all.ForEach(share => share.Owner.Dispose());
        Task.WaitAll([.. senders]);
        all.ForEach(share => share.Dispose());
        return 0;
    }

    private static async Task SendAsync(TransmitShare share, FramePool frames, int[] lengths, Func<bool> isOver)
    {
        if (!frames.TryAllocate(frames.RootCredential, out FrameNumber frame, zero: true))
        {
            throw new InvalidOperationException("no frames");
        }

        // To nobody: the other end drops it.
        Span<byte> bytes = frames.Bytes(frame);
        bytes[..6].Fill(0x06);
        bytes[6] = 0x02;
        bytes[12] = 0x88;
        bytes[13] = 0xB5;

        // Whenever a quarter of the queue has gone: words that the environment keeps in a frame of its own say when that is.
        SecureBinding<Frame> counters = frames.Bind(share.Owner.Credential, share.CounterFrame, Rights.Read);
        try
        {
            for (long sent = 0; !isOver();)
            {
                if (share.TrySend(new PacketSlice(frame, 0, lengths[sent % lengths.Length])))
                {
                    sent++;
                    continue;
                }

                using WakeupPredicate hasRoom = WakeupPredicate.Bind(new PredicateProduct(1, PredicateValue.Word(counters, 8).AtLeast((ulong)(sent - (QueuePackets * 3 / 4)))));
                await share.Owner.SleepUntil(hasRoom);
            }
        }
        catch (ObjectDisposedException)
        {
            // The time is over.
        }
        catch (AccessDeniedException)
        {
            // As above.
        }
    }

    private double Run(params int[] weights)
    {
        string output = Tool.Run("ip", 
            ["netns", "exec", _network.Server, "dotnet", Path.Combine(AppContext.BaseDirectory, "Exo.Benchmarks.Peers.dll"), "share-send", TwoNamespaces.ServerLink, .. weights.Select(weight => weight.ToString(CultureInfo.InvariantCulture))]);
        double[] got = [.. output.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(text => double.Parse(text, CultureInfo.InvariantCulture))];
        double total = got.Sum();
        if (got.Length > 1)
        {
            Console.Error.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"  {Name}: {got[0]:0} and {got[1]:0} Mbit/s, {got[0] / (total * first / (first + second)):0.000} and {got[1] / (total * second / (first + second)):0.000} of their shares"));
        }

        return total;
    }
}
