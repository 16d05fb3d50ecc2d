// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Text;

namespace Exo.Core.Linux;

/// <summary>The name of a UNIX socket in the file system, which outlives a process that was killed.</summary>
internal static class SocketFile
{
    /// <summary>Removes a socket that nobody listens at, so that it can be bound anew. A file of another kind stays, and one whose owner is busy or lets nobody in: binding is refused then.</summary>
    public static void RemoveLeftBehind(UnixDomainSocketEndPoint endPoint)
    {
        // An abstract name is shown with '@' and has no file; a file of that name is somebody else's.
        string path = endPoint.ToString();
        if (!path.StartsWith('@') && IsSocket(path) && IsRefused(endPoint))
        {
            File.Delete(path);
        }
    }

    private static unsafe bool IsSocket(string path)
    {
        StatxBuffer status;
        fixed (byte* name = Encoding.UTF8.GetBytes(path + '\0'))
        {
            return Libc.Statx(Abi.AT_FDCWD, name, FileAbi.AT_SYMLINK_NOFOLLOW, Abi.STATX_BASIC_STATS, &status) == 0 && (status.Mode & Abi.S_IFMT) == Abi.S_IFSOCK;
        }
    }

    private static bool IsRefused(UnixDomainSocketEndPoint endPoint)
    {
        using Socket probe = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { Blocking = false };
        try
        {
            probe.Connect(endPoint);
            return false;
        }
        catch (SocketException failure)
        {
            return failure.SocketErrorCode == SocketError.ConnectionRefused;
        }
    }
}
