// SPDX-License-Identifier: MIT
using System.Net;
using System.Threading.Channels;

namespace Exo.Net.Cheetah.Pipes;

/// <summary>Accepts connections at a port of a stack that somebody polls. For any thread.</summary>
public sealed class TcpPipeListener : IAsyncDisposable
{
    private readonly NetworkStack stack;
    private readonly Channel<TcpPipeConnection> waiting;
    private readonly IPEndPoint endPoint;

    private TcpPipeListener(NetworkStack stack, IPEndPoint endPoint, int backlog)
    {
        this.stack = stack;
        this.endPoint = endPoint;
        waiting = Channel.CreateBounded<TcpPipeConnection>(new BoundedChannelOptions(backlog) { FullMode = BoundedChannelFullMode.Wait });
    }

    /// <summary>Begins to listen with the stack's next poll.</summary>
    /// <param name="stack">The stack.</param>
    /// <param name="port">1 to 65535.</param>
    /// <param name="backlog">Connections that may wait to be accepted; one more is reset.</param>
    /// <param name="options">How the pipes behave; null: the defaults.</param>
    /// <exception cref="InvalidOperationException">The port is listened on already.</exception>
    public static Task<TcpPipeListener> StartAsync(NetworkStack stack, int port, int backlog = 1024, TcpPipeOptions? options = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(port, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(port, ushort.MaxValue);
        return StartAsync(stack, new IPEndPoint(IPAddress.IPv6Any, port), backlog, options);
    }

    /// <summary>Begins to listen at an end with the stack's next poll: <see cref="NetworkStack.Listen(IPEndPoint, Tcp.ITcpHandler)"/>.</summary>
    /// <param name="stack">The stack.</param>
    /// <param name="endPoint">One of the stack's addresses, or <see cref="IPAddress.Any"/> or <see cref="IPAddress.IPv6Any"/> for all; and a port.</param>
    /// <param name="backlog">Connections that may wait to be accepted; one more is reset.</param>
    /// <param name="options">How the pipes behave; null: the defaults.</param>
    /// <exception cref="InvalidOperationException">That very end is listened on already, or the stack has no such address.</exception>
    public static async Task<TcpPipeListener> StartAsync(NetworkStack stack, IPEndPoint endPoint, int backlog = 1024, TcpPipeOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(stack);
        ArgumentNullException.ThrowIfNull(endPoint);
        ArgumentOutOfRangeException.ThrowIfLessThan(backlog, 1);
        var listener = new TcpPipeListener(stack, endPoint, backlog);
        var started = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        stack.Post(() =>
        {
            try
            {
                stack.Listen(endPoint, new PipeHandler(stack, listener, options ?? TcpPipeOptions.Default));
                started.SetResult();
            }
            catch (Exception failure) when (failure is InvalidOperationException or ArgumentException or IOException)
            {
                started.SetException(failure);
            }
        });
        await started.Task.ConfigureAwait(false);
        return listener;
    }

    /// <summary>The next connection, when there is one.</summary>
    /// <exception cref="ChannelClosedException">The listener was disposed.</exception>
    public ValueTask<TcpPipeConnection> AcceptAsync(CancellationToken cancellationToken = default) => waiting.Reader.ReadAsync(cancellationToken);

    /// <summary>Listens no more; connections that nobody has accepted are reset.</summary>
    public ValueTask DisposeAsync()
    {
        stack.Post(() => stack.StopListening(endPoint));
        waiting.Writer.TryComplete();
        while (waiting.Reader.TryRead(out TcpPipeConnection? left))
        {
            left.Abort();
        }

        return ValueTask.CompletedTask;
    }

    internal bool TryOffer(TcpPipeConnection connection) => waiting.Writer.TryWrite(connection);
}
