// SPDX-License-Identifier: MIT
using Exo.Cli.Output;
using Exo.FileSystems.CFFS;

namespace Site;

/// <summary>The files of a folder, with the names they get in the volume. Symbolic links count as what they point to.</summary>
internal sealed class SiteContent
{
    private SiteContent(List<string> directories, List<SiteFile> files)
    {
        Directories = directories;
        Files = files;
        Bytes = files.Sum(file => file.SizeBytes);
    }

    /// <summary>Directories of the volume to make, parents first.</summary>
    public List<string> Directories { get; }

    /// <summary>All files, directory by directory.</summary>
    public List<SiteFile> Files { get; }

    public long Bytes { get; }

    /// <summary>Looks through a folder.</summary>
    public static SiteContent Read(string folder)
    {
        if (!Directory.Exists(folder))
        {
            throw new DirectoryNotFoundException($"{folder} is not a folder that can be read");
        }

        List<string> directories = [];
        List<SiteFile> files = [];
        Add(new DirectoryInfo(folder), "");
        return new SiteContent(directories, files);

        void Add(DirectoryInfo directory, string path)
        {
            foreach (FileInfo file in directory.EnumerateFiles().OrderBy(file => file.Name, StringComparer.Ordinal))
            {
                files.Add(new SiteFile(file.FullName, $"{path}/{file.Name}", file.Length, ToNs(file.LastWriteTimeUtc)));
            }

            foreach (DirectoryInfo child in directory.EnumerateDirectories().OrderBy(child => child.Name, StringComparer.Ordinal))
            {
                directories.Add($"{path}/{child.Name}");
                Add(child, $"{path}/{child.Name}");
            }
        }
    }

    /// <summary>Copies everything; times are kept, so that browsers learn them and a later run can compare them.</summary>
    public void CopyTo(CffsVolume volume, StepCounts counts, CancellationToken stop)
    {
        counts.Expect(Files.Count);
        foreach (string directory in Directories)
        {
            volume.CreateDirectory(directory);
        }

        foreach (SiteFile file in Files)
        {
            stop.ThrowIfCancellationRequested();
            using (FileStream source = new(file.HostPath, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0))
            using (CffsFile copy = volume.OpenFile(file.Path, CffsOpenMode.Write | CffsOpenMode.CreateNew))
            using (Stream target = copy.AsStream())
            {
                source.CopyTo(target, 1 << 20);
            }

            volume.SetAttributes(file.Path, new CffsAttributeChange { ModifyTimeNs = file.ModifyTimeNs });
            counts.Add(1, file.SizeBytes);
        }
    }

    /// <summary>Says so when the image does not hold what the folder holds now. The image is served as it is.</summary>
    public static void Compare(SiteOptions options, CffsVolume volume, SiteReport report)
    {
        SiteContent content = report.Time("compare with the folder", () => Read(options.Content));
        int differing = content.Files.Count(file => !IsSame(volume, file));
        int more = CountFiles(volume, "/") - (content.Files.Count - content.Files.Count(file => !volume.Exists(file.Path)));
        if (differing > 0 || more > 0)
        {
            report.Note($"the image differs from {options.Content} ({differing} files new or changed, {more} no longer there); --fresh rebuilds it");
        }
    }

    private static bool IsSame(CffsVolume volume, SiteFile file)
    {
        if (!volume.Exists(file.Path))
        {
            return false;
        }

        CffsStat stat = volume.Stat(file.Path);
        return stat.Kind == CffsKind.File && stat.Size == file.SizeBytes && stat.ModifyTimeNs == file.ModifyTimeNs;
    }

    private static int CountFiles(CffsVolume volume, string path)
    {
        int count = 0;
        foreach (CffsDirectoryEntry entry in volume.ReadDirectory(path))
        {
            count += entry.Kind == CffsKind.Directory ? CountFiles(volume, $"{path.TrimEnd('/')}/{entry.NameString}") : 1;
        }

        return count;
    }

    private static long ToNs(DateTime time) => (time - DateTime.UnixEpoch).Ticks * 100;
}

/// <summary>One file of the folder.</summary>
/// <param name="HostPath">Where it is.</param>
/// <param name="Path">Its name in the volume.</param>
/// <param name="SizeBytes">Length.</param>
/// <param name="ModifyTimeNs">Last change, ns since 1970.</param>
internal sealed record SiteFile(string HostPath, string Path, long SizeBytes, long ModifyTimeNs);
