// SPDX-License-Identifier: MIT
using Exo.Cli.Administration;
using Exo.Cli.Arguments;
using Exo.Cli.Output;
using Exo.FileSystems.CFFS;
using Exo.Storage.XN;

namespace Exo.Cli.Verbs;

/// <summary>Opens the volume that a command line names.</summary>
internal static class OpenImage
{
    /// <summary>For verbs that only look: nothing on the image changes, even if it was not unmounted cleanly.</summary>
    public static CffsVolume ReadOnly(string image, long cacheBytes = 64L << 20) =>
        Open(image, progress => new CffsOpenOptions { ReadOnly = true, CacheBytes = cacheBytes, RecoveryProgress = progress });

    public static CffsVolume ForWriting(string image, long cacheBytes = 64L << 20) =>
        Open(image, progress => new CffsOpenOptions { CacheBytes = cacheBytes, RecoveryProgress = progress });

    /// <summary>Refuses what cannot be an image, in the words of the command line; the device says everything else.</summary>
    /// <exception cref="IOException">It is a directory, not there, or empty.</exception>
    public static void Require(string image)
    {
        // Exports of other machines and partitions are no files; the device says what is wrong with them.
        if (!ImagePath.IsPartOfAnother(image))
        {
            if (Directory.Exists(image))
            {
                throw new IOException(
                    MountedImage.Find(image) is { } mount ? $"{image} is where {mount.Source} is mounted; {MountedImage.Advice(mount)}" : $"{image} is a directory, not an image");
            }

            FileInfo file = new(image);
            if (!file.Exists)
            {
                throw new FileNotFoundException($"{image}: no such file");
            }

            if (file.Length == 0 && (file.Attributes & FileAttributes.Device) == 0)
            {
                throw new IOException($"{image} is empty, and no image; 'exo mkfs' makes a volume there");
            }
        }
    }

    private static CffsVolume Open(string image, Func<IProgress<XnRecoveryProgress>, CffsOpenOptions> options)
    {
        Require(image);
        StepCounts counts = new();
        return StepProgress.Run("recovering after a crash", counts, () => CffsVolume.Open(image, options(new Forward(counts))));
    }

    private sealed class Forward(StepCounts counts) : IProgress<XnRecoveryProgress>
    {
        public void Report(XnRecoveryProgress value) => counts.Set(value.MetadataBlocks, value.MetadataBlocks + value.KnownBlocks);
    }
}
