// SPDX-License-Identifier: MIT
namespace Exo.Cli.Top;

/// <summary>What lists of environments and clients are sorted by.</summary>
internal enum TopOrder
{
    /// <summary>As they come: parents before their children, clients as they attached.</summary>
    Tree,

    /// <summary>Processor time, most first.</summary>
    Time,

    /// <summary>Frames held, most first.</summary>
    Frames,

    /// <summary>Requests, or wakes, most first.</summary>
    Activity,

    /// <summary>Names.</summary>
    Name,
}
