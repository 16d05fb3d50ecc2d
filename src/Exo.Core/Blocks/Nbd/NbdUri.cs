// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Exo.Core.Blocks.Nbd;

/// <summary>
/// An NBD URI (NetworkBlockDevice/nbd, doc/uri.md): <c>nbd://host:port/export</c>, <c>nbd+unix:///export?socket=/path</c>, and
/// with TLS <c>nbds://</c>, <c>nbds+unix://</c>. The export's name may be empty: the server's default.
/// </summary>
internal sealed class NbdUri
{
    private NbdUri(string text, string export, bool isTls, string host, int port, string? socketPath)
    {
        Text = text;
        Export = export;
        IsTls = isTls;
        Host = host;
        Port = port;
        SocketPath = socketPath;
    }

    public string Text { get; }

    public string Export { get; }

    public bool IsTls { get; }

    /// <summary>A name or an address without brackets; empty for a UNIX socket.</summary>
    public string Host { get; }

    public int Port { get; }

    public string? SocketPath { get; }

    /// <summary>Whether a path names an export rather than a file.</summary>
    public static bool IsNbd(string path) =>
        path.StartsWith("nbd://", StringComparison.Ordinal) || path.StartsWith("nbd+unix://", StringComparison.Ordinal)
        || path.StartsWith("nbds://", StringComparison.Ordinal) || path.StartsWith("nbds+unix://", StringComparison.Ordinal);

    /// <exception cref="NbdConnectionException">It is none of the forms above.</exception>
    public static NbdUri Parse(string text)
    {
        if (!IsNbd(text) || !Uri.TryCreate(text, UriKind.Absolute, out Uri? uri))
        {
            throw Malformed(text, "write nbd://host:port/export or nbd+unix:///export?socket=/path");
        }

        string export = Uri.UnescapeDataString(uri.AbsolutePath.TrimStart('/'));
        if (Encoding.UTF8.GetByteCount(export) > NbdProtocol.StringBytesMax)
        {
            throw Malformed(text, "the export's name is longer than 4,096 bytes");
        }

        // What is not understood is not passed over: a partition that was meant, and the whole disk that was written.
        if (uri.Fragment.Length > 0 || uri.UserInfo.Length > 0)
        {
            throw Malformed(text, "it has a partition or a user; ask the server for an export of that partition (and write # as %23)");
        }

        bool isTls = uri.Scheme.StartsWith("nbds", StringComparison.Ordinal);
        string? socketPath = null;
        foreach (string field in uri.Query.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            if (field.StartsWith("socket=", StringComparison.Ordinal))
            {
                socketPath = Uri.UnescapeDataString(field["socket=".Length..]);
            }
            else
            {
                throw Malformed(text, $"'{field}' is not known here");
            }
        }

        bool isUnix = uri.Scheme.EndsWith("+unix", StringComparison.Ordinal);
        if (isUnix != !string.IsNullOrEmpty(socketPath) || isUnix == (uri.Host.Length > 0))
        {
            throw Malformed(text, isUnix ? "nbd+unix needs ?socket=/path and no host" : "nbd needs a host and takes no socket");
        }

        try
        {
            _ = socketPath is null ? null : new UnixDomainSocketEndPoint(socketPath);
        }
        catch (ArgumentOutOfRangeException)
        {
            throw Malformed(text, "the socket's path is longer than the system takes");
        }

        return new NbdUri(text, export, isTls, uri.DnsSafeHost, uri.Port > 0 ? uri.Port : NbdProtocol.DefaultPort, socketPath);
    }

    /// <summary>Where to connect, in the order to try. Names are looked up now.</summary>
    /// <exception cref="NbdConnectionException">There is no such name.</exception>
    public EndPoint[] Resolve()
    {
        if (SocketPath is not null)
        {
            return [new UnixDomainSocketEndPoint(SocketPath)];
        }

        try
        {
            return [.. Dns.GetHostAddresses(Host).Select(address => new IPEndPoint(address, Port))];
        }
        catch (SocketException unknown)
        {
            throw new NbdConnectionException(Linux.Libc.ErrnoHostUnreachable, $"{Host}: {unknown.Message}");
        }
    }

    private static NbdConnectionException Malformed(string text, string why) =>
        NbdConnectionException.Refusal(Linux.Errno.EINVAL, $"'{text}' is not an NBD URI that can be used: {why}");
}
