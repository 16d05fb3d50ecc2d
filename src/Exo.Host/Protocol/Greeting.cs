// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Host.Protocol;

/// <summary>What the host sends a library OS first (<see cref="Hello"/>), with the descriptors of the memory that it describes, in this order.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct Greeting
{
    public const ulong MagicValue = 0x32_54534F484F5845; // "EXOHOST2"

    /// <summary>In the place of <see cref="MagicValue"/>: there is nothing to be had, and <see cref="BlockCount"/> is the <see cref="HostStatus"/> that says why.</summary>
    public const ulong RefusalValue = 0x32_4F4E4F484F5845; // "EXOHONO2"

    /// <summary>Descriptors that come with it: requests, replies, registry, blocks, frames.</summary>
    public const int Descriptors = 5;

    public ulong Magic;
    public ulong BlockCount;
    public ulong DataStart;
    public long RegistryBytes;

    /// <summary>The frames of the pool that this client can read: blocks read in for it, and metadata.</summary>
    public uint BlocksFirst;
    public uint BlocksCount;

    /// <summary>The frames of the pool that this client can write: its own numbers for them begin at 0.</summary>
    public uint FramesFirst;
    public uint FramesCount;
}
