// SPDX-License-Identifier: MIT
using System.Text;
using CsCheck;
using Exo.FileSystems.CFFS;
using Microsoft.Extensions.FileProviders;

namespace Exo.Adapters.FileProvider.Tests;

/// <summary>What is found by which path, and what is said of it.</summary>
public sealed class FileInfoTests : IDisposable
{
    private readonly MemoryVolume memory = new();
    private readonly CffsVolume volume;
    private readonly CffsFileProvider files;

    public FileInfoTests()
    {
        volume = memory.Volume;
        volume.CreateDirectories("/www/sub/.hidden");
        memory.Write("/secret", "secret");
        memory.Write("/www/page", "page");
        memory.Write("/www/sub/page", "sub page");
        memory.Write("/www/.env", "password");
        memory.Write("/www/sub/.hidden/page", "hidden page");
        volume.WriteAllBytes("/www/private", "private"u8.ToArray(), permissions: 0x180);
        volume.CreateSymbolicLink("/www/absolute", "/sub/page");
        volume.CreateSymbolicLink("/www/out", "../secret");
        volume.CreateSymbolicLink("/www/loop", "loop");
        volume.CreateSymbolicLink("/www/directory", "sub");
        volume.CreateNode("/www/pipe"u8.ToArray(), 0x11A4);
        files = new CffsFileProvider(volume, new CffsFileProviderOptions { Root = "/www" });
    }

    public void Dispose()
    {
        files.Dispose();
        memory.Dispose();
    }

    [Theory]
    [InlineData("page", "page")]
    [InlineData("/page", "page")]
    [InlineData("//sub///page", "sub page")]
    [InlineData("./sub/./page", "sub page")]
    [InlineData("absolute", "sub page")]
    [InlineData("directory/page", "sub page")]
    [InlineData("", null)]
    [InlineData("/", null)]
    [InlineData("sub", null)]
    [InlineData("page/", null)]
    [InlineData("page/below", null)]
    [InlineData("nothing", null)]
    [InlineData("out", null)]
    [InlineData("loop", null)]
    [InlineData("pipe", null)]
    [InlineData("private", null)]
    [InlineData(".env", null)]
    [InlineData("sub/.hidden/page", null)]
    [InlineData("../secret", null)]
    [InlineData("/../../secret", null)]
    [InlineData("sub/../page", null)]
    [InlineData("..\\secret", null)]
    [InlineData("page\0.txt", null)]
    [InlineData("\ud800", null)]
    public void A_path_leads_to_a_file_or_to_nothing(string path, string? contents)
    {
        IFileInfo info = files.GetFileInfo(path);
        Assert.Equal(contents is not null, info.Exists);
        Assert.Null(info.PhysicalPath);
        if (contents is null)
        {
            Assert.Throws<FileNotFoundException>(info.CreateReadStream);
        }
        else
        {
            Assert.Equal(contents, Read(info));
            Assert.Equal(contents.Length, info.Length);
            Assert.False(info.IsDirectory);
            Assert.Equal(path[(path.LastIndexOf('/') + 1)..], info.Name);
        }
    }

    [Fact]
    public void A_name_that_is_too_long_is_not_there() => Assert.False(files.GetFileInfo(new string('x', 256)).Exists);

    [Fact]
    public void A_directory_is_listed_without_what_is_not_there()
    {
        IDirectoryContents contents = files.GetDirectoryContents("");
        Assert.True(contents.Exists);
        Assert.Equal(["absolute", "directory/", "page", "sub/"], contents.Select(entry => entry.Name + (entry.IsDirectory ? "/" : "")).Order(StringComparer.Ordinal));
        Assert.Equal(-1, contents.Single(entry => entry.Name == "sub").Length);
        Assert.Equal("sub page", Read(contents.Single(entry => entry.Name == "absolute")));
        Assert.Throws<InvalidOperationException>(contents.Single(entry => entry.Name == "sub").CreateReadStream);
        Assert.Equal(["page"], files.GetDirectoryContents("/directory/").Select(entry => entry.Name));
        Assert.All(["page", "nothing", "..", ".", "out", "sub/.hidden"], path => Assert.Equal(path == ".", files.GetDirectoryContents(path).Exists));
    }

    [Fact]
    public void A_directory_that_goes_is_empty()
    {
        IDirectoryContents contents = files.GetDirectoryContents("sub");
        volume.Rename("/www/sub", "/elsewhere");
        Assert.Empty(contents);
    }

    [Fact]
    public void A_name_that_is_no_text_is_not_listed()
    {
        volume.WriteAllBytes((byte[])[.. "/www/sub/"u8, 0xFF, (byte)'x'], new byte[1]);
        Assert.Equal(["page"], files.GetDirectoryContents("sub").Select(entry => entry.Name));
    }

    [Fact]
    public void Hidden_files_and_the_superusers_are_there_on_demand()
    {
        using CffsFileProvider all = new(volume, new CffsFileProviderOptions { Root = "/www", IncludesHidden = true, Identity = CffsIdentity.Superuser });
        Assert.Equal("password", Read(all.GetFileInfo(".env")));
        Assert.Equal("private", Read(all.GetFileInfo("private")));
        Assert.Equal("hidden page", Read(all.GetFileInfo("sub/.hidden/page")));
        Assert.Contains(".env", all.GetDirectoryContents("").Select(entry => entry.Name));
        Assert.False(all.GetFileInfo("../secret").Exists);
    }

    [Fact]
    public void Times_are_those_of_the_contents()
    {
        volume.SetAttributes("/www/page", new CffsAttributeChange { ModifyTimeNs = 1_234_567_890_123_456_789 });
        Assert.Equal(new DateTimeOffset(2009, 2, 13, 23, 31, 30, TimeSpan.Zero).AddTicks(1_234_567), files.GetFileInfo("page").LastModified);
    }

    [Fact]
    public void The_entity_tag_changes_with_every_change_and_only_then()
    {
        string Tag() => ((CffsFileInfo)files.GetFileInfo("page")).EntityTag;
        HashSet<string> tags = [Tag()];
        Assert.Matches("^\"[0-9a-f]{32}\"$", Tag());
        Assert.False(tags.Add(Tag()));
        memory.Write("/www/page", "PAGE");                 // another file of that name, of the same length, within the same second
        Assert.True(tags.Add(Tag()));
        using (CffsFile file = volume.OpenFile("/www/page", CffsOpenMode.Write))
        {
            file.Write(0, "edit"u8);                       // in place
            Assert.True(tags.Add(Tag()));
            long time = file.Stat().ModifyTimeNs;
            file.Write(0, "tide"u8);
            volume.SetAttributes("/www/page", new CffsAttributeChange { ModifyTimeNs = time });   // and its traces covered
            Assert.True(tags.Add(Tag()));
        }

        Assert.False(tags.Add(Tag()));
    }

    [Fact]
    public void What_has_changed_since_it_was_looked_up_is_not_opened()
    {
        IFileInfo replaced = files.GetFileInfo("page");
        memory.Write("/www/page", "a longer page");
        Assert.IsType<IOException>(Record.Exception(replaced.CreateReadStream));
        IFileInfo closed = files.GetFileInfo("page");
        volume.SetAttributes("/www/page", new CffsAttributeChange { Permissions = 0 });
        Assert.Throws<FileNotFoundException>(closed.CreateReadStream);
        volume.SetAttributes("/www/page", new CffsAttributeChange { Permissions = 0x1A4 });
        IFileInfo removed = files.GetFileInfo("page");
        volume.RemoveFile("/www/page");
        Assert.Throws<FileNotFoundException>(removed.CreateReadStream);
    }

    [Fact]
    public void A_stream_reads_and_does_not_write()
    {
        using Stream stream = files.GetFileInfo("sub/page").CreateReadStream();
        Assert.True(stream is { CanRead: true, CanSeek: true, CanWrite: false, Length: 8 });
        stream.Position = 4;
        Assert.Equal("page", new StreamReader(stream).ReadToEnd());
    }

    [Fact]
    public void The_provider_stays_with_its_directory()
    {
        volume.Rename("/www", "/moved");
        memory.Write("/moved/sub/new", "new");
        Assert.Equal("new", Read(files.GetFileInfo("sub/new")));
    }

    [Theory]
    [InlineData("/nothing")]
    [InlineData("/secret")]
    public void A_root_must_be_a_directory(string root) =>
        Assert.Throws<CffsException>(() => new CffsFileProvider(volume, new CffsFileProviderOptions { Root = root }));

    [Fact]
    public void The_volume_may_close_first()
    {
        using MemoryVolume closing = new();
        CffsFileProvider provider = new(closing.Volume);
        provider.Watch("**");
        closing.Volume.Dispose();
        provider.Dispose();
        provider.Dispose();
        Assert.Throws<ObjectDisposedException>(() => provider.Watch("**"));
    }

    // Any text as a path: an answer, never an exception, and never what lies outside.
    [Fact]
    public void No_path_leads_out() =>
        Gen.OneOf<string>("..", ".", "sub", "page", "www", "secret", "out", "absolute", "", "\0", "\\", "é").List[0, 8]
            .Select(Gen.Bool, (names, rooted) => (rooted ? "/" : "") + string.Join('/', names))
            .Sample(path =>
            {
                IFileInfo info = files.GetFileInfo(path);
                Assert.True(!info.Exists || Read(info) is "page" or "sub page", path);
                Assert.DoesNotContain("secret", files.GetDirectoryContents(path).Select(entry => entry.Name));
                files.Watch(path);
            });

    private static string Read(IFileInfo info)
    {
        using StreamReader reader = new(info.CreateReadStream(), Encoding.UTF8);
        return reader.ReadToEnd();
    }
}
