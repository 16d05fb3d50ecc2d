// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text.Json;
using Exo.Host.Protocol;

namespace Exo.Host;

/// <summary>
/// Looks at an exokernel in another process: a <see cref="HostServer"/>, or one that has an <see cref="ObservationServer"/>. It takes nothing from those it looks at but the making of a snapshot. Thread-safe; what is asked for is asked one thing after the other.
/// </summary>
public sealed class ExokernelObserver : IDisposable
{
    /// <summary>More than any host sends.</summary>
    private const int SnapshotBytesMax = 64 << 20;

    private readonly Socket _socket;
    private readonly SemaphoreSlim _turn = new(1);

    private ExokernelObserver(Socket socket) => _socket = socket;

    /// <summary>Connects to whoever listens there.</summary>
    /// <param name="socketPath">The socket.</param>
    /// <exception cref="SocketException">Nobody listens there, or this user may not connect.</exception>
    public static ExokernelObserver Attach(string socketPath)
    {
        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(socketPath));
            socket.Send(BitConverter.GetBytes((ulong)Hello.Observer));
            return new ExokernelObserver(socket);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>What there is to be seen, after this was called.</summary>
    /// <exception cref="HostException">Whoever listens has gone, does not let this process look, or sends something else.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; the observer is of no use any more.</exception>
    public async Task<ExokernelSnapshot> ObserveAsync(CancellationToken cancellationToken = default)
    {
        byte[] json = await ObserveJsonAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            return ExokernelSnapshot.FromJson(json);
        }
        catch (JsonException exception)
        {
            throw new HostException(HostStatus.Malformed, $"What it sent is no snapshot: {exception.Message}");
        }
    }

    /// <summary><see cref="ObserveAsync"/> as it comes: <see cref="ExokernelSnapshot.ToJson"/>.</summary>
    /// <exception cref="HostException">Whoever listens has gone, does not let this process look, or sends something else.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; the observer is of no use any more.</exception>
    public async Task<byte[]> ObserveJsonAsync(CancellationToken cancellationToken = default)
    {
        await _turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            byte[] length = new byte[sizeof(uint)];
            await _socket.SendAsync(new[] { (byte)ObserverRequest.Observe }, cancellationToken).ConfigureAwait(false);
            await ReceiveAsync(length, cancellationToken).ConfigureAwait(false);
            uint bytes = BinaryPrimitives.ReadUInt32LittleEndian(length);
            if (bytes > SnapshotBytesMax)
            {
                throw new HostException(HostStatus.Malformed, $"Whoever listens there sends {bytes} bytes; that is no snapshot.");
            }

            byte[] json = new byte[bytes];
            await ReceiveAsync(json, cancellationToken).ConfigureAwait(false);
            return json;
        }
        catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
        {
            throw Gone();
        }
        catch (OperationCanceledException)
        {
            // Half of an answer may be under way: the next one could not be told from it.
            _socket.Dispose();
            throw;
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Ends the connection.</summary>
    public void Dispose() => _socket.Dispose();

    private static HostException Gone() => new(HostStatus.Disconnected, "Whoever listened there has gone, or does not let this process look.");

    private async Task ReceiveAsync(Memory<byte> into, CancellationToken cancellationToken)
    {
        while (!into.IsEmpty)
        {
            int received = await _socket.ReceiveAsync(into, cancellationToken).ConfigureAwait(false);
            if (received == 0)
            {
                throw Gone();
            }

            into = into[received..];
        }
    }
}
