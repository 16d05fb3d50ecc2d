// SPDX-License-Identifier: MIT
namespace Exo.Adapters.Fuse;

/// <summary>A mounted C-FFS volume, as the kernel's table of mounts has it.</summary>
/// <param name="Directory">Where it is mounted: an absolute path.</param>
/// <param name="Source">What was mounted (<see cref="FuseMountOptions.Source"/>); <c>exo mount</c> says the image's absolute path or URI.</param>
/// <param name="User">Who has mounted it.</param>
/// <param name="ConnectionNumber">The number of the FUSE connection, which no other mount of the machine has at the same time; the minor number of the device that stat(2) tells of its files.</param>
public sealed record FuseMountPoint(string Directory, string Source, uint User, int ConnectionNumber);
