// SPDX-License-Identifier: MIT
using Exo.Cli.Arguments;
using Exo.FileSystems.CFFS;

namespace Site;

/// <summary>Finds the image, or builds it beside its final name and moves it there when it is complete.</summary>
internal static class SiteImage
{
    private const long SizeBytesMin = 64 << 20;
    private const int BlockBytes = 4096;

    public static CffsVolume MountOrBuild(SiteOptions options, SiteReport report, CancellationToken stop)
    {
        if (Directory.Exists(options.Image))
        {
            throw new IOException($"{options.Image} is a directory; --image names a file");
        }

        FileInfo image = new(options.Image);
        bool isThere = image.Exists && image.Length > 0;
        if (isThere && !options.IsFresh)
        {
            CffsVolume volume = report.Time("mount", () => CffsVolume.Open(options.Image));
            try
            {
                SiteContent.Compare(options, volume, report);
                return volume;
            }
            catch
            {
                volume.Dispose();
                throw;
            }
        }

        if (isThere)
        {
            RequireOurs(options.Image);
        }

        return Build(options, report, stop);
    }

    /// <summary>--fresh replaces an Exo image that nobody uses, and nothing else.</summary>
    private static void RequireOurs(string path)
    {
        try
        {
            using CffsVolume old = CffsVolume.Open(path, new CffsOpenOptions());
        }
        catch (CffsException error) when (error.Error == CffsError.Corrupt)
        {
            // It is one of ours, and damaged: what --fresh is for.
        }
        catch (CffsException error) when (error.Error == CffsError.NotCffs)
        {
            throw new IOException($"{path} is not an Exo image; not even --fresh replaces it", error);
        }
    }

    private static CffsVolume Build(SiteOptions options, SiteReport report, CancellationToken stop)
    {
        SiteContent content = report.Time("look through the folder", () => SiteContent.Read(options.Content));
        long sizeBytes = options.SizeBytes ?? Math.Max(SizeBytesMin, ((content.Bytes * 2) + (content.Files.Count * BlockBytes)) / BlockBytes * BlockBytes);
        Directory.CreateDirectory(Path.GetDirectoryName(options.Image)!);

        // Nothing is at the final name before it is whole: a second run never finds half a site.
        string building = options.Image + ".building";
        CffsVolume? volume = null;
        try
        {
            volume = report.Time("format", () => CffsVolume.Create(
                building, new CffsCreateOptions { SizeBytes = sizeBytes, Label = "site", Overwrite = true }));
            report.Time($"copy {content.Files.Count} files", counts => content.CopyTo(volume, counts, stop));
            report.Time("make durable", volume.Sync);
            File.Move(building, options.Image, overwrite: true);
            return volume;
        }
        catch (Exception error)
        {
            volume?.Abandon();
            if (volume is not null)
            {
                File.Delete(building);
            }

            if (error is CffsException { Error: CffsError.NoSpace })
            {
                throw new IOException(
                    $"{options.Content} does not fit into an image of {ByteSize.Format(sizeBytes)}; choose a larger --size", error);
            }

            throw;
        }
    }
}
