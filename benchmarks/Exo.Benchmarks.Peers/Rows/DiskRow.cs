// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text.Json;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Core.Blocks;
using Exo.Core.Blocks.Nbd;
using Exo.Core.Memory;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>
/// One image file, as a rule past the page cache, by one thread: Exo's device and fio. What each spends of the processor per request goes to
/// standard error, beside the figures.
/// </summary>
internal sealed class DiskRow : IPeerRow
{
    private const int Seconds = 3;
    private const long ImageBytes = 1L << 30;

    private string _image = "";
    private FramePool? _serverFrames;
    private BlockDevice? _served;
    private NbdServer? _server;

    public required string Name { get; init; }

    /// <summary>Writes instead of reads.</summary>
    public bool IsWrite { get; init; }

    /// <summary>One after the other from the start of the image, instead of at random places.</summary>
    public bool IsSequential { get; init; }

    /// <summary>4 KiB blocks in a request.</summary>
    public int BlocksPerRequest { get; init; } = 1;

    /// <summary>Requests under way; 0: the synchronous door, one at a time, and the figure is what one takes.</summary>
    public int Depth { get; init; }

    /// <summary>Through the page cache, in which the image lies: what remains is the cost of the calls and of a copy.</summary>
    public bool IsCached { get; init; }

    public BlockDriver Driver { get; init; } = BlockDriver.IoUring;

    /// <summary>Over one connection to Exo's NBD server in this process, on a UNIX socket: both clients to the same one.</summary>
    public bool IsNbd { get; init; }

    /// <summary>fio's engine and its options.</summary>
    public required string[] Engine { get; init; }

    public string Work =>
        $"{(long)BlocksPerRequest * FramePool.FrameBytes / 1024} KiB {(IsWrite ? "writes" : "reads")} {(IsSequential ? "one after the other" : "at random places")} of a {ImageBytes >> 20} MiB image, "
        + $"{Math.Max(1, Depth)} under way, {(IsNbd ? "over NBD, " : "")}{(IsCached ? "from the page cache" : "O_DIRECT")}{(Driver == BlockDriver.Portable ? ", pread and pwrite" : "")}";

    public string Peer => $"fio, {Engine[0]}";

    public string Unit => Depth == 0 ? "µs" : "/s";

    public bool MoreIsBetter => Depth > 0;

    public string? Missing() => Tool.Missing("fio");

    public void Prepare(WorkFolder folder)
    {
        _image = folder["disk.img"];
        using (FileStream file = File.Create(_image))
        {
            byte[] chunk = new byte[1 << 20];
            for (long at = 0; at < ImageBytes; at += chunk.Length)
            {
                Random.Shared.NextBytes(chunk);
                file.Write(chunk);
            }

            file.Flush(flushToDisk: true);
        }

        if (IsNbd)
        {
            _serverFrames = FramePool.Create();
            _served = BlockDevice.Open(_image, _serverFrames, new BlockDeviceOptions { ReadOnly = true, Direct = IsCached ? DirectIo.Off : DirectIo.On });
            string socket = folder["disk.sock"];
            _server = new NbdServer(_served, new NbdServerOptions { EndPoint = new UnixDomainSocketEndPoint(socket), ReadOnly = true });
            _server.Start();
            _image = $"nbd+unix:///?socket={socket}";
        }
    }

    public double RunExo()
    {
        int slots = Math.Max(1, Depth);
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = (long)slots * BlocksPerRequest * FramePool.FrameBytes });
        BlockDeviceOptions options = IsNbd ? new() { ReadOnly = true } : new() { ReadOnly = !IsWrite, Driver = Driver, Direct = IsCached ? DirectIo.Off : DirectIo.On, RegisterFrames = true };
        using BlockDevice device = BlockDevice.Open(_image, frames, options);
        BlockRequest[] requests = [.. Enumerable.Range(0, slots).Select(_ => MakeRequest(frames))];
        Process self = Process.GetCurrentProcess();
        TimeSpan cpu = self.TotalProcessorTime;
        long start = Stopwatch.GetTimestamp();
        long end = start + (Seconds * Stopwatch.Frequency);
        long count = Depth == 0 ? RunSynchronous(device, requests, end) : RunQueue(device, requests, end);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        self.Refresh();
        Report("exo", count / seconds, (self.TotalProcessorTime - cpu).TotalMicroseconds / count);
        return Depth == 0 ? seconds * 1e6 / count : count / seconds;
    }

    public double RunPeer()
    {
        string mode = (IsSequential ? "" : "rand") + (IsWrite ? "write" : "read");
        string output = Tool.Run(
            "fio",
            [
                "--name=peer", $"--rw={mode}", $"--bs={BlocksPerRequest * FramePool.FrameBytes}", $"--iodepth={Math.Max(1, Depth)}",
                $"--ioengine={Engine[0]}", .. Engine[1..], IsNbd ? $"--uri={_image}" : $"--filename={_image}", $"--direct={(IsCached ? 0 : 1)}", "--invalidate=0", "--thread", $"--runtime={Seconds}", "--time_based", "--output-format=json",
            ]);
        using JsonDocument result = JsonDocument.Parse(output[output.IndexOf('{', StringComparison.Ordinal)..]);
        JsonElement job = result.RootElement.GetProperty("jobs")[0];
        double rate = job.GetProperty(IsWrite ? "write" : "read").GetProperty("iops").GetDouble();
        double percent = job.GetProperty("usr_cpu").GetDouble() + job.GetProperty("sys_cpu").GetDouble();
        Report("fio", rate, percent * 1e4 / rate);
        return Depth == 0 ? 1e6 / rate : rate;
    }

    public void Dispose()
    {
        _server?.Dispose();
        _served?.Dispose();
        _serverFrames?.Dispose();
    }

    private void Report(string who, double rate, double cpuMicroseconds) =>
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  {Name}: {who} {rate:0} /s, {cpuMicroseconds:0.0} µs of processor each"));

    private BlockRequest MakeRequest(FramePool frames)
    {
        if (!frames.TryAllocateRun(frames.RootCredential, BlocksPerRequest, out FrameNumber first))
        {
            throw new InvalidOperationException("no frames");
        }

        FrameNumber[] vector = [.. Enumerable.Range(0, BlocksPerRequest).Select(i => new FrameNumber(first.Value + (uint)i))];
        return IsWrite ? BlockRequest.Write(default, vector) : BlockRequest.Read(default, vector);
    }

    private IEnumerator<ulong> Places(BlockDevice device)
    {
        Random random = new(1);
        ulong places = device.Geometry.BlockCount / (ulong)BlocksPerRequest;
        for (ulong next = 0; ; next = IsSequential ? (next + 1) % places : (ulong)random.NextInt64((long)places))
        {
            yield return next * (ulong)BlocksPerRequest;
        }
    }

    private long RunSynchronous(BlockDevice device, BlockRequest[] requests, long end)
    {
        using IEnumerator<ulong> places = Places(device);
        long count = 0;
        for (; Stopwatch.GetTimestamp() < end; count++)
        {
            places.MoveNext();
            requests[0].FirstBlock = new BlockNumber(places.Current);
            device.Execute(requests);
        }

        return count;
    }

    private long RunQueue(BlockDevice device, BlockRequest[] requests, long end)
    {
        using BlockQueue queue = device.OpenQueue(Depth);
        using IEnumerator<ulong> places = Places(device);
        BlockCompletion[] done = [.. Enumerable.Range(0, Depth).Select(i => new BlockCompletion((ulong)i, 0))];
        long count = 0;
        for (int free = Depth; Stopwatch.GetTimestamp() < end; count += free)
        {
            foreach (BlockCompletion one in done.AsSpan(0, free))
            {
                if (one.Error != 0)
                {
                    throw new InvalidOperationException($"error {one.Error}");
                }

                places.MoveNext();
                ref BlockRequest request = ref requests[one.Cookie];
                request.FirstBlock = new BlockNumber(places.Current);
                queue.TrySubmit(in request, one.Cookie);
            }

            free = queue.Reap(done);
        }

        return count;
    }
}
