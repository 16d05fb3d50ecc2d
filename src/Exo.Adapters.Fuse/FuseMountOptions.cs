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

    /// <summary>The kernel collects small writes and sends them later (<c>writeback</c>, the default; <c>nowriteback</c> sends each at once).</summary>
    public bool WritebackCache { get; init; } = true;

    /// <summary>
    /// The mount has extended attributes (<c>xattr</c>, the default). Without them (<c>noxattr</c>) the kernel need not ask, at the first write to a file, whether it has capabilities to lose.
    /// </summary>
    public bool ExtendedAttributes { get; init; } = true;

    /// <summary>Mount through the helper <c>fusermount3</c> even as root. Ordinary users always do.</summary>
    public bool UseHelper { get; init; }

    /// <summary>Threads that answer the kernel, 1 to 64; 0 is two, or one for each processor up to eight where there are more.</summary>
    public int Threads { get; init; }

    /// <summary>What the table of mounts shows as the source, for instance the image's path.</summary>
    public string Source { get; init; } = "exo";

    /// <summary>How often changes become durable by themselves; <c>fsync</c>, <c>sync</c> and unmounting do it at once.</summary>
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
                _ when option.StartsWith("threads=", StringComparison.Ordinal)
                    && int.TryParse(option.AsSpan(8), NumberStyles.None, CultureInfo.InvariantCulture, out int threads) && threads is >= 1 and <= 64
                    => options with { Threads = threads },
                _ => throw new FormatException($"unknown mount option '{option}'"),
            };
        }

        return options;
    }
}
