// SPDX-License-Identifier: MIT
namespace Exo.Adapters.Fuse;

/// <summary>How the kernel's messages come.</summary>
public enum FuseTransport
{
    /// <summary>
    /// Over io_uring where the kernel has it (6.14 and later) and offers it, else over <c>/dev/fuse</c>. It offers it with <c>/sys/module/fuse/parameters/enable_uring</c> on; the superuser's mount switches that on for the moment
    /// of mounting. With more than 64 processors that there may be (<c>/sys/devices/system/cpu/possible</c>) it is <c>/dev/fuse</c>, too.
    /// </summary>
    Automatic,

    /// <summary>Over <c>/dev/fuse</c>.</summary>
    Device,

    /// <summary>As <see cref="Automatic"/>, but over io_uring or not at all.</summary>
    IoUring,
}
