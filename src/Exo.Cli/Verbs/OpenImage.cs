// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary>Opens the volume that a command line names.</summary>
internal static class OpenImage
{
    /// <summary>For verbs that only look: nothing on the image changes, even if it was not unmounted cleanly.</summary>
    public static CffsVolume ReadOnly(string image, long cacheBytes = 64L << 20) =>
        Open(image, new CffsOpenOptions { ReadOnly = true, CacheBytes = cacheBytes });

    public static CffsVolume ForWriting(string image, long cacheBytes = 64L << 20) =>
        Open(image, new CffsOpenOptions { CacheBytes = cacheBytes });

    private static CffsVolume Open(string image, CffsOpenOptions options)
    {
        if (Exo.Core.Blocks.Nbd.NbdUri.IsNbd(image))
        {
            return CffsVolume.Open(image, options); // An export of another machine, not a file.
        }

        if (Directory.Exists(image))
        {
            throw new IOException($"{image} is a directory, not an image");
        }

        if (!File.Exists(image))
        {
            throw new FileNotFoundException($"{image}: no such file");
        }

        return CffsVolume.Open(image, options);
    }
}
