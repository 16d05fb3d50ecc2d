// SPDX-License-Identifier: MIT
namespace Exo.Adapters.Fuse;

/// <summary>A mounted C-FFS volume, as the kernel's table of mounts has it.</summary>
/// <param name="Directory">Where it is mounted: an absolute path.</param>
/// <param name="Source">What was mounted (<see cref="FuseMountOptions.Source"/>); <c>exo mount</c> says the image's absolute path or URI.</param>
/// <param name="User">Who has mounted it.</param>
/// <param name="ConnectionNumber">The number of the FUSE connection, which no other mount of the machine has at the same time: of the device that stat(2) tells of its files the minor number, and from bit 20 on the major one.</param>
public sealed record FuseMountPoint(string Directory, string Source, uint User, int ConnectionNumber)
{
    // As the kernel has them in one number.
    internal const int MinorBits = 20;

    internal int DeviceMajor => ConnectionNumber >> MinorBits;

    internal int DeviceMinor => ConnectionNumber & ((1 << MinorBits) - 1);
}
