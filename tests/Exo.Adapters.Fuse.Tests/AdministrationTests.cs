// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using Exo.Adapters.Fuse.Mounting;
using Exo.Cli.Administration;
using Exo.Cli.Output;
using Exo.FileSystems.CFFS;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>Verbs that need a volume, while it is mounted: the process that serves the mount does what they want, and they say what they would have said.</summary>
public sealed partial class AdministrationTests : IDisposable
{
    private readonly ImageToMount _at = new();

    public void Dispose() => _at.Dispose();

    [Fact]
    public void Snapshots_are_made_listed_and_deleted_by_image_and_by_directory()
    {
        Mount();
        File.WriteAllText(In("file"), "before");
        ExoProcess.Exo("snapshot", _at.Image, "create", "first").Succeeded();
        File.WriteAllText(In("file"), "after");
        ExoProcess.Exo("snapshot", _at.Directory, "create", "second").Succeeded();
        Assert.Equal("before", File.ReadAllText(In(".snapshots/first/file")));
        Assert.Equal("after", File.ReadAllText(In(".snapshots/second/file")));
        string list = ExoProcess.Exo("snapshot", _at.Image).Succeeded().Output;
        Assert.Equal(list, ExoProcess.Exo("snapshot", _at.Directory, "list").Succeeded().Output);
        Assert.Equal(["first", "second"], list.TrimEnd().Split('\n').Select(line => line.Split("  ")[1]));
        string json = ExoProcess.Exo("snapshot", _at.Image, "--json").Succeeded().Output;
        ExoProcess.Exo("snapshot", _at.Directory, "delete", "first").Succeeded();
        Assert.False(Directory.Exists(In(".snapshots/first")));
        string exists = ExoProcess.Exo("snapshot", _at.Directory, "create", "second").Refused(1);
        string none = ExoProcess.Exo("snapshot", _at.Image, "delete", "first").Refused(1);
        ExoProcess.Exo("snapshot", _at.Directory, "create", "other", "--of", "/none").Refused(1);
        ExoProcess.Exo("snapshot", _at.Directory, "create").Refused(2);
        Unmount();

        // The same words, from the image that nobody has.
        Assert.Equal(exists, ExoProcess.Exo("snapshot", _at.Image, "create", "second").Refused(1));
        Assert.Equal(none, ExoProcess.Exo("snapshot", _at.Image, "delete", "first").Refused(1));
        Assert.Equal(list[(list.IndexOf('\n') + 1)..], ExoProcess.Exo("snapshot", _at.Image).Succeeded().Output);
        Assert.Contains("\"first\"", json, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("writeback")]
    [InlineData("nowriteback")]
    public void A_snapshot_has_what_the_kernel_still_held(string option)
    {
        Mount("-o", option);
        using (FileStream file = File.Create(In("file")))
        {
            file.Write(new byte[100_000]);
            file.Flush();
            ExoProcess.Exo("snapshot", _at.Directory, "create", "open").Succeeded();
        }

        Assert.Equal(100_000, new FileInfo(In(".snapshots/open/file")).Length);
        Unmount();
    }

    [Fact]
    public void A_volume_and_its_image_become_larger_and_smaller_under_a_mount()
    {
        Mount();
        byte[] contents = new byte[8 << 20];
        new Random(1).NextBytes(contents);
        File.WriteAllBytes(In("a"), contents);
        string larger = ExoProcess.Exo("resize", _at.Image, "128M").Succeeded().Output;
        Assert.StartsWith($"{_at.Image}: 128M, ", larger, StringComparison.Ordinal);
        Assert.Equal(128 << 20, new FileInfo(_at.Image).Length);
        Assert.Equal(128 << 20, new DriveInfo(_at.Directory).TotalSize);
        for (int i = 0; i < 9; i++)
        {
            File.WriteAllBytes(In($"b{i}"), contents);
        }

        string full = ExoProcess.Exo("resize", _at.Directory, "32M").Refused(1);
        for (int i = 0; i < 8; i++)
        {
            File.Delete(In($"b{i}"));
        }

        // What lies behind the new end moves while the mount is there.
        ExoProcess.Exo("resize", _at.Directory, "32M").Succeeded();
        Assert.Equal(32 << 20, new FileInfo(_at.Image).Length);
        Assert.Equal(contents, File.ReadAllBytes(In("a")));
        Assert.Equal(contents, File.ReadAllBytes(In("b8")));
        string tooLarge = ExoProcess.Exo("resize", _at.Image, "1T").Refused(1);
        Assert.Equal(32 << 20, new FileInfo(_at.Image).Length);
        Unmount();
        Assert.Equal(tooLarge, ExoProcess.Exo("resize", _at.Image, "1T").Refused(1));
        Assert.Contains("do not fit into 8192", full, StringComparison.Ordinal);
        ExoProcess.Exo("resize", _at.Image, "64M").Succeeded();
    }

    [Fact]
    public void Defragmentation_space_and_copies_say_what_they_say_without_a_mount()
    {
        Mount();
        Directory.CreateDirectory(In("d"));
        for (int i = 0; i < 50; i++)
        {
            File.WriteAllBytes(In($"d/{i}"), new byte[5000]);
        }

        string estimate = ExoProcess.Exo("defrag", "--dry-run", _at.Image, "/d").Succeeded().Output;
        Assert.Contains("50 small files", ExoProcess.Exo("defrag", _at.Directory, "/d").Succeeded().Output, StringComparison.Ordinal);
        Assert.Contains("1 directories", ExoProcess.Exo("xcp", _at.Image, "/d", "/copy").Succeeded().Output.Replace("50 files, ", "", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Equal(50, Directory.GetFiles(In("copy")).Length);
        string exists = ExoProcess.Exo("xcp", _at.Directory, "/d", "/copy").Refused(1);
        string space = ExoProcess.Exo("df", _at.Image).Succeeded().Output;
        string json = ExoProcess.Exo("df", "--json", _at.Image).Succeeded().Output;
        Assert.Equal(space.Replace(_at.Image, _at.Directory, StringComparison.Ordinal), ExoProcess.Exo("df", _at.Directory).Succeeded().Output);
        Unmount();
        Assert.Contains("at best", estimate, StringComparison.Ordinal);
        Assert.Equal(exists, ExoProcess.Exo("xcp", _at.Image, "/d", "/copy").Refused(1));

        // Blocks that were given up lately are free by now.
        Assert.Equal(Volatile().Replace(json, ""), Volatile().Replace(ExoProcess.Exo("df", "--json", _at.Image).Succeeded().Output, ""));
    }

    [GeneratedRegex("(free|available|willFree)Bytes\": [0-9]+")]
    private static partial Regex Volatile();

    [Fact]
    public void What_a_mount_keeps_from_being_done_says_where_it_is_mounted()
    {
        Mount();
        foreach (string[] line in new[] { ["ls", _at.Image], ["cat", _at.Image, "/x"], ["export", _at.Image, _at.Beside("out")], ["mkfs", _at.Image], new[] { "map", _at.Directory } })
        {
            string refused = ExoProcess.Exo(line).Refused(1);
            Assert.Contains("mounted", refused, StringComparison.Ordinal);
            Assert.Contains($"exo umount {_at.Directory}", refused, StringComparison.Ordinal);
        }

        Assert.Contains($"cannot be checked. Unmount it first (exo umount {_at.Directory})", ExoProcess.Exo("fsck", _at.Image).Refused(8), StringComparison.Ordinal);
        Assert.Contains("cannot be checked", ExoProcess.Exo("fsck", "--repair", _at.Image).Refused(8), StringComparison.Ordinal);
        Assert.Contains("cannot be checked", ExoProcess.Exo("fsck", _at.Directory).Refused(8), StringComparison.Ordinal);
        Unmount();
        Mount("-o", "ro");
        ExoProcess.Exo("fsck", _at.Image).Succeeded();
        ExoProcess.Exo("snapshot", _at.Image).Succeeded();
        Assert.Contains("reading only", ExoProcess.Exo("snapshot", _at.Image, "create", "x").Refused(1), StringComparison.Ordinal);
        Unmount();
    }

    [Fact]
    public void Links_lead_to_the_mount_and_partitions_have_their_own()
    {
        File.CreateSymbolicLink(_at.Beside("link.img"), _at.Image);
        Directory.CreateSymbolicLink(_at.Beside("link"), _at.Directory);
        Mount();
        ExoProcess.Exo("df", _at.Beside("link.img")).Succeeded();
        ExoProcess.Exo("df", _at.Beside("link") + "/").Succeeded();
        Assert.NotNull(MountedImage.Find(_at.Image));
        Assert.Null(MountedImage.Find(_at.Image + "#1"));
        Assert.Null(MountedImage.Find(In("below")));
        Assert.Null(MountedImage.Find(""));
        Unmount();
        Assert.Null(MountedImage.Find(_at.Image));
    }

    [Fact]
    public void A_strangers_mount_that_calls_itself_by_the_images_name_is_not_taken_for_it()
    {
        FuseMountPoint stranger = new("/elsewhere", _at.Image, 4711, 5);
        Assert.Null(MountedImage.Find(_at.Image, [stranger]));
        Assert.NotNull(MountedImage.Find("/elsewhere", [stranger]));
        Assert.Equal(0U, MountedImage.Find(_at.Image, [stranger, stranger with { User = 0 }])?.User);
        using (Process chown = Process.Start("chown", ["4711", _at.Image]))
        {
            chown.WaitForExit();
        }

        // The image's owner may mount it.
        Assert.NotNull(MountedImage.Find(_at.Image, [stranger]));
    }

    [Fact]
    public void Another_user_is_refused()
    {
        string setpriv = Requires.Program("setpriv");
        Mount("-o", "allow_other");
        using Process open = Process.Start("chmod", ["755", _at.Folder]);
        open.WaitForExit();
        ProcessStartInfo start = new(setpriv, ["--reuid=65534", "--regid=65534", "--clear-groups", Environment.ProcessPath is { } path && Path.GetFileName(path) == "dotnet" ? path : "dotnet", "exec", Path.Combine(AppContext.BaseDirectory, "exo.dll"), "snapshot", _at.Directory, "create", "theirs"])
        {
            RedirectStandardError = true,
            WorkingDirectory = "/",
        };
        start.Environment["DOTNET_CLI_HOME"] = start.Environment["HOME"] = "/nonexistent";
        using Process other = Process.Start(start)!;
        string said = other.StandardError.ReadToEnd();
        other.WaitForExit();
        Requires.That(!said.Contains("denied", StringComparison.OrdinalIgnoreCase), "another user cannot run what was built");
        Assert.Equal(1, other.ExitCode);
        Assert.Contains("does not let this user do it", said, StringComparison.Ordinal);
        Assert.False(Directory.Exists(In(".snapshots")));
        Unmount();
    }

    [Fact]
    public void A_signal_ends_what_goes_on_and_an_unmount_does_not_wait_for_it()
    {
        // Served by this process, so that it is known when it goes on.
        using CffsVolume volume = CffsVolume.Open(_at.Image);
        using FuseMount mount = FuseMount.Start(volume, _at.Directory, new FuseMountOptions { Source = _at.Image });
        int number = FuseMount.ListMounts().Single(point => point.Directory == mount.Directory).ConnectionNumber;
        using SemaphoreSlim begun = new(0);
        using MountAdministration administration = new(number, (_, _, token) => UntilCancelled(begun, token));
        foreach (string signal in new[] { "INT", "TERM" })
        {
            using ExoProcess client = ExoProcess.Start("exo.dll", "defrag", _at.Image);
            Assert.True(begun.Wait(TimeSpan.FromMinutes(1)));
            client.Signal(signal);
            Assert.Equal("exo defrag: interrupted", client.Wait().Refused(1));
        }

        using ExoProcess killed = ExoProcess.Start("exo.dll", "defrag", _at.Image);
        Assert.True(begun.Wait(TimeSpan.FromMinutes(1)));
        killed.Kill();
        using ExoProcess last = ExoProcess.Start("exo.dll", "defrag", _at.Image);
        Assert.True(begun.Wait(TimeSpan.FromMinutes(1)));
        administration.Dispose();
        Assert.Equal("exo defrag: interrupted", last.Wait().Refused(1));
    }

    /// <summary>A signal, or the end of who asks, ends the removal of a snapshot: it is whole or gone, the verb says which of the two, and the room comes back.</summary>
    [Theory]
    [InlineData("INT", 0)]
    [InlineData("INT", 10)]
    [InlineData("TERM", 20)]
    [InlineData("KILL", 10)]
    public void The_removal_of_a_snapshot_can_be_ended(string signal, int looks)
    {
        HeldClock clock = new();
        using (CffsVolume volume = CffsVolume.Open(_at.Image, new CffsOpenOptions { Time = clock }))
        {
            volume.CreateDirectory("/d");
            for (int i = 0; i < 40; i++)
            {
                volume.WriteAllBytes($"/d/{i}", new byte[9000]);
            }

            volume.CreateDirectory("/.snapshots");
            volume.CreateSnapshot("/d", "/.snapshots/s", cancellationToken: TestContext.Current.CancellationToken);
            using FuseMount mount = FuseMount.Start(volume, _at.Directory, new FuseMountOptions { Source = _at.Image });
            int number = FuseMount.ListMounts().Single(point => point.Directory == mount.Directory).ConnectionNumber;
            using SemaphoreSlim begun = new(0);
            using MountAdministration administration = new(number, (request, counts, token) =>
            {
                clock.Hold(looks, () =>
                {
                    begun.Release();
                    token.WaitHandle.WaitOne();
                });
                return request.CarryOut(volume, counts, token);
            });
            using ExoProcess client = ExoProcess.Start("exo.dll", "snapshot", _at.Image, "delete", "s");
            Assert.True(begun.Wait(TimeSpan.FromMinutes(1)));
            if (signal == "KILL")
            {
                client.Kill();
            }
            else
            {
                client.Signal(signal);
                Assert.Contains(looks == 0 ? "interrupted: 's' is still there, whole" : "interrupted: 's' is gone; some of its room is given back", client.Wait().Refused(1), StringComparison.Ordinal);
            }

            administration.Dispose();
            Assert.Equal(looks == 0, volume.Exists("/.snapshots/s"));
        }

        string found = ExoProcess.Exo("fsck", "--verbose", _at.Image).Succeeded().Output;
        Assert.Equal(looks != 0, found.Contains("a removal of a snapshot was cancelled", StringComparison.Ordinal));
        Assert.Equal(looks == 0, ExoProcess.Exo("snapshot", _at.Image).Succeeded().Output.Contains("  s", StringComparison.Ordinal));
        Mount();
        Unmount();
        found = ExoProcess.Exo("fsck", "--verbose", _at.Image).Succeeded().Output;
        Assert.DoesNotContain("cancelled", found, StringComparison.Ordinal);
    }

    /// <summary>Stops whoever looks at it at a certain time.</summary>
    private sealed class HeldClock : TimeProvider
    {
        private volatile int _left = -1;
        private Action? _then;

        /// <summary>At the look that is so many from now; 0: now.</summary>
        public void Hold(int looks, Action then)
        {
            _then = then;
            if (looks == 0)
            {
                then();
                return;
            }

            Interlocked.Exchange(ref _left, looks);
        }

        public override DateTimeOffset GetUtcNow()
        {
            if (_left > 0 && Interlocked.Decrement(ref _left) == 0)
            {
                _then?.Invoke();
            }

            return base.GetUtcNow();
        }
    }

    private static NothingResult UntilCancelled(SemaphoreSlim begun, CancellationToken token)
    {
        begun.Release();
        token.WaitHandle.WaitOne();
        token.ThrowIfCancellationRequested();
        return new NothingResult();
    }

    private string In(string name) => _at[name];

    private void Mount(params string[] options) => ExoProcess.Exo(["mount", _at.Image, _at.Directory, .. options]).Succeeded();

    private void Unmount()
    {
        ExoProcess.Exo("umount", _at.Directory).Succeeded();
        ExoProcess.Exo("fsck", _at.Image).Succeeded();
    }
}

/// <summary>The door itself: who gets in, what is said through it, and what strangers' bytes do.</summary>
public sealed class AdministrationDoorTests
{
    private static readonly FuseMountPoint Mine = new("/mnt", "disk.img", uint.Parse(File.ReadLines("/proc/self/status").Single(line => line.StartsWith("Uid:", StringComparison.Ordinal)).Split('\t')[2]), Random.Shared.Next(1 << 20, int.MaxValue));

    [Fact]
    public async Task Progress_and_results_come_through()
    {
        using ManualResetEventSlim seen = new();
        using MountAdministration door = new(Mine.ConnectionNumber, (request, counts, token) =>
        {
            Assert.Equal("/a"u8.ToArray(), Assert.IsType<DefragmentRequest>(request).Path);
            counts.Set(7, 9);
            seen.Wait(token);
            CffsLayout layout = new(1, double.NaN, 2.5, 3, 4, [5, 6]);
            return new DefragmentResult(new CffsDefragmentReport(7, layout, layout with { SmallFiles = 8 }));
        });
        StepCounts told = new();
        using AdministrationClient client = AdministrationClient.Connect(Mine);
        Task<DefragmentResult> asked = Task.Run(() => client.Ask(new DefragmentRequest("/a"u8.ToArray(), true), told, TestContext.Current.CancellationToken));
        SpinWait.SpinUntil(() => told.Items == 7);
        Assert.Equal(9, told.ItemsExpected);
        seen.Set();
        CffsDefragmentReport report = (await asked).Report;
        Assert.Equal((7UL, 8L, 2.5), (report.MovedBlocks, report.After.SmallFiles, report.Before.RequestsPer100SmallFiles));
        Assert.True(double.IsNaN(report.Before.SmallFilesGrouped));
        Assert.Equal([5UL, 6UL], report.After.FreeBlocksByRunLength);
    }

    [Fact]
    public void Errors_come_through_in_their_words_and_bugs_are_told_to_who_serves()
    {
        using MountAdministration door = new(
            Mine.ConnectionNumber, (request, _, _) => throw (request is SpaceRequest ? new IOException("no\nroom.") : new InvalidOperationException("a bug")));
        Assert.Equal("no room", Assert.Throws<IOException>(() => Ask(new SpaceRequest())).Message);
        Assert.False(door.Broken.IsFaulted);
        Assert.Contains("ends: a bug", Assert.Throws<IOException>(() => Ask(new SnapshotListRequest())).Message, StringComparison.Ordinal);
        Assert.IsType<InvalidOperationException>(Assert.Throws<AggregateException>(() => door.Broken.Wait(TestContext.Current.CancellationToken)).InnerException);
    }

    [Fact]
    public void Who_is_not_admitted_hears_nothing_and_who_is_not_the_mounts_user_is_not_asked()
    {
        using (MountAdministration closed = new(Mine.ConnectionNumber, (_, _, _) => new NothingResult(), _ => false))
        {
            Assert.Contains("does not let this user", Assert.Throws<IOException>(() => Ask(new SpaceRequest())).Message, StringComparison.Ordinal);
        }

        Assert.Contains("takes no commands", Assert.Throws<IOException>(() => Ask(new SpaceRequest())).Message, StringComparison.Ordinal);
        using MountAdministration open = new(Mine.ConnectionNumber, (_, _, _) => new NothingResult());
        Assert.Contains("takes no commands", Assert.Throws<IOException>(() => AdministrationClient.Connect(Mine with { User = Mine.User + 1 })).Message, StringComparison.Ordinal);

        // An answer to another question.
        Assert.Throws<IOException>(() => Ask(new SpaceRequest()));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Strangers_bytes_are_refused_and_the_door_goes_on(int seed)
    {
        Random random = new(seed);
        using MountAdministration door = new(Mine.ConnectionNumber, (request, _, _) =>
        {
            Assert.True(request.IsWellFormed);
            return new SpaceResult(default, "", 1, 2, 3, 4);
        });
        string name = Assert.Single(AdministrationClient.Listening(File.ReadLines("/proc/net/unix"), AdministrationFrames.NameOf(Mine.ConnectionNumber)));
        for (int i = 0; i < 200; i++)
        {
            using Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            socket.Connect(new UnixDomainSocketEndPoint('\0' + name));
            byte[] frame = Mutate(random, AdministrationFrames.Frame(Some(random)));
            try
            {
                socket.Send("EXOADMIN"u8);
                socket.Send(frame);
                socket.Shutdown(SocketShutdown.Send);
                byte[] reply = new byte[4096];
                while (socket.Receive(reply) > 0)
                {
                }
            }
            catch (SocketException)
            {
                // It has been sent away.
            }
        }

        Assert.Equal(2UL, Ask(new SpaceRequest()).FreeBlocks);
        Assert.False(door.Broken.IsFaulted);
    }

    [Fact]
    public void No_bytes_make_a_request_that_makes_no_sense_or_an_exception()
    {
        Random random = new(4);
        string[] hostile =
        [
            "", "null", "[]", "{}", "{\"do\":\"space\"", "{\"do\":\"none\"}", "{\"do\":5}", "{\"do\":\"resize\"}", "{\"do\":\"resize\",\"sizeBytes\":-1}", "{\"do\":\"resize\",\"sizeBytes\":1e99}",
            "{\"do\":\"resize\",\"sizeBytes\":\"9\"}", "{\"do\":\"defragment\",\"path\":null,\"isDryRun\":true}", "{\"do\":\"defragment\",\"path\":\"\",\"isDryRun\":true}", "{\"do\":\"defragment\",\"path\":\"*\",\"isDryRun\":true}",
            "{\"do\":\"create-snapshot\",\"source\":\"Lw==\",\"name\":\"YS9i\"}", "{\"do\":\"create-snapshot\",\"source\":\"YQ==\",\"name\":\"YQ==\"}", "{\"do\":\"delete-snapshot\",\"name\":\"YQBi\"}",
            string.Concat(Enumerable.Repeat("{\"a\":", 100_000)), string.Concat(Enumerable.Repeat("[", 200_000)),
        ];
        foreach (string text in hostile)
        {
            Assert.Null(AdministrationFrames.ParseRequest(Encoding.UTF8.GetBytes(text)));
        }

        Assert.IsType<SnapshotDeleteRequest>(AdministrationFrames.ParseRequest("{\"do\":\"delete-snapshot\",\"name\":\"YQ==\"}"u8));
        for (int i = 0; i < 20_000; i++)
        {
            byte[] json = AdministrationFrames.Frame(Some(random))[4..];
            Assert.NotNull(AdministrationFrames.ParseRequest(json));
            Assert.False(AdministrationFrames.ParseRequest(Mutate(random, json)) is { IsWellFormed: false });
            _ = AdministrationFrames.ParseReply(Mutate(random, AdministrationFrames.Frame(new AdministrationReply { Result = new SnapshotListResult([new SnapshotEntry([1, 2], 3, 4)]) })[4..]));
        }
    }

    [Fact]
    public void The_tables_of_the_kernel_are_read_as_they_are_written()
    {
        string[] mounts =
        [
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw",
            "30 22 0:51 / /a\\040b rw,relatime shared:1 - fuse.exo /disk\\134.img rw,user_id=1000,group_id=0,default_permissions",
            "31 22 0:52 / /below rw - fuse.exo one rw,user_id=0,group_id=0",
            "32 22 0:53 / /below rw - tmpfs tmpfs rw",
            "33 22 0:54 / /other rw - fuse.sshfs x rw,user_id=0",
            "34 22 0:55 / /strange rw - fuse.exo x rw,user_id=none",
            "nonsense", "",
        ];
        FuseMountPoint point = Assert.Single(MountTable.Read(mounts, null).Values);
        Assert.Equal(new FuseMountPoint("/a b", "/disk\\.img", 1000, 51), point);
        Assert.Empty(MountTable.Read(mounts, "/below"));
        string[] sockets =
        [
            "Num       RefCount Protocol Flags    Type St Inode Path",
            "0000000000000000: 00000002 00000000 00010000 0001 01 1 @exo-mount/5/aa",
            "0000000000000000: 00000002 00000000 00000000 0001 03 2 @exo-mount/5/bb",
            "0000000000000000: 00000002 00000000 00010000 0001 01 3 @exo-mount/55/cc",
            "0000000000000000: 00000002 00000000 00010000 0001 01 4 /exo-mount/5/dd",
            "0000000000000000: 00000002 00000000 00010000 0001 01 5",
        ];
        Assert.Equal(["exo-mount/5/aa"], AdministrationClient.Listening(sockets, AdministrationFrames.NameOf(5)));
    }

    private static TResult Ask<TResult>(VolumeRequest<TResult> request)
        where TResult : VolumeResult
    {
        using AdministrationClient client = AdministrationClient.Connect(Mine);
        return client.Ask(request, new StepCounts(), CancellationToken.None);
    }

    private static VolumeRequest Some(Random random) => random.Next(7) switch
    {
        0 => new SpaceRequest(),
        1 => new ResizeRequest(random.NextInt64(0, long.MaxValue)),
        2 => new DefragmentRequest("/d"u8.ToArray(), random.Next(2) == 0),
        3 => new SnapshotListRequest(),
        4 => new SnapshotCreateRequest("/"u8.ToArray(), [0xFF, 1, 2]),
        5 => new SnapshotDeleteRequest("x"u8.ToArray()),
        _ => new CopyTreeRequest("/a"u8.ToArray(), "/b"u8.ToArray(), true),
    };

    private static byte[] Mutate(Random random, byte[] bytes)
    {
        List<byte> changed = [.. bytes];
        for (int i = random.Next(4); i >= 0; i--)
        {
            int at = random.Next(changed.Count);
            switch (random.Next(4))
            {
                case 0: changed[at] = (byte)random.Next(256); break;
                case 1: changed.Insert(at, (byte)random.Next(256)); break;
                case 2 when changed.Count > 1: changed.RemoveAt(at); break;
                default: changed.InsertRange(at, changed[..Math.Min(changed.Count, 20)]); break;
            }
        }

        return [.. changed];
    }
}
