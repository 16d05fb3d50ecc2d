// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Text;
using Exo.Adapters.Fuse;
using Exo.Cli.Output;
using Exo.Core.Linux;
using Exo.Host.Protocol;

namespace Exo.Cli.Administration;

/// <summary>Has the process that serves a mount do something, and waits for what comes of it. For one request.</summary>
internal sealed class AdministrationClient : IDisposable
{
    private readonly Socket _socket;
    private readonly string _what;

    private AdministrationClient(Socket socket, string what)
    {
        _socket = socket;
        _what = what;
    }

    /// <summary>Connects to the process that serves a mount. Sockets of that name that are not of the user who has mounted are passed over.</summary>
    /// <exception cref="IOException">Nobody listens, or he does not listen to this user.</exception>
    public static AdministrationClient Connect(FuseMountPoint mount)
    {
        string what = $"{mount.Source} is mounted on {mount.Directory}";
        foreach (string name in Listening(File.ReadLines("/proc/net/unix"), AdministrationFrames.NameOf(mount.ConnectionNumber)))
        {
            Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                socket.Connect(new UnixDomainSocketEndPoint('\0' + name));
                if (Libc.TryGetPeer((int)socket.Handle, out _, out uint user, out _) && user == mount.User)
                {
                    return new AdministrationClient(socket, what);
                }
            }
            catch (SocketException)
            {
                // It has just gone.
            }

            socket.Dispose();
        }

        throw new IOException($"{what} by a process that takes no commands; {MountedImage.Advice(mount)}");
    }

    /// <summary>Names of the kernel's that sockets listen at.</summary>
    internal static List<string> Listening(IEnumerable<string> lines, string prefix)
    {
        const string Accepting = "00010000";
        List<string> names = [];
        foreach (string line in lines)
        {
            // address: references protocol flags type state inode name
            string[] fields = line.Split(' ', 8, StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length == 8 && fields[3] == Accepting && fields[7].StartsWith('@') && fields[7].AsSpan(1).StartsWith(prefix, StringComparison.Ordinal))
            {
                names.Add(fields[7][1..]);
            }
        }

        return names;
    }

    /// <summary>Has a request carried out.</summary>
    /// <exception cref="IOException">It was refused or failed, in the words of who was to do it; or he has gone.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled, and has ended.</exception>
    public TResult Ask<TResult>(VolumeRequest<TResult> request, StepCounts counts, CancellationToken cancellationToken)
        where TResult : VolumeResult
    {
        try
        {
            _socket.Send(BitConverter.GetBytes((ulong)Hello.Administrator));
            AdministrationFrames.SendAsync(_socket, AdministrationFrames.Frame(request), CancellationToken.None).GetAwaiter().GetResult();
            using CancellationTokenRegistration cancelling = cancellationToken.Register(Cancel);
            while (AdministrationFrames.ReceiveAsync(_socket, AdministrationFrames.ReplyBytesMax, CancellationToken.None).GetAwaiter().GetResult() is { } json
                && AdministrationFrames.ParseReply(json) is { } reply)
            {
                counts.Set(reply.Done, reply.Expected);
                if (!reply.IsLast)
                {
                    continue;
                }

                return reply.Result as TResult
                    ?? throw (reply.IsCancelled ? new OperationCanceledException(cancellationToken) : new IOException(Harmless(reply.Error ?? $"{_what}: an answer to something else")));
            }
        }
        catch (SocketException)
        {
            // The same as a connection that ends.
        }

        throw new IOException($"{_what}: the process that serves it has gone, or does not let this user do it");
    }

    public void Dispose() => _socket.Dispose();

    private void Cancel()
    {
        try
        {
            _socket.Send("\u0018"u8);
        }
        catch (Exception gone) when (gone is SocketException or ObjectDisposedException)
        {
            // Whoever waits for the answer finds out.
        }
    }

    /// <summary>Another user's words do not control this user's terminal.</summary>
    private static string Harmless(string line)
    {
        StringBuilder plain = new(line.Length);
        foreach (char c in line)
        {
            plain.Append(char.IsControl(c) ? '?' : c);
        }

        return plain.ToString();
    }
}
