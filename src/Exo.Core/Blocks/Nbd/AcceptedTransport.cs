// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Exo.Core.Linux;

namespace Exo.Core.Blocks.Nbd;

/// <summary>The server's end: a socket that the BCL accepted, which stays its owner, used by system calls.</summary>
internal sealed unsafe class AcceptedTransport(Socket socket) : NbdTransport
{
    private readonly SocketTransport _inner = new((int)socket.Handle);

    public override bool CanSendWithoutWaiting => true;

    public override long Send(IoVector* vectors, int count, bool mayWait) => _inner.Send(vectors, count, mayWait);

    public override long Receive(IoVector* vectors, int count) => _inner.Receive(vectors, count);

    public override void Shutdown() => _inner.Shutdown();

    public override void SetTimeouts(int receiveMs, int sendMs) => _inner.SetTimeouts(receiveMs, sendMs);

    public override void Dispose() => socket.Dispose();
}
