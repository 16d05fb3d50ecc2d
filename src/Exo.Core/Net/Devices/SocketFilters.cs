// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;
using Exo.Core.Linux;
using Exo.Core.PacketFilters;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Net;

/// <summary>
/// A filter tree in front of a packet socket. A packet socket is shown a packet beside the kernel, so one tree is two programs: at the socket, which gets what some filter accepts,
/// and at the interface's ingress hook, where just that ends and the kernel does not see it.
/// <code>
///   packet --> handlers (if any) at the hook --> accepted by a filter?  yes: ends at the hook, and is in the socket
///                                                                       no:  goes on in the kernel, and is not in the socket
/// </code>
/// The hook is exchanged first: while only one program is the new one, a packet of a new filter is lost rather than dealt with twice. Thread-safe.
/// </summary>
internal sealed unsafe class SocketFilters : IDisposable
{
    private readonly string _interfaceName;
    private readonly PacketFilterTree _filters;
    private readonly IngressHook _hook;
    private readonly Lock _lock = new();
    private Program? _receive;
    private long _version;
    private int _socket = -1;
    private bool _isDisposed;

    private SocketFilters(string interfaceName, PacketFilterTree filters, IngressHook hook)
    {
        _interfaceName = interfaceName;
        _filters = filters;
        _hook = hook;
    }

    /// <summary>Takes a place at the hook, behind the handlers' if that is taken already.</summary>
    /// <exception cref="NetworkDeviceException">The kernel has no such hook, or no rights were given.</exception>
    public static SocketFilters Attach(NetworkLink link, PacketFilterTree filters) => new(link.Name, filters, IngressHook.Attach(link));

    /// <summary>Puts the filters in front of a socket that hears nothing yet.</summary>
    public void Guard(int socket)
    {
        lock (_lock)
        {
            _socket = socket;
            Install();
        }
    }

    /// <summary>The filters may have changed.</summary>
    /// <exception cref="NetworkDeviceException">The kernel refused.</exception>
    /// <exception cref="InvalidOperationException">The filters make too long a program; the old one stays.</exception>
    public void Update()
    {
        if (Volatile.Read(ref _version) != _filters.Version)
        {
            lock (_lock)
            {
                if (!_isDisposed)
                {
                    Install();
                }
            }
        }
    }

    /// <summary>Of what is accepted only that which another program lets through is to come up; null: all of it.</summary>
    public void SetReceive(Program? receive)
    {
        lock (_lock)
        {
            Program? before = _receive;
            _receive = receive;
            try
            {
                Install();
            }
            catch
            {
                _receive = before;
                throw;
            }
        }
    }

    /// <summary>Gives the place at the hook up.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _isDisposed = true;
            _hook.Dispose();
        }
    }

    private void Install()
    {
        // The version first: a filter that comes in between is looked at twice.
        long version = _filters.Version;
        if (_filters.ToIngressProgram() is not { } ingress || _filters.ToSocketProgram(_receive) is not { } socket)
        {
            throw new InvalidOperationException("The filters make a program longer than 32,767 slots.");
        }

        using SafeFileHandle loaded = IngressHook.Load(_interfaceName, BpfAbi.PROG_TYPE_SOCKET_FILTER, socket);
        _hook.Set(ingress);
        int descriptor = (int)loaded.DangerousGetHandle();
        if (Libc.SetSocketOption(_socket, Libc.SolSocket, PacketAbi.SO_ATTACH_BPF, &descriptor, sizeof(int)) != 0)
        {
            int errno = Errno.Last;
            throw new NetworkDeviceException(errno, _interfaceName, $"Cannot put filters in front of the socket on {_interfaceName}: {Errno.Describe(errno)}.");
        }

        Volatile.Write(ref _version, version);
    }
}
