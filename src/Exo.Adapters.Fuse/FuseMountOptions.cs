// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Exo.Adapters.Fuse;

/// <summary>How a volume is mounted. The kernel always checks permissions by the mode bits (<c>default_permissions</c>).</summary>
public sealed record FuseMountOptions
{
    /// <summary>Refuse every change (<c>ro</c>). A volume that is open for reading only is always mounted so.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>Users other than the one who mounts may use the mount (<c>allow_other</c>); ordinary users need <c>user_allow_other</c> in /etc/fuse.conf for it.</summary>
    public bool AllowOther { get; init; }

    /// <summary>Device nodes do not work (<c>nodev</c>); always so for ordinary users.</summary>
    public bool NoDevices { get; init; }

    /// <summary>Set-id bits do not work (<c>nosuid</c>); always so for ordinary users.</summary>
    public bool NoSetUser { get; init; }

    /// <summary>Programs cannot be run (<c>noexec</c>).</summary>
    public bool NoExecute { get; init; }

    /// <summary>Reading a file or directory leaves its access time alone (<c>noatime</c>). By default (<c>relatime</c>) the first read after a change moves it.</summary>
    public bool NoAccessTimes { get; init; }

    /// <summary>
    /// The kernel collects small writes and sends them later (<c>writeback</c>); by default (<c>nowriteback</c>) each goes at once. Collecting gains where much is written in small pieces;
    /// it costs a message more for each small file, because closing a file writes it back and then its time.
    /// </summary>
    public bool WritebackCache { get; init; }

    /// <summary>
    /// The mount has extended attributes (<c>xattr</c>, the default). Without them (<c>noxattr</c>) the kernel need not ask, at the first write to a file, whether it has capabilities to lose.
    /// </summary>
    public bool ExtendedAttributes { get; init; } = true;

    /// <summary>
    /// The mount has POSIX access control lists (<c>acl</c>); by default (<c>noacl</c>) it has none, and what is stored of them on the volume is seen as permission bits only. With them the kernel asks, once for each inode
    /// that it gets to know, for the list when somebody wants something who is not the owner: a message more for each file that a stranger opens for the first time, none for the owner. Needs <see cref="ExtendedAttributes"/>.
    /// </summary>
    public bool AccessControlLists { get; init; }

    /// <summary>
    /// The kernel tells of every opening and closing of a file (<c>handles</c>). By default (<c>nohandles</c>) it does neither, where it can, so that opening a file it knows costs nothing; a file
    /// without a name then lasts until the kernel has forgotten it, which it does with the last one who has it open.
    /// </summary>
    public bool FileHandles { get; init; }

    /// <summary>How messages come (<c>io_uring</c>, <c>noio_uring</c>; by default io_uring where the kernel offers it).</summary>
    public FuseTransport Transport { get; init; }

    /// <summary>Mount through the helper <c>fusermount3</c> even as root. Ordinary users always do.</summary>
    public bool UseHelper { get; init; }

    /// <summary>
    /// Threads that answer the kernel over <c>/dev/fuse</c>, 1 to 64; 0 is two, or one for each processor up to eight where there are more. Others join while some wait for commits.
    /// </summary>
    public int Threads { get; init; }

    /// <summary>What the table of mounts shows as the source, for instance the image's path.</summary>
    public string Source { get; init; } = "exo";

    /// <summary>
    /// Mount from a block device (<c>loop</c>, <c>noloop</c>): a loop device over <see cref="Source"/>, which is then the absolute path of the image, and which nothing is read from or written to. The kernel passes
    /// <c>sync</c> and <c>syncfs</c> on to such a mount (Linux 6.18 and later), and <c>umount</c> returns when everything is durable. The table of mounts shows the loop device.
    /// By default (null) for the superuser where it can be had.
    /// </summary>
    public bool? BlockDevice { get; init; }

    /// <summary>
    /// How often changes become durable by themselves; <c>fsync</c> of any file or directory does it at once, and so do <c>sync</c>, <c>syncfs</c> and <c>umount</c> where the mount is from a block device
    /// (<see cref="BlockDevice"/>). Elsewhere the kernel does not tell of the first two, and <c>umount</c> returns before it is done.
    /// </summary>
    public TimeSpan SyncInterval { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Adds options as <c>mount -o</c> takes them: <c>ro,allow_other,nodev</c>.</summary>
    /// <exception cref="FormatException">An option is not known.</exception>
    public FuseMountOptions With(string commaSeparated)
    {
        ArgumentNullException.ThrowIfNull(commaSeparated);
        FuseMountOptions options = this;
        foreach (string option in commaSeparated.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            options = option switch
            {
                "ro" => options with { ReadOnly = true },
                "rw" => options with { ReadOnly = false },
                "allow_other" => options with { AllowOther = true },
                "default_permissions" => options,
                "atime" or "relatime" => options with { NoAccessTimes = false },
                "noatime" => options with { NoAccessTimes = true },
                "dev" => options with { NoDevices = false },
                "nodev" => options with { NoDevices = true },
                "suid" => options with { NoSetUser = false },
                "nosuid" => options with { NoSetUser = true },
                "exec" => options with { NoExecute = false },
                "noexec" => options with { NoExecute = true },
                "writeback" => options with { WritebackCache = true },
                "nowriteback" => options with { WritebackCache = false },
                "xattr" => options with { ExtendedAttributes = true },
                "noxattr" => options with { ExtendedAttributes = false },
                "io_uring" => options with { Transport = FuseTransport.IoUring },
                "noio_uring" => options with { Transport = FuseTransport.Device },
                "acl" => options with { AccessControlLists = true },
                "noacl" => options with { AccessControlLists = false },
                "loop" => options with { BlockDevice = true },
                "noloop" => options with { BlockDevice = false },
                "handles" => options with { FileHandles = true },
                "nohandles" => options with { FileHandles = false },
                _ when option.StartsWith("threads=", StringComparison.Ordinal)
                    && int.TryParse(option.AsSpan(8), NumberStyles.None, CultureInfo.InvariantCulture, out int threads) && threads is >= 1 and <= 64
                    => options with { Threads = threads },
                _ => throw new FormatException($"unknown mount option '{option}'"),
            };
        }

        return options;
    }
}
