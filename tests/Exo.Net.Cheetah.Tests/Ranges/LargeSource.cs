// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Net.Cheetah.Tests.Sockets;

namespace Exo.Net.Cheetah.Tests.Ranges;

/// <summary>
/// Documents of any length, <c>/NUMBER</c> with as many bytes, that nobody has in memory: each byte follows from its place, and from the version. Reads can be held back, fail, and find the document changed. What is not a number comes
/// from another source.
/// </summary>
internal sealed class LargeSource(FramePool frames, IDocumentSource? others = null) : IDocumentSource
{
    private readonly FramePool pool = frames;
    private readonly Lock gate = new();
    private readonly Queue<TaskCompletionSource> held = new();
    private long bytesRead;
    private int lookups;

    public volatile int Version;

    /// <summary>Reads from this byte on fail.</summary>
    public long FailsFrom { get; set; } = long.MaxValue;

    /// <summary>Reads from this byte on wait to be let go.</summary>
    public long HoldsFrom { get; set; } = long.MaxValue;

    /// <summary>Gives arrays and no frames.</summary>
    public bool GivesBytes { get; init; }

    /// <summary>Says yes to what is out of date, as a source does that has not heard of the change yet.</summary>
    public bool IsBehind { get; set; }

    public long BytesRead => Volatile.Read(ref bytesRead);

    public int Lookups => Volatile.Read(ref lookups);

    public int HeldCount
    {
        get
        {
            lock (gate)
            {
                return held.Count;
            }
        }
    }

    public static byte At(long place, int version = 0) => (byte)(((ulong)(place + version) * 0x9E37_79B9_7F4A_7C15) >> 53);

    public static void Check(ReadOnlySpan<byte> bytes, long place, int version = 0)
    {
        for (int i = 0; i < bytes.Length; i++)
        {
            if (bytes[i] != At(place + i, version))
            {
                Assert.Fail($"byte {place + i} is {bytes[i]} and not {At(place + i, version)}");
            }
        }
    }

    /// <summary>Lets all reads go that wait now.</summary>
    public void LetGo()
    {
        while (true)
        {
            TaskCompletionSource? one;
            lock (gate)
            {
                if (!held.TryDequeue(out one))
                {
                    return;
                }
            }

            one.SetResult();
        }
    }

    public ValueTask<DocumentLookup> FindAsync(ReadOnlyMemory<byte> path, CancellationToken cancellationToken)
    {
        if (!long.TryParse(path.Span[1..].ToArray(), out long lengthBytes))
        {
            return others?.FindAsync(path, cancellationToken) ?? ValueTask.FromResult(new DocumentLookup(DocumentLookupStatus.NotFound));
        }

        Interlocked.Increment(ref lookups);
        int version = Version;
        return ValueTask.FromResult(DocumentLookup.Found(DocumentContent.FromRanges(new Reader(this, version), lengthBytes, DateTimeOffset.UnixEpoch.AddDays(20_000), (UInt128)version, "application/octet-stream", version)));
    }

    public bool IsCurrent(DocumentContent content) => content.State is int version ? IsBehind || version == Version : others!.IsCurrent(content);

    private sealed class Reader(LargeSource source, int version) : IDocumentRanges
    {
        private int disposed;

        public async ValueTask<DocumentRange?> ReadAsync(long offsetBytes, int lengthBytes, CancellationToken cancellationToken)
        {
            Assert.Equal(0, disposed);
            Assert.Equal(0, offsetBytes % 4096);
            Assert.InRange(lengthBytes, 1, 262_144);
            if (offsetBytes + lengthBytes > source.HoldsFrom)
            {
                var turn = new TaskCompletionSource();
                lock (source.gate)
                {
                    source.held.Enqueue(turn);
                }

                await turn.Task.WaitAsync(cancellationToken);
            }

            Interlocked.Add(ref source.bytesRead, lengthBytes);
            if (version != source.Version)
            {
                return null;
            }

            if (offsetBytes + lengthBytes > source.FailsFrom)
            {
                throw new IOException("the disk is gone");
            }

            byte[] bytes = new byte[lengthBytes];
            for (int i = 0; i < bytes.Length; i++)
            {
                bytes[i] = At(offsetBytes + i, version);
            }

            if (source.GivesBytes)
            {
                return DocumentRange.FromBytes(bytes);
            }

            if (Document.CopyIn(source.pool, bytes) is not { } runs)
            {
                return DocumentRange.OutOfFrames;
            }

            return DocumentRange.FromFrames(runs, 0, lengthBytes, new Owner(source.pool, runs));
        }

        public void Dispose() => Assert.Equal(1, Interlocked.Increment(ref disposed));
    }


    private sealed class Owner(FramePool frames, DocumentRun[] runs) : IDisposable
    {
        private int disposed;

        public void Dispose()
        {
            Assert.Equal(1, Interlocked.Increment(ref disposed));
            Document.ReleaseRuns(frames, runs);
        }
    }
}

/// <summary>A server of <see cref="LargeSource"/> on sockets; frames must all be free again when it is gone.</summary>
internal sealed class LargeServer : IAsyncDisposable
{
    private readonly MemoryDocumentSource small;

    public LargeServer(long poolBytes = 16 << 20, bool givesBytes = false, Func<CheetahServerOptions, CheetahServerOptions>? change = null)
    {
        Frames = FramePool.Create(new FramePoolOptions { CapacityBytes = poolBytes });
        small = new MemoryDocumentSource(Frames);
        Source = new LargeSource(Frames, small) { GivesBytes = givesBytes };
        CheetahServerOptions options = TestServer.Options();
        Server = new CheetahServer(change?.Invoke(options) ?? options, Source, Frames);
        Server.Start();
    }

    public FramePool Frames { get; }

    public LargeSource Source { get; }

    public MemoryDocumentSource Small => small;

    public CheetahServer Server { get; }

    public RawClient Connect(int? receiveBufferBytes = null) => new(Server.EndPoint, receiveBufferBytes);

    public async ValueTask DisposeAsync()
    {
        Source.HoldsFrom = long.MaxValue;
        await Server.DisposeAsync();
        small.Dispose();
        Assert.Equal(0, Server.Cache.Windows.HeldBytes);
        Assert.Equal(0, Server.Cache.Windows.FlowCount);
        Assert.Equal(Frames.FrameCount, Frames.FreeCount);
        Frames.Dispose();
    }
}
