// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Exo.Cli.Arguments;
using Exo.Core.Memory;
using Exo.Host;
using Exo.Storage.XN;

namespace Exo.Cli.Top;

/// <summary>Lets verbs that keep a volume open, or serve, be looked at (<c>--observe</c>).</summary>
internal static class Observation
{
    /// <summary>Listens; null where nobody asked for it.</summary>
    /// <exception cref="IOException">The socket cannot be made.</exception>
    public static ObservationServer? Start(string? socketPath, string name, FramePool frames, XnVolume? disk, Func<IReadOnlyList<CounterSnapshot>> counters)
    {
        if (socketPath is null)
        {
            return null;
        }

        try
        {
            // A background process leaves its directory.
            return ObservationServer.Start(Path.GetFullPath(socketPath), () => ExokernelSnapshot.Take(name, frames, disk) with { Counters = counters() });
        }
        catch (ArgumentOutOfRangeException)
        {
            throw new IOException($"cannot listen on {socketPath}: as an absolute path it is longer than the system takes");
        }
        catch (SocketException refused)
        {
            throw SocketPath.CannotListen(socketPath, refused);
        }
    }
}
