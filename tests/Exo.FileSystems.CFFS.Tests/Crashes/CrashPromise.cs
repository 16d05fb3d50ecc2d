// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Tests.Crashes;

/// <summary>
/// What a volume must hold after a power cut: what the last completed sync covered, and of the operations that began since,
/// each whole or not at all as far as names go. One may have begun while that sync ran.
/// </summary>
internal sealed class CrashPromise(TreeSnapshot synced, CrashPromise.Step? meanwhile = null)
{
    private readonly List<Step> _since = [];

    /// <summary>An operation that began; what it changed is known when it has ended.</summary>
    public sealed class Step
    {
        public TreeSnapshot? Before { get; init; }

        public TreeSnapshot? After { get; set; }
    }

    public void Begin(Step step) => _since.Add(step);

    /// <summary>Begins again: the promise is looked at in many states.</summary>
    public void Forget()
    {
        _since.Clear();
        if (meanwhile is not null)
        {
            _since.Add(meanwhile);
        }
    }

    /// <summary>What is wrong with the tree that was found, or null.</summary>
    public string? Violation(TreeSnapshot found)
    {
        // Every place and every set of attributes that an inode has had since the sync.
        Dictionary<ulong, HashSet<(ulong, string)>> places = [];
        Dictionary<ulong, HashSet<string>> attributes = [];
        HashSet<ulong> removed = [];
        HashSet<ulong> written = [];
        HashSet<ulong> moved = [];
        foreach ((ulong inode, TreeSnapshot.Entry entry) in synced.Inodes)
        {
            places[inode] = [.. entry.Names];
            attributes[inode] = [entry.Attributes];
        }

        foreach (Step step in _since)
        {
            Assert.NotNull(step.Before);
            Assert.NotNull(step.After);
            foreach (ulong inode in step.Before.Inodes.Keys.Union(step.After.Inodes.Keys))
            {
                TreeSnapshot.Entry? before = step.Before.Inodes.GetValueOrDefault(inode);
                TreeSnapshot.Entry? after = step.After.Inodes.GetValueOrDefault(inode);
                if (after is null)
                {
                    removed.Add(inode);
                    continue;
                }

                places.TryAdd(inode, []);
                places[inode].UnionWith(after.Names);
                attributes.TryAdd(inode, []);
                attributes[inode].Add(after.Attributes);
                if (before is null || !before.Contents.AsSpan().SequenceEqual(after.Contents))
                {
                    written.Add(inode);
                }

                if (before is null || !before.Names.SetEquals(after.Names))
                {
                    moved.Add(inode);
                }
            }
        }

        foreach ((ulong inode, TreeSnapshot.Entry entry) in synced.Inodes)
        {
            if (!found.Inodes.TryGetValue(inode, out TreeSnapshot.Entry? is_))
            {
                if (!removed.Contains(inode))
                {
                    return $"inode {inode} {Describe(entry)} was synced and is gone";
                }

                continue;
            }

            if (is_.Kind != entry.Kind || is_.Target != entry.Target)
            {
                return $"inode {inode} was {Describe(entry)} and is {Describe(is_)}";
            }

            if (!moved.Contains(inode) && !removed.Contains(inode) && !is_.Names.SetEquals(entry.Names))
            {
                return $"inode {inode} was {Describe(entry)} and is {Describe(is_)}, though nobody touched its names";
            }

            if (!written.Contains(inode) && !is_.Contents.AsSpan().SequenceEqual(entry.Contents))
            {
                return $"inode {inode} {Describe(entry)} has other contents, though nobody wrote to it";
            }
        }

        foreach ((ulong inode, TreeSnapshot.Entry entry) in found.Inodes)
        {
            if (!places.TryGetValue(inode, out HashSet<(ulong, string)>? allowed))
            {
                return $"inode {inode} {Describe(entry)} was never made";
            }

            if (!entry.Names.IsSubsetOf(allowed))
            {
                return $"inode {inode} {Describe(entry)} is where it never was";
            }

            if (!attributes[inode].Contains(entry.Attributes))
            {
                return $"inode {inode} {Describe(entry)} has attributes that it never had: {entry.Attributes}";
            }

            // A rename is one name or the other, never both: a file or directory that never had two names at a time has one now.
            int most = _since.Select(step => step.After!).Append(synced).Concat(_since.Select(step => step.Before!))
                .Max(tree => tree.Inodes.TryGetValue(inode, out TreeSnapshot.Entry? then) ? then.Names.Count : 0);
            if (most == 1 && entry.Names.Count > 1)
            {
                return $"inode {inode} {Describe(entry)} has {entry.Names.Count} names and never had more than one";
            }
        }

        return null;
    }

    /// <summary>What was done since the last sync, for the message of a failure.</summary>
    public string History()
    {
        List<string> lines = [];
        foreach (Step step in _since)
        {
            IEnumerable<ulong> inodes = step.Before!.Inodes.Keys.Union(step.After!.Inodes.Keys);
            foreach (ulong inode in inodes)
            {
                TreeSnapshot.Entry? before = step.Before.Inodes.GetValueOrDefault(inode);
                TreeSnapshot.Entry? after = step.After.Inodes.GetValueOrDefault(inode);
                if (before is null || !before.Equals(after))
                {
                    lines.Add($"  inode {inode}: {(before is null ? "-" : Describe(before))} -> {(after is null ? "-" : Describe(after))}");
                }
            }

            lines.Add("  .");
        }

        return "Since the last sync:\n" + string.Join('\n', lines);
    }

    private static string Describe(TreeSnapshot.Entry entry) =>
        $"[{entry.Kind}, {entry.Contents.Length} bytes, at {string.Join(", ", entry.Names.Select(name => $"{name.Directory}/{Short(name.Name)}"))}]";

    private static string Short(string name) => name.Length > 12 ? $"{name[..12]}~{name.Length}" : name;
}
