// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Exo.Core.Linux;

namespace Exo.Host.Protocol;

/// <summary>
/// A listening UNIX socket, and those who have connected and not said yet what they want to be. Nobody waits for them: who says nothing is sent away after a while, and beyond a number of them whoever comes is.
/// </summary>
internal sealed class Reception : IDisposable
{
    private const int WaitingMax = 64;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);

    private readonly string _path;
    private readonly Socket _listener;
    private readonly Action<Socket, HostPeer, Hello> _welcome;
    private readonly CancellationTokenSource _stopping = new();
    private readonly Task _accepting;
    private int _waiting;

    /// <summary>Listens. A socket that is left over from somebody who has gone is replaced.</summary>
    /// <param name="path">Where; behind a zero character a name of the kernel's (abstract), which goes with the socket.</param>
    /// <param name="welcome">Takes over those who have said what they want; on any thread, on several at once.</param>
    /// <exception cref="SocketException">The socket cannot be made.</exception>
    public Reception(string path, Action<Socket, HostPeer, Hello> welcome)
    {
        _path = path;
        _welcome = welcome;
        _listener = Listen(path);
        _accepting = AcceptAsync();
    }

    /// <summary>Listens no more; when this returns nobody is welcomed any more.</summary>
    public void Dispose()
    {
        _stopping.Cancel();
        _listener.Dispose();
        _accepting.GetAwaiter().GetResult();
        SpinWait.SpinUntil(() => Volatile.Read(ref _waiting) == 0);
        if (!IsAbstract(_path))
        {
            File.Delete(_path);
        }
    }

    private static bool IsAbstract(string path) => path.StartsWith('\0');

    private static Socket Listen(string path)
    {
        UnixDomainSocketEndPoint endPoint = new(path);
        Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            SocketFile.RemoveLeftBehind(endPoint);
            listener.Bind(endPoint);
            listener.Listen(16);
            return listener;
        }
        catch
        {
            listener.Dispose();
            throw;
        }
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            Socket socket;
            try
            {
                socket = await _listener.AcceptAsync(_stopping.Token).ConfigureAwait(false);
            }
            catch (Exception exception) when (exception is SocketException or ObjectDisposedException or OperationCanceledException)
            {
                return;
            }

            if (Interlocked.Increment(ref _waiting) > WaitingMax)
            {
                Interlocked.Decrement(ref _waiting);
                socket.Dispose();
                continue;
            }

            _ = HearAsync(socket);
        }
    }

    private async Task HearAsync(Socket socket)
    {
        bool isWelcome = false;
        try
        {
            if (Libc.TryGetPeer((int)socket.Handle, out int process, out uint user, out uint group) && await HelloOfAsync(socket).ConfigureAwait(false) is { } hello)
            {
                _welcome(socket, new HostPeer(process, user, group), hello);
                isWelcome = true;
            }
        }
        catch (Exception exception) when (exception is IOException or SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // It has gone, or said nothing, or there is no memory for it.
        }
        finally
        {
            if (!isWelcome)
            {
                socket.Dispose();
            }

            Interlocked.Decrement(ref _waiting);
        }
    }

    private async Task<Hello?> HelloOfAsync(Socket socket)
    {
        byte[] said = new byte[sizeof(Hello)];
        using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
        patience.CancelAfter(s_patience);
        for (int received = 0; received < said.Length;)
        {
            int more = await socket.ReceiveAsync(said.AsMemory(received), patience.Token).ConfigureAwait(false);
            if (more == 0)
            {
                return null;
            }

            received += more;
        }

        return MemoryMarshal.Read<Hello>(said);
    }
}
