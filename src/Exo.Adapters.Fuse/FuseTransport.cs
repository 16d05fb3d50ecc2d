// SPDX-License-Identifier: MIT
namespace Exo.Adapters.Fuse;

/// <summary>How the kernel's messages come.</summary>
public enum FuseTransport
{
    /// <summary>Over io_uring where the kernel offers it (6.14 and later, with <c>/sys/module/fuse/parameters/enable_uring</c> on), else over <c>/dev/fuse</c>.</summary>
    Automatic,

    /// <summary>Over <c>/dev/fuse</c>.</summary>
    Device,

    /// <summary>Over io_uring, or not at all. The superuser's mount switches the kernel's parameter on if need be; it stays on.</summary>
    IoUring,
}
