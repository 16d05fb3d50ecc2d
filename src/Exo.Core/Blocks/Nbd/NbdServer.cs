// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using System.Text;
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks.Nbd;

/// <summary>
/// Serves a device to NBD clients: qemu, nbd-client, nbdcopy, nbdkit, fio, another Exo. Clients may address single bytes. One
/// thread per client takes all requests that have arrived, gives them to the device as one batch and answers them together.
/// <para>
/// A flush on one connection covers what was acknowledged on all of them. What is written in pieces of a block is merged under a
/// lock, so that neighbours in the same block do not disturb one another. The device stays the caller's, who may use it meanwhile.
/// </para>
/// </summary>
public sealed class NbdServer : IDisposable
{
    private readonly NbdServerOptions _options;
    private readonly HashSet<NbdServerConnection> _connections = [];
    private readonly Lock _lock = new();
    private Socket? _listener;
    private Thread? _acceptor;
    private bool _isStopped;
    private long _requests;

    /// <summary>A server that does not listen yet.</summary>
    /// <param name="device">What is served. Its frame pool lends the server its buffers. Must outlive the server.</param>
    /// <param name="options">Null: read and write, on loopback at the usual port.</param>
    /// <exception cref="ArgumentException">The options make no sense.</exception>
    public NbdServer(BlockDevice device, NbdServerOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(device);
        _options = options ?? new NbdServerOptions();
        _options.Validate();
        Device = device;
        ExportName = Encoding.UTF8.GetBytes(_options.ExportName);
        IsReadOnly = _options.ReadOnly || device.Geometry.IsReadOnly;
        EndPoint = _options.EndPoint;
    }

    /// <summary>Where it listens; with the port that was taken, once started.</summary>
    public EndPoint EndPoint { get; private set; }

    /// <summary>Whether changes are refused.</summary>
    public bool IsReadOnly { get; }

    /// <summary>Requests answered so far.</summary>
    public long RequestCount => Volatile.Read(ref _requests);

    /// <summary>Clients connected now.</summary>
    public int ConnectionCount
    {
        get
        {
            lock (_lock)
            {
                return _connections.Count;
            }
        }
    }

    internal BlockDevice Device { get; }

    internal NbdServerOptions Options => _options;

    internal byte[] ExportName { get; }

    internal ulong LengthBytes => Device.Geometry.BlockCount * FramePool.FrameBytes;

    /// <summary>Shared by writes of whole blocks, alone for a write that must first read what it leaves of a block.</summary>
    internal ReaderWriterLockSlim Merging { get; } = new();

    internal ushort ExportFlags
    {
        get
        {
            int flags = NbdProtocol.ExportHasFlags | NbdProtocol.ExportMultipleConnections | NbdProtocol.ExportDontFragment;
            flags |= IsReadOnly
                ? NbdProtocol.ExportReadOnly
                : NbdProtocol.ExportFlush | NbdProtocol.ExportForceUnitAccess | NbdProtocol.ExportWriteZeroes
                    | (Device.Geometry.SupportsDiscard ? NbdProtocol.ExportTrim : 0);
            return (ushort)flags;
        }
    }

    /// <summary>Listens. A UNIX socket that a process left behind is bound anew.</summary>
    /// <exception cref="InvalidOperationException">It was started before.</exception>
    /// <exception cref="SocketException">The address is in use or not to be had.</exception>
    public void Start()
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_isStopped, this);
            if (_listener is not null)
            {
                throw new InvalidOperationException("The server has been started.");
            }

            AddressFamily family = EndPoint.AddressFamily;
            var listener = new Socket(family, SocketType.Stream, family == AddressFamily.Unix ? ProtocolType.Unspecified : ProtocolType.Tcp);
            try
            {
                if (EndPoint is UnixDomainSocketEndPoint unix)
                {
                    SocketFile.RemoveLeftBehind(unix);
                }

                listener.Bind(EndPoint);
                listener.Listen(128);
            }
            catch
            {
                listener.Dispose();
                throw;
            }

            EndPoint = listener.LocalEndPoint ?? EndPoint;
            _listener = listener;
            _acceptor = new Thread(Accept) { IsBackground = true, Name = "exo nbd acceptor" };
            _acceptor.UnsafeStart();
        }
    }

    /// <summary>Turns clients away: requests that are with the device are finished, not all of them answered. Does not flush.</summary>
    public void Dispose()
    {
        NbdServerConnection[] left;
        lock (_lock)
        {
            if (_isStopped)
            {
                return;
            }

            _isStopped = true;
            left = [.. _connections];
            foreach (NbdServerConnection connection in left)
            {
                connection.Stop();
            }
        }

        _listener?.Dispose();
        _acceptor?.Join();
        foreach (NbdServerConnection connection in left)
        {
            connection.Join();
        }

        Merging.Dispose();
    }

    internal void CountRequests(int count) => Interlocked.Add(ref _requests, count);

    /// <summary>Called by a connection's own thread, last.</summary>
    internal void Remove(NbdServerConnection connection)
    {
        lock (_lock)
        {
            _connections.Remove(connection);
        }
    }

    private void Accept()
    {
        while (true)
        {
            Socket client;
            try
            {
                client = _listener!.Accept();
            }
            catch (SocketException refused) when (!Volatile.Read(ref _isStopped)
                && refused.SocketErrorCode is SocketError.ConnectionAborted or SocketError.ConnectionReset or SocketError.TooManyOpenSockets or SocketError.NoBufferSpaceAvailable)
            {
                Thread.Sleep(10); // A client that left already, or no descriptors: neither lasts, neither must spin.
                continue;
            }
            catch (Exception closed) when (closed is SocketException or ObjectDisposedException)
            {
                return;
            }

            lock (_lock)
            {
                if (_isStopped || _connections.Count >= _options.ConnectionsMax)
                {
                    client.Dispose();
                    continue;
                }

                SocketTransport.Tune((int)client.Handle, client.AddressFamily);
                var connection = new NbdServerConnection(this, new AcceptedTransport(client));
                _connections.Add(connection);
                connection.Start();
            }
        }
    }
}
