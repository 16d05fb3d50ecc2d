// SPDX-License-Identifier: MIT
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Network;

/// <summary>The system calls of a process that are about sockets; what they return is a descriptor.</summary>
internal sealed class SocketCalls(Process self)
{
    /// <summary>Listens at a port.</summary>
    /// <exception cref="ExosException">AddressInUse; Invalid.</exception>
    public async ValueTask<int> ListenAsync(int port) => self.Descriptors.Add(new ListeningSocket(await self.System.Network.ListenAsync(port), port));

    /// <summary>The next connection of a socket that listens.</summary>
    /// <exception cref="ExosException">Interrupted; Invalid: it does not listen.</exception>
    public async ValueTask<int> AcceptAsync(int descriptor)
    {
        ListeningSocket socket = self.Descriptors[descriptor] as ListeningSocket ?? throw new ExosException(Errno.Invalid);
        while (true)
        {
            if (self.Signals.Deliver())
            {
                throw new ExosException(Errno.Interrupted);
            }

            try
            {
                return self.Descriptors.Add(await socket.AcceptAsync(self));
            }
            catch (OperationCanceledException)
            {
                // A signal.
            }
        }
    }

    /// <summary>Connects.</summary>
    /// <exception cref="ExosException">ConnectionRefused; NotFound; Interrupted.</exception>
    public async ValueTask<int> ConnectAsync(string host, int port)
    {
        try
        {
            return self.Descriptors.Add(new ConnectedSocket(await self.System.Network.ConnectAsync(host, port, self.Signals.Interruption)));
        }
        catch (OperationCanceledException)
        {
            _ = self.Signals.Deliver();
            throw new ExosException(Errno.Interrupted);
        }
    }

    /// <summary>Sends the end of what is written.</summary>
    public ValueTask ShutDownAsync(int descriptor) => (self.Descriptors[descriptor] as ConnectedSocket ?? throw new ExosException(Errno.Invalid)).ShutDownAsync();
}
