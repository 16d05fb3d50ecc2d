// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Tests.Snapshots;

/// <summary>All that a tree is, but for its inode numbers, as lines of text: to compare a snapshot with what it is one of.</summary>
internal static class TreePicture
{
    /// <summary>One line for each name below a directory, and one for itself. Snapshots below are left out. Of a copy not when it was made and last changed otherwise than in its contents.</summary>
    public static string Of(CffsVolume volume, string path, bool isOfCopy = false)
    {
        List<string> lines = [];
        Dictionary<ulong, int> links = [];
        Add(volume, path, "", volume.Stat(path).IsSnapshot, isOfCopy, links, lines);
        return string.Join('\n', lines);
    }

    private static void Add(CffsVolume volume, string root, string below, bool isSnapshot, bool isOfCopy, Dictionary<ulong, int> links, List<string> lines)
    {
        string path = root + below;
        CffsStat stat = volume.Stat(path, followSymbolicLink: false);
        if (stat.IsSnapshot != isSnapshot)
        {
            return;
        }

        // Names of one inode bear one number.
        int number = stat.Kind == CffsKind.Directory ? 0 : links.TryGetValue(stat.Inode, out int known) ? known : links[stat.Inode] = links.Count + 1;
        string what = stat.Kind switch
        {
            CffsKind.File => Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(volume.ReadAllBytes(path))),
            CffsKind.SymbolicLink => System.Text.Encoding.UTF8.GetString(volume.ReadSymbolicLink(path)),
            _ => "",
        };
        string times = isOfCopy ? $"{stat.ModifyTimeNs}" : below.Length == 0 ? "" : $"{stat.ModifyTimeNs}/{stat.ChangeTimeNs}/{stat.BirthTimeNs}";
        lines.Add($"{below} {stat.Kind} {stat.Mode:x} {stat.User}:{stat.Group} {(stat.Kind == CffsKind.Directory ? 0 : stat.Size)} {number} {times} {TreeModel.AttributesOf(volume, path)} {what}");
        if (stat.Kind == CffsKind.Directory)
        {
            foreach (string name in volume.ReadDirectory(path).Select(entry => entry.NameString).Order(StringComparer.Ordinal))
            {
                Add(volume, root, $"{below}/{name}", isSnapshot, isOfCopy, links, lines);
            }
        }
    }
}
