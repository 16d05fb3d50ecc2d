// SPDX-License-Identifier: MIT
namespace Exo.Cli.HostTree;

/// <summary>What a copy keeps of a host file, and what it takes there. Times are nanoseconds since 1970-01-01T00:00:00Z.</summary>
internal readonly record struct HostStat(
    HostFileId Id,
    ushort Mode,
    uint Links,
    uint User,
    uint Group,
    long SizeBytes,
    long AccessTimeNs,
    long ModifyTimeNs,
    ulong DeviceNumber,
    long AllocatedBytes = 0)
{
    public const ushort TypeMask = 0xF000;
    public const ushort Fifo = 0x1000;
    public const ushort CharacterDevice = 0x2000;
    public const ushort Directory = 0x4000;
    public const ushort BlockDevice = 0x6000;
    public const ushort File = 0x8000;
    public const ushort SymbolicLink = 0xA000;
    public const ushort Socket = 0xC000;

    /// <summary>It has holes, or is compressed.</summary>
    public bool IsSparse => AllocatedBytes < SizeBytes;

    public ushort Type => (ushort)(Mode & TypeMask);

    public ushort Permissions => (ushort)(Mode & 0xFFF);
}

/// <summary>Names a file of the host: two names with the same value are hard links.</summary>
internal readonly record struct HostFileId(uint FileSystemMajor, uint FileSystemMinor, ulong Inode);
