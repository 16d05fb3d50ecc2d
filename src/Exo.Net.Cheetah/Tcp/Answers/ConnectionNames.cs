// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Net.Cheetah.Tcp.Answers;

/// <summary>Who a connection is between, as a handler's program has it; behind the word in both kinds of connections of an <see cref="AnswerTable"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal record struct ConnectionNames
{
    // From the beginning of a connection.
    public const int At = 8, RemoteHighAt = At, RemoteLowAt = At + 8, LocalHighAt = At + 16, LocalLowAt = At + 24, PortsAt = At + 32;

    public ulong RemoteHigh;
    public ulong RemoteLow;
    public ulong LocalHigh;
    public ulong LocalLow;

    /// <summary>The local port, above the remote one.</summary>
    public ulong Ports;

    /// <summary>The names of one of the stack's connections.</summary>
    public static ConnectionNames Of(in ConnectionKey key) => new()
    {
        RemoteHigh = key.Remote.High,
        RemoteLow = key.Remote.Low,
        LocalHigh = key.Local.High,
        LocalLow = key.Local.Low,
        Ports = PortsOf(key),
    };

    /// <summary>The ports alone.</summary>
    public static ulong PortsOf(in ConnectionKey key) => ((ulong)key.LocalPort << 16) | key.RemotePort;
}
