// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Text;

namespace Exo.Cli.Arguments;

/// <summary>UNIX sockets on a command line, and what is wrong with one. The runtime tells of a missing file as of an address that cannot be assigned.</summary>
internal static class SocketPath
{
    /// <summary>What the system takes, without the zero behind it.</summary>
    private const int BytesMax = 107;

    public static bool IsPossible(string path) => path.Length > 0 && Encoding.UTF8.GetByteCount(path) <= BytesMax;

    /// <summary>Why nobody can listen there.</summary>
    public static IOException CannotListen(string path, SocketException refused)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(path)) ?? "/";
        string why = !Directory.Exists(folder) ? $"the folder {folder} does not exist"
            : refused.SocketErrorCode == SocketError.AddressAlreadyInUse ? "something is there already"
            : refused.Message;
        return new IOException($"cannot listen on {path}: {why}", refused);
    }

    /// <summary>Why nobody can be reached there.</summary>
    public static IOException CannotConnect(string path, SocketException refused)
    {
        string why = !File.Exists(path) ? "no such socket"
            : refused.SocketErrorCode == SocketError.ConnectionRefused ? "nobody listens there"
            : refused.Message;
        return new IOException($"{path}: {why}", refused);
    }
}
