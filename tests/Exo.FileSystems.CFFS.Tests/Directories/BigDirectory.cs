// SPDX-License-Identifier: MIT
using System.Text;

namespace Exo.FileSystems.CFFS.Tests.Directories;

/// <summary>Random changes of one directory that is indexed on the disk, beside a dictionary of what is in it.</summary>
internal sealed class BigDirectory(CffsVolume volume, Random random)
{
    /// <summary>An index as soon as there are two blocks of slots, and buckets that are split at 24 entries: a few hundred names are a large directory.</summary>
    public static CffsOpenOptions Options(long cacheBytes = 32 << 20) => new() { CacheBytes = cacheBytes, IndexFromBlocks = 2, IndexSplitAt = 24 };

    public const string Path = "/big";

    /// <summary>Names, and the inodes that they had at first.</summary>
    public SortedDictionary<string, ulong> Names { get; private set; } = new(StringComparer.Ordinal);

    /// <summary>Names that were there once.</summary>
    public IReadOnlyList<string> Gone => _gone;

    private readonly List<string> _gone = [];
    private CffsVolume _volume = volume;

    public void Reopened(CffsVolume volume) => _volume = volume;

    public void Step()
    {
        switch (Names.Count == 0 ? 0 : random.Next(20))
        {
            case < 9:
                Create();
                break;
            case < 13:
                string removed = Any();
                if (_volume.Stat($"{Path}/{removed}").Kind == CffsKind.Directory)
                {
                    _volume.RemoveDirectory($"{Path}/{removed}");
                }
                else
                {
                    _volume.RemoveFile($"{Path}/{removed}");
                }

                Names.Remove(removed);
                _gone.Add(removed);
                break;
            case < 16:
                Rename();
                break;
            case < 17:
                Link();
                break;
            case < 18:
                string created = $"sub{random.Next(1 << 20):x}";
                if (!Names.ContainsKey(created))
                {
                    _volume.CreateDirectory($"{Path}/{created}");
                    Names[created] = _volume.Stat($"{Path}/{created}").Inode;
                }

                break;
            default:
                string name = Any();
                Assert.Equal(Names[name], _volume.Stat($"{Path}/{name}").Inode);
                break;
        }
    }

    /// <summary>Every name is found, and is the inode it should be; names that are gone are not; the listing has each once; the count of directories is right.</summary>
    public void AssertEquals() => AssertHolds(_volume, Names, _gone);

    public static void AssertHolds(CffsVolume volume, IReadOnlyDictionary<string, ulong> names, IEnumerable<string> gone)
    {
        foreach ((string name, ulong inode) in names)
        {
            Assert.Equal(inode, volume.Stat($"{Path}/{name}").Inode);
        }

        foreach (string name in gone.Where(name => !names.ContainsKey(name)))
        {
            Assert.False(volume.Exists($"{Path}/{name}"), $"{name} is found");
        }

        IReadOnlyList<CffsDirectoryEntry> listed = volume.ReadDirectory(Path);
        Assert.Equal(names.Select(pair => $"{pair.Key}={pair.Value}").Order(StringComparer.Ordinal), listed.Select(entry => $"{entry.NameString}={entry.Inode}").Order(StringComparer.Ordinal));
        Assert.Equal(2 + listed.Count(entry => entry.Kind == CffsKind.Directory), (int)volume.Stat(Path).Links);
    }

    private void Create()
    {
        string name = Fresh();
        if (!Names.ContainsKey(name))
        {
            _volume.WriteAllBytes($"{Path}/{name}", Encoding.UTF8.GetBytes(name));
            Names[name] = _volume.Stat($"{Path}/{name}").Inode;
        }
    }

    private void Rename()
    {
        string from = Any();
        string to = random.Next(3) == 0 ? Any() : Fresh();
        bool isDirectory = _volume.Stat($"{Path}/{from}").Kind == CffsKind.Directory;
        if (from == to || (Names.ContainsKey(to) && (_volume.Stat($"{Path}/{to}").Kind == CffsKind.Directory) != isDirectory))
        {
            return;
        }

        bool isSame = Names.TryGetValue(to, out ulong there) && there == Names[from];
        _volume.Rename($"{Path}/{from}", $"{Path}/{to}", replace: true);
        if (!isSame)
        {
            Names[to] = Names[from];
            Names.Remove(from);
            _gone.Add(from);
        }
    }

    private void Link()
    {
        string from = Any();
        string to = Fresh();
        if (!Names.ContainsKey(to) && _volume.Stat($"{Path}/{from}").Kind == CffsKind.File)
        {
            _volume.CreateHardLink($"{Path}/{from}", $"{Path}/{to}");
            Names[to] = Names[from];
        }
    }

    private string Any() => Names.Keys.ElementAt(random.Next(Names.Count));

    // Often one that was there before; sometimes a long one.
    private string Fresh() => _gone.Count > 0 && random.Next(3) == 0
        ? _gone[random.Next(_gone.Count)]
        : $"{random.Next(1 << 20):x}{(random.Next(8) == 0 ? new string('n', random.Next(1, 200)) : "")}";
}
