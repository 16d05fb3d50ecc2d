// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS;
using Exo.Tests;

namespace Exo.Cli.Tests;

/// <summary>An import that places pages and what they include next to each other.</summary>
public sealed class GroupPagesTests : IDisposable
{
    private const int BlockBytes = 4096;

    private readonly TempFolder _folder = new();
    private readonly Dictionary<string, byte[]> _site = [];

    public void Dispose() => _folder.Dispose();

    private string Source => _folder["site"];

    private void Put(string path, string text, int lengthBytes = 0)
    {
        byte[] bytes = new byte[Math.Max(lengthBytes, text.Length)];
        new Random(path.Length).NextBytes(bytes);
        System.Text.Encoding.ASCII.GetBytes(text).CopyTo(bytes, 0);
        string file = Path.Combine(Source, path[1..]);
        _ = Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllBytes(file, bytes);
        _site[path] = bytes;
    }

    private void MakeSite()
    {
        // Comments are closed, since what follows them to the file's length is noise.
        Put("/index.html", "<link rel=stylesheet href=css/main.css><script src=/js/main.js></script><img src=img/one.png><img src=img/missing.png><img src=/img/big.bin><plaintext>", 5000);
        Put("/b/page.html", "<link rel=stylesheet href=../css/main.css><img src=../img/two.png><img src=../../out.png><img src=../link.png><plaintext>", 9000);
        Put("/css/main.css", "@import 'base.css'; body { background: url(../img/back.png) } /*", 3000);
        Put("/css/base.css", "/* nothing */", 600);
        Put("/js/main.js", "", 70_000);
        foreach (string name in new[] { "one", "two", "three", "back" })
        {
            Put($"/img/{name}.png", "", 4100);
        }

        Put("/img/big.bin", "", 300_000);
        Put("/a/text", "text", 2000);
        File.CreateSymbolicLink(Path.Combine(Source, "link.png"), "img/three.png");
    }

    private static (ulong First, ulong End) RunOf(CffsVolume volume, string path)
    {
        using CffsFile file = volume.OpenFile(path);
        CffsExtent extent = Assert.Single(file.ReadExtents());
        ulong first = extent.Block!.Value.Value;
        return (first, first + (ulong)((extent.LengthBytes + BlockBytes - 1) / BlockBytes));
    }

    private static void AssertRun(CffsVolume volume, string root, params string[] paths)
    {
        ulong next = 0;
        foreach (string path in paths)
        {
            (ulong first, ulong end) = RunOf(volume, root + path);
            Assert.True(next == 0 || first == next, $"{path} begins at {first}, the last one ended at {next}");
            next = end;
        }
    }

    [Theory]
    [InlineData("/")]
    [InlineData("/www/site")]
    public void Each_page_is_one_run_with_what_no_page_before_it_included(string to)
    {
        MakeSite();
        string image = _folder["disk.img"];
        ExoProcess.Exo("mkfs", image, "--size", "32M").Succeeded();
        ExoResult result = ExoProcess.Exo("import", image, Source, "--to", to, "--group-pages").Succeeded();
        Assert.Contains("11 files, 5 directories, 1 links, 2 pages with what they include", result.Output, StringComparison.Ordinal);
        ExoProcess.Exo("fsck", image).Succeeded();

        // Once more over what is there: everything is replaced.
        ExoProcess.Exo("import", image, Source, "--to", to, "--group-pages").Succeeded();
        ExoProcess.Exo("fsck", image).Succeeded();
        using CffsVolume volume = CffsVolume.Open(image, new CffsOpenOptions { ReadOnly = true });
        string root = to == "/" ? "" : to;
        foreach ((string path, byte[] contents) in _site)
        {
            Assert.Equal(contents, volume.ReadAllBytes(root + path));
            Assert.Equal(File.GetLastWriteTimeUtc(Path.Combine(Source, path[1..])), DateTime.UnixEpoch.AddTicks(volume.Stat(root + path).ModifyTimeNs / 100));
        }

        Assert.Equal("img/three.png"u8, volume.ReadSymbolicLink(root + "/link.png"));
        AssertRun(volume, root, "/index.html", "/css/main.css", "/js/main.js", "/img/one.png", "/css/base.css", "/img/back.png");
        AssertRun(volume, root, "/b/page.html", "/img/two.png");
    }

    [Fact]
    public void Without_the_option_files_lie_with_their_directories()
    {
        MakeSite();
        string image = _folder["disk.img"];
        ExoProcess.Exo("mkfs", image, "--size", "32M").Succeeded();
        ExoProcess.Exo("import", image, Source).Succeeded();
        using CffsVolume volume = CffsVolume.Open(image, new CffsOpenOptions { ReadOnly = true });
        Assert.NotEqual(RunOf(volume, "/b/page.html").End, RunOf(volume, "/img/two.png").First);
    }
}
