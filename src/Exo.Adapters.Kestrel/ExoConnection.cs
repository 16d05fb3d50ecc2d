// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using Exo.Net.Cheetah.Pipes;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;

namespace Exo.Adapters.Kestrel;

/// <summary>
/// A connection as Kestrel knows it. Its transport is the connection's own pipes: what Kestrel writes lies in the frames from which it leaves, and is held back when the peer does not take it.
/// As with Kestrel's sockets, <see cref="ConnectionClosed"/> is cancelled when the peer has sent its last byte; reads of a connection that was reset end with a
/// <see cref="ConnectionResetException"/>, of one that was aborted here with the <see cref="ConnectionAbortedException"/>, and flushes then say that nobody reads.
/// </summary>
internal sealed class ExoConnection : ConnectionContext, IConnectionIdFeature, IConnectionTransportFeature, IConnectionItemsFeature, IConnectionLifetimeFeature, IConnectionEndPointFeature, IMemoryPoolFeature
{
    // Not repeated when the process starts again, so that logs can be told apart.
    private static long s_lastId = DateTime.UtcNow.Ticks;

    private readonly TcpPipeConnection pipes;
    private readonly CancellationTokenSource closed = new();
    private readonly long id = Interlocked.Increment(ref s_lastId);
    private string? name;
    private IDictionary<object, object?>? items;

    public ExoConnection(TcpPipeConnection pipes, MemoryPool<byte> memory)
    {
        this.pipes = pipes;
        MemoryPool = memory;
        Transport = pipes;
        LocalEndPoint = pipes.LocalEndPoint;
        RemoteEndPoint = pipes.RemoteEndPoint;
        ConnectionClosed = closed.Token;
        Features.Set<IConnectionIdFeature>(this);
        Features.Set<IConnectionTransportFeature>(this);
        Features.Set<IConnectionItemsFeature>(this);
        Features.Set<IConnectionLifetimeFeature>(this);
        Features.Set<IConnectionEndPointFeature>(this);
        Features.Set<IMemoryPoolFeature>(this);
        _ = CloseWithInputAsync();
    }

    public override string ConnectionId
    {
        get => name ??= id.ToString("X", CultureInfo.InvariantCulture);
        set => name = value;
    }

    public override IFeatureCollection Features { get; } = new FeatureCollection(16);

    public override IDictionary<object, object?> Items
    {
        get => items ??= new Dictionary<object, object?>();
        set => items = value;
    }

    public override IDuplexPipe Transport { get; set; }

    public override CancellationToken ConnectionClosed { get; set; }

    public override EndPoint? LocalEndPoint { get; set; }

    public override EndPoint? RemoteEndPoint { get; set; }

    public MemoryPool<byte> MemoryPool { get; }

    public override void Abort(ConnectionAbortedException abortReason) => pipes.Abort(abortReason);

    public override void Abort() => Abort(new ConnectionAbortedException());

    /// <summary>Closes: what was flushed is still delivered, by the stack and after this has returned, as a kernel would.</summary>
    public override async ValueTask DisposeAsync()
    {
        await pipes.DisposeAsync().ConfigureAwait(false);
        await base.DisposeAsync().ConfigureAwait(false);
    }

    private async Task CloseWithInputAsync()
    {
        await pipes.InputEnded.ConfigureAwait(false);
        await closed.CancelAsync().ConfigureAwait(false);
    }
}
