// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// What a user of connections on the stack's own thread implements. Calls come from within <see cref="NetworkStack.Poll"/>, one at a time; a
/// handler may call the connection's methods and must not block. Nothing is allocated for a call.
/// </summary>
public interface ITcpHandler
{
    /// <summary>The handshake is done. Not called for a connection that fails before.</summary>
    void OnOpened(TcpConnection connection);

    /// <summary>Bytes have come, in order. They are valid during the call.</summary>
    /// <returns>How many are done with; the rest is kept, closes the window, and comes again together with what follows it.</returns>
    int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes);

    /// <summary>The peer has acknowledged bytes: <see cref="TcpConnection.QueuedBytes"/> is less.</summary>
    void OnAcknowledged(TcpConnection connection);

    /// <summary>The peer has sent its last byte; this side may go on sending.</summary>
    void OnPeerClosed(TcpConnection connection);

    /// <summary>The connection is over; the last call. What was queued has been given back.</summary>
    void OnClosed(TcpConnection connection, TcpCloseReason reason);
}
