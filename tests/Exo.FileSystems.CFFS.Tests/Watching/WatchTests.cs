// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.FileSystems.CFFS.Tests.Watching;

/// <summary>Whoever watches sees what happens, in order, and knows when he has missed something.</summary>
public sealed class WatchTests : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly MemoryBlockDevice _disk;
    private readonly CffsVolume _volume;

    public WatchTests()
    {
        _disk = new MemoryBlockDevice(_frames, blockCount: 8192);
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        _volume.CreateDirectory("/in");
        _volume.CreateDirectory("/in/sub");
        _volume.CreateDirectory("/out");
    }

    public void Dispose()
    {
        _volume.Dispose();
        _disk.Dispose();
        _frames.Dispose();
    }

    [Fact]
    public void The_entries_of_a_directory_are_watched()
    {
        using CffsWatch watch = _volume.Watch("/in");
        _volume.WriteAllBytes("/in/whole", new byte[1000]);
        using (CffsFile file = _volume.OpenFile("/in/parts", CffsOpenMode.Write | CffsOpenMode.Create))
        {
            file.Write(0, new byte[10]);
            file.Write(10, new byte[10]);
            file.SetLength(5);
        }

        _volume.SetAttributes("/in/parts", new CffsAttributeChange { Permissions = 0x180 });
        _volume.WriteAllBytes("/in/sub/unseen", new byte[1]);
        _volume.CreateHardLink("/in/whole", "/in/linked");
        _volume.Rename("/in/parts", "/in/renamed");
        _volume.Rename("/in/renamed", "/out/gone");
        _volume.Rename("/out/gone", "/in/back");
        _volume.RemoveFile("/in/back");
        _volume.RemoveFile("/in/sub/unseen");
        _volume.RemoveDirectory("/in/sub");
        Assert.Equal(
            [
                "Created whole", "Created parts", "Written parts", "Attributes parts", "Created linked", "Renamed parts>renamed", "Removed renamed", "Created back", "Removed back",
                "Removed sub/",
            ],
            Drain(watch));
    }

    [Fact]
    public void A_subtree_is_watched_with_the_paths_of_the_moment()
    {
        using CffsWatch watch = _volume.Watch("/in", subtree: true);
        _volume.WriteAllBytes("/in/sub/file", new byte[1]);
        _volume.Rename("/in/sub", "/in/other");
        _volume.WriteAllBytes("/in/other/file", new byte[5000]);
        _volume.Rename("/in/other", "/out/other");
        _volume.WriteAllBytes("/out/other/file", new byte[2]);
        Assert.Equal(["Created sub/file", "Renamed sub>other/", "Written other/file", "Removed other/"], Drain(watch));
    }

    [Fact]
    public void An_exchange_is_told_of_both_at_once()
    {
        _volume.WriteAllBytes("/in/one", new byte[10]);
        _volume.WriteAllBytes("/out/other", new byte[5000]);
        using CffsWatch all = _volume.Watch("/", subtree: true);
        using CffsWatch from = _volume.Watch("/in");
        using CffsWatch to = _volume.Watch("/out");
        _volume.Exchange("/in/one", "/out/other");
        _volume.Exchange("/in/sub", "/in/one");
        _volume.Exchange("/in/one", "/in/one");
        Assert.Equal(["Exchanged in/one>out/other", "Exchanged out/other>in/one", "Exchanged in/sub>in/one/", "Exchanged in/one>in/sub"], Drain(all));
        Assert.Equal(["Removed one", "Created one", "Exchanged sub>one/", "Exchanged one>sub"], Drain(from));
        Assert.Equal(["Removed other", "Created other"], Drain(to));
    }

    [Fact]
    public void What_happens_to_a_file_of_several_names_is_told_of_all_of_them()
    {
        _volume.WriteAllBytes("/in/one", new byte[10]);
        using CffsWatch watch = _volume.Watch("/in", subtree: true);
        _volume.CreateHardLink("/in/one", "/out/two");
        Assert.Equal(["Attributes "], Drain(watch));
        _volume.CreateHardLink("/in/one", "/in/three");
        Assert.Equal(["Created three", "Attributes "], Drain(watch));
        using (CffsFile file = _volume.OpenFile("/out/two", CffsOpenMode.Write))
        {
            file.Write(0, new byte[20]);
        }

        Assert.Equal(["Written "], Drain(watch));
        _volume.SetAttributes("/out/two", new CffsAttributeChange { Permissions = 0x180 });
        Assert.Equal(["Attributes "], Drain(watch));
        _volume.Rename("/out/two", "/out/four");
        Assert.Equal(["Attributes "], Drain(watch));
        _volume.WriteAllBytes("/out/new", new byte[1]);
        _volume.Rename("/out/new", "/out/four");
        Assert.Equal(["Attributes "], Drain(watch));
        _volume.RemoveFile("/in/three");
        Assert.Equal(["Removed three", "Attributes "], Drain(watch));
        _volume.RemoveFile("/in/one");
        Assert.Equal(["Removed one"], Drain(watch));
    }

    [Fact]
    public void What_was_not_read_in_time_is_known_to_be_missing()
    {
        using CffsWatch watch = _volume.Watch("/in", capacity: 2);
        for (int i = 0; i < 5; i++)
        {
            _volume.WriteAllBytes($"/in/{i}", new byte[1]);
        }

        Assert.Equal(["Created 0", "Created 1", "Overflow "], Drain(watch));
        _volume.RemoveFile("/in/3");
        Assert.Equal(["Removed 3"], Drain(watch));
    }

    [Fact]
    public void A_watched_directory_that_is_removed_says_so()
    {
        using CffsWatch watch = _volume.Watch("/out");
        _volume.RemoveDirectory("/out");
        Assert.Equal(["Removed /"], Drain(watch));
    }

    [Fact]
    public async Task A_wait_ends_with_a_change_a_cancellation_or_the_watch()
    {
        CffsWatch watch = _volume.Watch("/in");
        Task<bool> waiting = watch.WaitAsync(TestContext.Current.CancellationToken).AsTask();
        Assert.False(waiting.IsCompleted);
        _volume.WriteAllBytes("/in/file", new byte[1]);
        Assert.True(await waiting);
        Assert.True(watch.TryRead(out _));

        using CancellationTokenSource stop = new();
        waiting = watch.WaitAsync(stop.Token).AsTask();
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);

        _volume.RemoveFile("/in/file");
        waiting = watch.WaitAsync(TestContext.Current.CancellationToken).AsTask();
        watch.Dispose();
        watch.Dispose();
        Assert.True(await waiting);
        Assert.Equal(["Removed file"], await Collect(watch));
        Assert.False(await watch.WaitAsync(TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Closing_the_volume_ends_its_watches()
    {
        using MemoryBlockDevice disk = new(_frames, blockCount: 2048);
        CffsVolume volume = CffsVolume.Create(disk);
        CffsWatch watch = volume.Watch("/");
        volume.Dispose();
        Assert.Empty(await Collect(watch));
        watch.Dispose();
    }

    [Fact]
    public void Only_who_may_read_a_directory_watches_it_and_only_the_superuser_a_tree()
    {
        _volume.SetAttributes("/out", new CffsAttributeChange { Permissions = 0x1C0 });
        CffsIdentity guest = new(1000, 1000);
        Assert.Equal(CffsError.AccessDenied, Assert.Throws<CffsException>(() => _volume.Watch("/out", identity: guest)).Error);
        Assert.Equal(CffsError.NotPermitted, Assert.Throws<CffsException>(() => _volume.Watch("/in", subtree: true, identity: guest)).Error);
        _volume.Watch("/in", identity: guest).Dispose();
    }

    /// <summary>Whoever follows the changes of a tree knows its names without looking.</summary>
    [Fact]
    public void The_changes_of_a_tree_add_up_to_the_tree() => Gen.Int[0, int.MaxValue].Sample(
        seed =>
        {
            using MemoryBlockDevice disk = new(_frames, blockCount: 4096);
            using CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
            using CffsWatch watch = volume.Watch("/", subtree: true, capacity: 100_000);
            Random random = new(seed);
            string[] names = ["a", "b", "c", "d"];
            string Any() => string.Concat(Enumerable.Range(0, random.Next(1, 4)).Select(_ => "/" + names[random.Next(names.Length)]));
            for (int i = 0; i < 150; i++)
            {
                try
                {
                    switch (random.Next(8))
                    {
                        case 0: volume.CreateDirectory(Any()); break;
                        case 1: volume.WriteAllBytes(Any(), new byte[random.Next(9000)]); break;
                        case 2: volume.CreateHardLink(Any(), Any()); break;
                        case 3: volume.RemoveFile(Any()); break;
                        case 4: volume.RemoveDirectory(Any()); break;
                        case 5: volume.Exchange(Any(), Any()); break;
                        default: volume.Rename(Any(), Any()); break;
                    }
                }
                catch (CffsException)
                {
                    // Not possible just now.
                }
            }

            SortedSet<string> known = new(StringComparer.Ordinal);
            while (watch.TryRead(out CffsChange change))
            {
                Follow(known, change);
                if (change.Kind == CffsChangeKind.Exchanged)
                {
                    Assert.True(watch.TryRead(out CffsChange second));
                    Assert.Equal((change.Kind, change.PathString, change.OldPathString), (second.Kind, second.OldPathString, second.PathString));
                }
            }

            SortedSet<string> there = new(StringComparer.Ordinal);
            List(volume, "", there);
            return known.SetEquals(there);
        },
        iter: 60);

    private static void Follow(SortedSet<string> known, in CffsChange change)
    {
        string path = change.PathString;
        List<string> moved = [];
        switch (change.Kind)
        {
            case CffsChangeKind.Created:
                known.Add(path);
                break;
            case CffsChangeKind.Removed:
                known.Remove(path);
                break;
            case CffsChangeKind.Renamed:
                string old = change.OldPathString;
                known.RemoveWhere(name => name.StartsWith(path + "/", StringComparison.Ordinal));
                foreach (string name in known.Where(name => name == old || name.StartsWith(old + "/", StringComparison.Ordinal)).ToArray())
                {
                    known.Remove(name);
                    known.Add(path + name[old.Length..]);
                }

                break;
            case CffsChangeKind.Exchanged:
                string other = change.OldPathString;
                foreach (string name in known.Where(name => IsAtOrBelow(name, path) || IsAtOrBelow(name, other)).ToArray())
                {
                    known.Remove(name);
                    moved.Add(IsAtOrBelow(name, path) ? other + name[path.Length..] : path + name[other.Length..]);
                }

                known.UnionWith(moved);
                break;
            default:
                break;
        }

        static bool IsAtOrBelow(string name, string path) => name == path || name.StartsWith(path + "/", StringComparison.Ordinal);
    }

    private static void List(CffsVolume volume, string path, SortedSet<string> into)
    {
        foreach (CffsDirectoryEntry entry in volume.ReadDirectory(path.Length == 0 ? "/" : path))
        {
            string below = path.Length == 0 ? entry.NameString : $"{path}/{entry.NameString}";
            into.Add(below);
            if (entry.Kind == CffsKind.Directory)
            {
                List(volume, below, into);
            }
        }
    }

    private static async Task<List<string>> Collect(CffsWatch watch)
    {
        List<string> seen = [];
        await foreach (CffsChange change in watch.ReadAllAsync(TestContext.Current.CancellationToken))
        {
            seen.Add(Show(change));
        }

        return seen;
    }

    private static List<string> Drain(CffsWatch watch)
    {
        List<string> seen = [];
        while (watch.TryRead(out CffsChange change))
        {
            seen.Add(Show(change));
        }

        return seen;
    }

    private static string Show(in CffsChange change) =>
        $"{change.Kind} {(change.Kind is CffsChangeKind.Renamed or CffsChangeKind.Exchanged ? change.OldPathString + ">" : "")}{change.PathString}{(change.InodeKind == CffsKind.Directory ? "/" : "")}";
}
