// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using System.Text;
using Exo.Core.Memory;
using Exo.Net.Cheetah.Sockets;

namespace Exo.Net.Cheetah.Tests.Sockets;

/// <summary>A clock that stands until it is told to go on.</summary>
internal sealed class StandingClock : TimeProvider
{
    private long ticks = new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero).UtcTicks;

    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override DateTimeOffset GetUtcNow() => new(Volatile.Read(ref ticks), TimeSpan.Zero);

    public override long GetTimestamp() => Volatile.Read(ref ticks);

    public void Advance(TimeSpan by) => Interlocked.Add(ref ticks, by.Ticks);
}

/// <summary>A server on a free port with documents in memory; frames must all be free again when it is gone.</summary>
internal sealed class TestServer : IAsyncDisposable
{
    public TestServer(Func<MemoryDocumentSource, IDocumentSource>? wrap = null, CheetahServerOptions? options = null, long poolBytes = 64 << 20)
    {
        Frames = FramePool.Create(new FramePoolOptions { CapacityBytes = poolBytes });
        Documents = new MemoryDocumentSource(Frames);
        Server = new CheetahServer(
            options ?? Options(), wrap is null ? Documents : wrap(Documents), Frames);
        Server.Start();
    }

    public FramePool Frames { get; }

    public MemoryDocumentSource Documents { get; }

    public CheetahServer Server { get; }

    public static CheetahServerOptions Options(TimeProvider? time = null, int reactors = 1, AccessLogOptions? accessLog = null) =>
        new() { AccessLog = accessLog, EndPoint = new IPEndPoint(IPAddress.Loopback, 0), Time = time ?? TimeProvider.System, Reactors = reactors };

    public static byte[] Bytes(int count, int seed = 1)
    {
        byte[] bytes = new byte[count];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    /// <summary>What the thread of the first reactor has allocated so far.</summary>
    public long AllocatedBytes()
    {
        using var probe = new AllocationProbe();
        Server.Reactors[0].Post(probe);
        return probe.Wait();
    }

    public byte[] Set(string path, int count, int seed = 1)
    {
        byte[] bytes = Bytes(count, seed);
        Documents.Set(path, bytes, lastModified: new DateTimeOffset(2025, 5, 6, 7, 8, 9, TimeSpan.Zero));
        return bytes;
    }

    public RawClient Connect(int? receiveBufferBytes = null) => new(Server.EndPoint, receiveBufferBytes);

    /// <summary>Sends text on a connection of its own, closes that half, and gives back all that comes.</summary>
    public string Exchange(string requests)
    {
        using RawClient client = Connect();
        client.Send(requests);
        client.Shutdown();
        return Encoding.Latin1.GetString(client.ReadToEnd());
    }

    public async ValueTask DisposeAsync()
    {
        await Server.DisposeAsync();
        Documents.Dispose();
        int free = Frames.FreeCount;
        Assert.Equal(Frames.FrameCount, free);
        Frames.Dispose();
    }
}

/// <summary>A client that sends and reads bytes as they are.</summary>
internal sealed class RawClient : IDisposable
{
    private readonly Socket socket = new(SocketType.Stream, ProtocolType.Tcp);
    private byte[] pending = [];

    public RawClient(IPEndPoint endPoint, int? receiveBufferBytes = null)
    {
        if (receiveBufferBytes is { } bytes)
        {
            socket.ReceiveBufferSize = bytes;
        }

        socket.NoDelay = true;
        socket.ReceiveTimeout = 20_000;
        socket.SendTimeout = 20_000;
        socket.Connect(endPoint);
    }

    public void Send(string text) => Send(Encoding.Latin1.GetBytes(text));

    public void Send(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            bytes = bytes[socket.Send(bytes)..];
        }
    }

    public void Shutdown() => socket.Shutdown(SocketShutdown.Send);

    /// <summary>Closes with a reset.</summary>
    public void Abort()
    {
        socket.LingerState = new LingerOption(true, 0);
        socket.Close();
    }

    public byte[] ReadToEnd()
    {
        var all = new MemoryStream();
        all.Write(pending);
        pending = [];
        byte[] buffer = new byte[65536];
        while (Receive(buffer) is > 0 and var count)
        {
            all.Write(buffer, 0, count);
        }

        return all.ToArray();
    }

    /// <summary>One response by its Content-Length; a 304 or an answer to HEAD has no body.</summary>
    public (string Head, byte[] Body) ReadResponse(bool hasBody = true)
    {
        byte[] buffer = new byte[65536];
        var all = new List<byte>(pending);
        int end;
        while ((end = Find(all)) < 0)
        {
            int count = Receive(buffer);
            if (count == 0)
            {
                throw new EndOfStreamException($"The connection ended after {all.Count} bytes.");
            }

            all.AddRange(buffer.AsSpan(0, count));
        }

        string head = Encoding.Latin1.GetString([.. all.Take(end)]);
        int length = 0;
        if (hasBody && !head.StartsWith("HTTP/1.1 304", StringComparison.Ordinal))
        {
            string line = head.Split("\r\n").Single(l => l.StartsWith("Content-Length: ", StringComparison.Ordinal));
            length = int.Parse(line["Content-Length: ".Length..]);
        }

        while (all.Count < end + length)
        {
            int count = Receive(buffer);
            if (count == 0)
            {
                throw new EndOfStreamException($"The connection ended {end + length - all.Count} bytes early.");
            }

            all.AddRange(buffer.AsSpan(0, count));
        }

        pending = [.. all.Skip(end + length)];
        return (head, [.. all.Skip(end).Take(length)]);
    }

    public void Dispose() => socket.Dispose();

    private int Receive(byte[] buffer)
    {
        try
        {
            return socket.Receive(buffer);
        }
        catch (SocketException reset) when (reset.SocketErrorCode == SocketError.ConnectionReset)
        {
            return 0;
        }
    }

    private static int Find(List<byte> bytes)
    {
        int at = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(bytes).IndexOf("\r\n\r\n"u8);
        return at < 0 ? -1 : at + 4;
    }
}
