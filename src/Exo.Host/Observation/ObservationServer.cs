// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Exo.Core.Linux;
using Exo.Host.Protocol;

namespace Exo.Host;

/// <summary>
/// Lets a process that runs an exokernel be looked at: observers (<see cref="ExokernelObserver"/>, <c>exo top --socket</c>) connect to a UNIX socket and are told. They can ask for nothing else, and what they cost is bounded: ten snapshots a second for all of
/// them together, no thread. A <see cref="HostServer"/> tells observers at its own socket.
/// </summary>
public sealed class ObservationServer : IDisposable
{
    private readonly ObserverService _service;
    private readonly Reception _reception;
    private readonly Func<HostPeer, bool> _admit;

    private ObservationServer(string socketPath, Func<ExokernelSnapshot> take, int observersMax, Func<HostPeer, bool>? admit)
    {
        _admit = admit ?? IsOwnUserOrRoot;
        _service = new ObserverService(take, observersMax);
        _reception = new Reception(socketPath, Welcome);
    }

    /// <summary>Listens. A socket that is left over from a process that has gone is replaced.</summary>
    /// <param name="socketPath">Where: the path of a UNIX socket, at most 107 bytes.</param>
    /// <param name="take">Makes a snapshot; called by one thread at a time, any thread. <see cref="ObjectDisposedException"/> ends the connections.</param>
    /// <param name="observersMax">Observers at a time.</param>
    /// <param name="admit">Who may look; null: the process' own user, and the superuser.</param>
    /// <exception cref="SocketException">The socket cannot be made.</exception>
    public static ObservationServer Start(string socketPath, Func<ExokernelSnapshot> take, int observersMax = 8, Func<HostPeer, bool>? admit = null)
    {
        ArgumentNullException.ThrowIfNull(socketPath);
        ArgumentNullException.ThrowIfNull(take);
        ArgumentOutOfRangeException.ThrowIfLessThan(observersMax, 1);
        return new ObservationServer(socketPath, take, observersMax, admit);
    }

    /// <summary>Sends observers away and listens no more.</summary>
    public void Dispose()
    {
        _reception.Dispose();
        _service.Dispose();
    }

    internal static bool IsOwnUserOrRoot(HostPeer peer) => peer.User == 0 || peer.User == Libc.EffectiveUser();

    private void Welcome(Socket socket, HostPeer peer, Hello hello)
    {
        if (hello == Hello.Observer && _admit(peer))
        {
            _service.Serve(socket);
        }
        else
        {
            socket.Dispose();
        }
    }
}
