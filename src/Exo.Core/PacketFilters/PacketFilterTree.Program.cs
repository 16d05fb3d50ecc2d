// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;

namespace Exo.Core.PacketFilters;

/// <content>The tree as a program: for our own machine and for the kernel.</content>
public sealed partial class PacketFilterTree
{
    /// <summary>
    /// The bargain with the program that <see cref="TryToProgram"/> makes: memory is a frame (4096 bytes or more) that the packet lies at the beginning of, r2 is
    /// the packet's length in bytes, at most <see cref="FramePool.FrameBytes"/>. The answer is the number of the filter, or 0.
    /// </summary>
    public static ProgramContract ProgramContract { get; } = new(
        "packet filters",
        [ArgumentContract.MemoryPointer, ArgumentContract.Scalar(0, FramePool.FrameBytes)],
        RegionContract.AtLeast(FramePool.FrameBytes));

    /// <summary>
    /// The filters installed now as a program under <see cref="ProgramContract"/>, which answers as <see cref="Classify"/> does.
    /// </summary>
    /// <returns>False when it would have more than 32,767 slots.</returns>
    public bool TryToProgram([NotNullWhen(true)] out Program? program)
    {
        program = FilterLowering.Own(_root);
        return program is not null;
    }

    /// <summary>
    /// The filters installed now as a program for the kernel's XDP hook: a packet that some filter accepts goes to the entry of a map of
    /// sockets that its receive queue selects (<c>bpf_redirect_map(map, rx_queue_index, XDP_PASS)</c>), all others, and those for an empty
    /// entry, go the kernel's own way (<c>XDP_PASS</c>). A step beyond byte 32,767 does not match here. The bytes are those of
    /// <see cref="Program.ToBytes"/>; it calls a helper of the kernel's, so it does not run on our own machine.
    /// </summary>
    /// <param name="mapDescriptor">The open file of the map.</param>
    /// <param name="program">The program.</param>
    /// <returns>False when it would have more than 32,767 slots.</returns>
    public bool TryToXdpProgram(int mapDescriptor, [NotNullWhen(true)] out Program? program)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(mapDescriptor);
        program = FilterLowering.XdpRedirect(_root, mapDescriptor);
        return program is not null;
    }

    /// <summary>
    /// The filters installed now as a program for the kernel's ingress hook (tc, struct __sk_buff): packets that some filter accepts end there (TC_ACT_SHOT), all others go on (TCX_NEXT).
    /// </summary>
    /// <returns>Null when it would have more than 32,767 slots.</returns>
    internal Program? ToIngressProgram() => FilterLowering.Buffer(_root, accepted: 2, other: -1, then: null);

    /// <summary>The same as a program for packet sockets: they get what some filter accepts, or, with another such program, what that one lets through of it; and nothing else.</summary>
    /// <returns>Null when it would have more than 32,767 slots.</returns>
    internal Program? ToSocketProgram(Program? then) => FilterLowering.Buffer(_root, accepted: -1, other: 0, then);

    /// <summary>The number instead of a redirect, so that the kernel's answer can be compared with the tree's.</summary>
    internal Program? ToXdpNumbers() => FilterLowering.XdpNumbers(_root);
}
