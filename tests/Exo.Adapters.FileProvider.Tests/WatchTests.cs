// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.FileSystems.CFFS;
using Microsoft.Extensions.FileProviders;
using Microsoft.Extensions.Primitives;

namespace Exo.Adapters.FileProvider.Tests;

/// <summary>Tokens fire for what concerns them. What has been told is known by a last change that is seen by a token of its own.</summary>
public sealed class WatchTests : IDisposable
{
    private readonly MemoryVolume memory = new();
    private readonly CffsVolume volume;
    private readonly CffsFileProvider files;
    private int flushes;

    public WatchTests()
    {
        volume = memory.Volume;
        volume.CreateDirectories("/www/css/dark");
        volume.CreateDirectories("/www/js");
        volume.CreateDirectories("/other");
        memory.Write("/www/index.html", "index");
        memory.Write("/www/css/site.css", "site");
        memory.Write("/www/css/dark/site.css", "dark");
        files = new CffsFileProvider(volume, new CffsFileProviderOptions { Root = "/www" });
    }

    public void Dispose()
    {
        files.Dispose();
        memory.Dispose();
    }

    [Theory]
    [InlineData("index.html", "/www/index.html", true)]
    [InlineData("/index.html", "/www/index.html", true)]
    [InlineData("css/site.css", "/www/css/site.css", true)]
    [InlineData("css/site.css", "/www/index.html", false)]
    [InlineData("css/new.css", "/www/css/new.css", true)]
    [InlineData("Index.html", "/www/index.html", false)]
    [InlineData("*.html", "/www/index.html", true)]
    [InlineData("*.css", "/www/css/site.css", false)]
    [InlineData("**/*.css", "/www/css/dark/site.css", true)]
    [InlineData("**/*.css", "/www/index.html", false)]
    [InlineData("css/*.css", "/www/css/dark/site.css", false)]
    [InlineData("css/", "/www/css/dark/site.css", true)]
    [InlineData("css/", "/www/index.html", false)]
    [InlineData("/", "/www/css/site.css", true)]
    [InlineData("css/", "/other/css", false)]
    public void Writing_a_file_fires_what_names_it(string filter, string written, bool fires)
    {
        IChangeToken token = files.Watch(filter);
        memory.Write(written, "something else");
        FlushChanges();
        Assert.Equal(fires, token.HasChanged);
    }

    [Theory]
    [InlineData("css/site.css")]
    [InlineData("css/dark/site.css")]
    [InlineData("**/*.css")]
    [InlineData("css/")]
    [InlineData("moved/site.css")]
    public void Moving_a_directory_fires_what_is_or_will_be_in_it(string filter)
    {
        IChangeToken token = files.Watch(filter), unconcerned = files.Watch("index.html");
        volume.Rename("/www/css", "/www/moved");
        FlushChanges();
        Assert.True(token.HasChanged);
        token = files.Watch(filter);
        volume.Rename("/www/moved", "/other/moved");
        FlushChanges();
        Assert.Equal(!filter.StartsWith("css/", StringComparison.Ordinal), token.HasChanged);
        Assert.False(unconcerned.HasChanged);
    }

    [Fact]
    public void Pointing_a_link_elsewhere_fires_what_is_reached_through_it()
    {
        volume.CreateSymbolicLink("/www/current", "css");
        IChangeToken token = files.Watch("current/site.css"), unconcerned = files.Watch("css/site.css");
        volume.CreateSymbolicLink("/www/next", "css/dark");
        volume.Rename("/www/next", "/www/current");
        FlushChanges();
        Assert.True(token.HasChanged);
        Assert.False(unconcerned.HasChanged);
    }

    [Fact]
    public void Taking_away_permissions_of_a_directory_fires_what_is_in_it()
    {
        IChangeToken token = files.Watch("css/dark/site.css");
        volume.SetAttributes("/www/css", new CffsAttributeChange { Permissions = 0x1C0 });
        FlushChanges();
        Assert.True(token.HasChanged);
    }

    [Fact]
    public void A_token_fires_once_and_its_successor_again()
    {
        int calls = 0;
        using SemaphoreSlim called = new(0);
        using IDisposable registration = ChangeToken.OnChange(() => files.Watch("index.html"), () =>
        {
            Interlocked.Increment(ref calls);
            called.Release();
        });
        for (int i = 1; i <= 3; i++)
        {
            memory.Write("/www/index.html", $"version {i}");
            Assert.True(called.Wait(TimeSpan.FromSeconds(30)));
        }

        Assert.True(calls >= 3);
    }

    [Fact]
    public void Those_who_wait_for_the_same_share_a_token()
    {
        using CancellationTokenSource first = new(), second = new();
        files.Watch("/css//site.css").RegisterChangeCallback(_ => first.Cancel(), null);
        files.Watch("css/site.css").RegisterChangeCallback(_ => second.Cancel(), null);
        memory.Write("/www/css/site.css", "new");
        Assert.True(first.Token.WaitHandle.WaitOne(TimeSpan.FromSeconds(30)));
        Assert.True(second.Token.WaitHandle.WaitOne(TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public void A_callback_that_throws_or_blocks_stops_nobody_else()
    {
        using ManualResetEventSlim release = new();
        files.Watch("index.html").RegisterChangeCallback(_ => throw new InvalidOperationException("mine"), null);
        files.Watch("css/site.css").RegisterChangeCallback(_ => release.Wait(), null);
        memory.Write("/www/index.html", "new");
        memory.Write("/www/css/site.css", "new");
        FlushChanges();
        release.Set();
    }

    [Fact]
    public void When_changes_were_missed_everything_fires()
    {
        using CffsFileProvider narrow = new(volume, new CffsFileProviderOptions { WatchCapacity = 1 });
        IChangeToken token = narrow.Watch("www/index.html");
        using ManualResetEventSlim fired = new();
        token.RegisterChangeCallback(_ => fired.Set(), null);
        for (int i = 0; i < 1_000_000 && !fired.IsSet; i++)
        {
            volume.WriteAllBytes("/other/a", new byte[1]);
            volume.WriteAllBytes("/other/b", new byte[1]);
            volume.RemoveFile("/other/a");
            volume.RemoveFile("/other/b");
        }

        Assert.True(token.HasChanged);
    }

    [Theory]
    [InlineData("")]
    [InlineData("../secret")]
    [InlineData("a\0b")]
    [InlineData(".git/config")]
    public void What_is_never_there_never_changes(string filter) => Assert.Same(NullChangeToken.Singleton, files.Watch(filter));

    // The promise: if the provider's answer about a path is another than before, the path's token has fired, and a pattern's that names it.
    [Fact]
    public void No_change_is_missed()
    {
        string[] names = ["a", "b", "c.css"];
        Gen<string> paths = Gen.Int[0, 2].Select(i => names[i]).List[1, 3].Select(list => string.Join('/', list));
        Gen<(int Kind, string Path, string Other)> operations = Gen.Select(Gen.Int[0, 6], paths, paths);
        operations.List[1, 12].Sample(list =>
        {
            using MemoryVolume scratch = new();
            scratch.Volume.CreateDirectory("/www");
            using CffsFileProvider provider = new(scratch.Volume, new CffsFileProviderOptions { Root = "/www" });
            string[] watched = [.. from one in names from two in names.Append("") from three in names.Append("") select $"{one}/{two}/{three}".TrimEnd('/').Replace("//", "/", StringComparison.Ordinal)];
            int flush = 0;
            foreach ((int kind, string path, string other) in list)
            {
                (string Path, string Answer, IChangeToken Token)[] before = [.. watched.Distinct().Select(name => (name, Answer(provider, name), provider.Watch(name)))];
                IChangeToken styles = provider.Watch("**/*.css"), everything = provider.Watch("/");
                Perform(scratch.Volume, kind, "/www/" + path, "/www/" + other);
                Flush(scratch.Volume, provider, flush++);
                foreach ((string name, string answer, IChangeToken token) in before)
                {
                    bool changed = Answer(provider, name) != answer;
                    Assert.True(!changed || token.HasChanged, $"{kind} {path} {other}: {name}");
                    Assert.True(!changed || everything.HasChanged, $"{kind} {path} {other}: everything");
                    Assert.True(!changed || !name.EndsWith(".css", StringComparison.Ordinal) || styles.HasChanged, $"{kind} {path} {other}: styles");
                }
            }
        }, iter: 100);
    }

    private static string Answer(CffsFileProvider provider, string path) =>
        provider.GetFileInfo(path) is CffsFileInfo info ? $"{info.Length} {info.EntityTag}" : "nothing";

    private static void Perform(CffsVolume volume, int kind, string path, string other)
    {
        try
        {
            switch (kind)
            {
                case 0: volume.ReplaceAllBytes(path, new byte[3]); break;
                case 1: volume.CreateDirectory(path); break;
                case 2: volume.RemoveFile(path); break;
                case 3: volume.RemoveDirectory(path); break;
                case 4: volume.Rename(path, other); break;
                case 5: volume.SetAttributes(path, new CffsAttributeChange { Permissions = (ushort)(volume.Stat(path).Permissions ^ 4) }); break;
                default: volume.CreateHardLink(path, other); break;
            }
        }
        catch (CffsException)
        {
            // Most random operations are refused; what changes nothing is as good.
        }
    }

    private void FlushChanges() => Flush(volume, files, flushes++);

    // Changes are told in their order: when this one has been told, all before it have.
    private static void Flush(CffsVolume volume, CffsFileProvider provider, int number)
    {
        using ManualResetEventSlim told = new();
        string name = $"flush-{number}";
        using IDisposable registration = provider.Watch(name).RegisterChangeCallback(_ => told.Set(), null);
        volume.WriteAllBytes($"/www/{name}", default);
        Assert.True(told.Wait(TimeSpan.FromSeconds(30)));
    }
}
