// SPDX-License-Identifier: MIT
namespace Exo.Core.Tests.Blocks.Nbd;

public sealed class NbdDiskTests() : BlockDeviceContract(DiskKind.Nbd);

public sealed class NbdConnectionsDiskTests() : BlockDeviceContract(DiskKind.NbdConnections);

public sealed class NbdTlsDiskTests() : BlockDeviceContract(DiskKind.NbdTls);

public sealed class NbdKitDiskTests() : BlockDeviceContract(DiskKind.NbdKit);
