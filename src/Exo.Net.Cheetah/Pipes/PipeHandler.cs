// SPDX-License-Identifier: MIT
using System.IO.Pipelines;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah.Pipes;

/// <summary>Passes on what the stack says to the pipes of a connection, which is its tag; a tag that is a task source is a connection being opened.</summary>
internal sealed class PipeHandler(NetworkStack stack, TcpPipeListener? listener, TcpPipeOptions options) : ITcpHandler
{
    private readonly PipeOptions output = TcpPipeConnection.OutputOptions(stack);

    public void OnOpened(TcpConnection connection)
    {
        var pipes = new TcpPipeConnection(stack, options, output, connection, stack.Tcp.Options.ReceiveWindowBytes);
        if (connection.Tag is TaskCompletionSource<TcpPipeConnection> opening)
        {
            pipes.Begin(connection);
            if (!opening.TrySetResult(pipes))
            {
                connection.Abort();
            }
        }
        else if (listener!.TryOffer(pipes))
        {
            pipes.Begin(connection);
        }
        else
        {
            connection.Abort();
        }
    }

    public int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes) => (connection.Tag as TcpPipeConnection)?.TakeIn(bytes) ?? bytes.Length;

    public void OnAcknowledged(TcpConnection connection)
    {
    }

    public void OnPeerClosed(TcpConnection connection) => (connection.Tag as TcpPipeConnection)?.PeerClosed();

    public void OnClosed(TcpConnection connection, TcpCloseReason reason)
    {
        switch (connection.Tag)
        {
            case TcpPipeConnection pipes:
                pipes.Ended(reason);
                break;
            case TaskCompletionSource<TcpPipeConnection> opening:
                opening.TrySetException(new TcpConnectionException(reason));
                break;
        }
    }
}
