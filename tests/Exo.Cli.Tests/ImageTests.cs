// SPDX-License-Identifier: MIT
using System.Text;
using System.Text.Json;
using Exo.FileSystems.CFFS;
using Exo.Tests;

namespace Exo.Cli.Tests;

/// <summary>What the verbs say about a small image whose times and numbers are fixed.</summary>
public sealed class ImageTests : IDisposable
{
    private const long ModifyTimeNs = 1_700_000_000_123_456_789;
    private readonly TempFolder _folder = new();
    private readonly string _image;

    public ImageTests()
    {
        _image = _folder["disk.img"];
        using CffsVolume volume = CffsVolume.Create(_image, new CffsCreateOptions
        {
            SizeBytes = 16 << 20,
            Label = "sample",
            Seed = 7,
            Open = new CffsOpenOptions { Time = new FixedTime() },
        });
        volume.CreateDirectory("/docs");
        volume.CreateDirectory("/empty", 0x3FF); // rwxrwxrwt
        Write(volume, "/docs/long.bin", new byte[1_000_000], 0x180);
        Write(volume, "/docs/readme.txt", "Hello, disk.\n"u8, 0x1A4);
        Write(volume, "/run", "#!/bin/sh\n"u8, 0x9ED); // rwsr-xr-x
        volume.CreateHardLink("/run", "/docs/run too");
        volume.CreateSymbolicLink("/latest", "docs/readme.txt");
        volume.CreateNode("/null"u8.ToArray(), 0x21B6, 0x103);
        volume.CreateNode("/queue"u8.ToArray(), 0x11A4, 0);
        byte[] odd = [(byte)'/', (byte)'o', 0xFF, (byte)'\n', (byte)'d', (byte)'\\'];
        volume.WriteAllBytes(odd, "odd"u8.ToArray());
        foreach (string path in (string[])["/docs/long.bin", "/docs/readme.txt", "/run", "/docs", "/empty", "/null", "/queue", "/latest"])
        {
            volume.SetAttributes(
                path,
                new CffsAttributeChange { User = 1000, Group = 100, AccessTimeNs = ModifyTimeNs + 1, ModifyTimeNs = ModifyTimeNs },
                followSymbolicLink: false);
        }

        volume.SetAttributes(odd, new CffsAttributeChange { ModifyTimeNs = -1 });
        volume.SetAttributes("/", new CffsAttributeChange { ModifyTimeNs = ModifyTimeNs });
    }

    [Fact]
    public void Trees_are_copied_within_an_image_and_to_another()
    {
        string other = _folder["other.img"];
        ExoProcess.Exo("mkfs", other, "--size", "16M").Succeeded();
        string before = ExoProcess.Exo("tree", _image, "/docs").Succeeded().Output;
        Assert.Equal("3 files, 1 directories, 0 others, 0 links; 23 copied, 977K shared\n", ExoProcess.Exo("xcp", _image, "/docs", "/empty/docs").Succeeded().Output);
        ExoProcess.Exo("xcp", _image, "/docs", "/papers", "--to", other).Succeeded();
        Assert.Equal(Below(before), Below(ExoProcess.Exo("tree", _image, "/empty/docs").Succeeded().Output));
        Assert.Equal(Below(before), Below(ExoProcess.Exo("tree", other, "/papers").Succeeded().Output));
        Assert.NotEqual(0, ExoProcess.Exo("xcp", _image, "/docs", "/papers", "--to", other).ExitCode);
        Assert.NotEqual(0, ExoProcess.Exo("xcp", _image, "/run", "/x").ExitCode);
        ExoProcess.Exo("fsck", other).Succeeded();
        ExoProcess.Exo("fsck", _image).Succeeded();

        static string Below(string tree) => tree[tree.IndexOf('\n', StringComparison.Ordinal)..];
    }

    /// <summary>The code that XN runs for this file system, as anybody can read it off a disk.</summary>
    [Fact]
    public void Templates()
    {
        StringBuilder all = new();
        foreach (string? name in (string?[])[null, "cffs.super", "cffs.slots", "cffs.file-tree", "cffs.data"])
        {
            ExoResult result = ExoProcess.Exo([.. new[] { "templates", _image, name }.OfType<string>()]).Succeeded();
            Assert.Equal("", result.Error);
            all.Append("$ exo templates disk.img ").Append(name).Append('\n').Append(result.Output).Append('\n');
        }

        Snapshot.Verify(all.ToString());
        using JsonDocument json = JsonDocument.Parse(ExoProcess.Exo("templates", "--json", _image).Succeeded().Output);
        Assert.Equal("cffs.super", json.RootElement.GetProperty("templates")[0].GetProperty("name").GetString());
        Assert.Contains("exit", json.RootElement.GetProperty("templates")[1].GetProperty("owns").GetString(), StringComparison.Ordinal);
        Assert.Equal(1, ExoProcess.Exo("templates", _image, "none").ExitCode);
    }

    [Fact]
    public void Listings()
    {
        StringBuilder all = new();
        foreach (string line in (string[])
            ["ls I", "ls -l I", "ls -l I /docs", "ls -l I /run", "ls I /empty", "tree I", "tree I docs", "stat I", "stat I /run", "stat I /latest", "stat I /null", "cat I /docs/readme.txt /run"])
        {
            ExoResult result = ExoProcess.Exo([.. line.Split(' ').Select(word => word == "I" ? _image : word)]).Succeeded();
            Assert.Equal("", result.Error);
            all.Append("$ exo ").Append(line.Replace(" I", " disk.img", StringComparison.Ordinal)).Append('\n').Append(result.Output).Append('\n');
        }

        Snapshot.Verify(all.ToString());
    }

    [Fact]
    public void Json()
    {
        StringBuilder all = new();
        foreach (string line in (string[])["ls --json I", "stat --json I /latest", "tree --json I /docs", "fsck --json I", "df --json I"])
        {
            ExoResult result = ExoProcess.Exo([.. line.Split(' ').Select(word => word == "I" ? _image : word)]).Succeeded();
            using JsonDocument document = JsonDocument.Parse(result.OutputBytes);
            all.Append("$ exo ").Append(line.Replace(" I", " disk.img", StringComparison.Ordinal)).Append('\n');
            Shape(document.RootElement, "", all);
            all.Append('\n');
        }

        Snapshot.Verify(all.ToString());
    }

    [Fact]
    public void A_sound_image_is_clean()
    {
        ExoResult result = ExoProcess.Exo("fsck", _image).Succeeded();
        Assert.Contains("clean", result.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("NOT", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_damaged_image_is_reported_and_left_alone()
    {
        byte[] bytes = File.ReadAllBytes(_image);
        int at = bytes.AsSpan().IndexOf("readme.txt"u8);
        Assert.True(at > 0);
        bytes[at] ^= 0x20;
        File.WriteAllBytes(_image, bytes);
        ExoResult result = ExoProcess.Exo("fsck", _image);
        Assert.Equal(4, result.ExitCode);
        Assert.Contains("error", result.Output, StringComparison.Ordinal);
        Assert.Equal(bytes, File.ReadAllBytes(_image));
    }

    [Fact]
    public void A_damaged_image_is_repaired()
    {
        byte[] bytes = File.ReadAllBytes(_image);
        int at = bytes.AsSpan().IndexOf("readme.txt"u8);
        bytes[at] ^= 0x20;
        File.WriteAllBytes(_image, bytes);
        ExoResult plan = ExoProcess.Exo("fsck", "--repair", "--dry-run", _image);
        Assert.Equal(4, plan.ExitCode);
        Assert.Contains("would repair: ", plan.Output, StringComparison.Ordinal);
        Assert.Equal(bytes, File.ReadAllBytes(_image));

        ExoResult repair = ExoProcess.Exo("fsck", "--repair", _image);
        Assert.Equal(1, repair.ExitCode);
        Assert.Contains("repair: sector-emptied: ", repair.Output, StringComparison.Ordinal);
        ExoProcess.Exo("fsck", _image).Succeeded();
        ExoProcess.Exo("tree", _image).Succeeded();

        // What is clean is left as it is.
        byte[] clean = File.ReadAllBytes(_image);
        ExoProcess.Exo("fsck", "--repair", "--json", _image).Succeeded();
        Assert.Equal(clean, File.ReadAllBytes(_image));
    }

    [Fact]
    public void Looking_changes_nothing()
    {
        byte[] before = File.ReadAllBytes(_image);
        foreach (string verb in (string[])["ls", "tree", "stat", "df", "fsck"])
        {
            ExoProcess.Exo(verb, _image).Succeeded();
        }

        Assert.Equal(before, File.ReadAllBytes(_image));
    }

    [Fact]
    public void Names_that_are_not_there_are_one_line()
    {
        Assert.Contains("/nosuch", ExoProcess.Exo("cat", _image, "/nosuch").Refused(1), StringComparison.Ordinal);
        ExoProcess.Exo("ls", _image, "/nosuch/x").Refused(1);
        ExoProcess.Exo("stat", _image, "/run/x").Refused(1);
        ExoProcess.Exo("cat", _image, "/docs").Refused(1);
        ExoProcess.Exo("cat", _image, "/\\q").Refused(2);
    }

    [Fact]
    public void An_odd_name_is_reached_by_what_ls_shows()
    {
        string shown = ExoProcess.Exo("ls", _image).Succeeded().Output.Split('\n').Single(line => line.StartsWith("o\\", StringComparison.Ordinal));
        Assert.Equal("odd", ExoProcess.Exo("cat", _image, shown).Succeeded().Output);
    }

    [Fact]
    public void Mkfs_makes_an_image_and_does_not_replace_one_unasked()
    {
        string image = _folder["new.img"];
        ExoProcess.Exo("mkfs", image, "--size", "8M", "--label", "mine").Succeeded();
        Assert.Equal(8 << 20, new FileInfo(image).Length);
        ExoProcess.Exo("fsck", image).Succeeded();
        ExoProcess.Exo("mkfs", image, "--size", "8M").Refused(1);
        using (JsonDocument df = JsonDocument.Parse(ExoProcess.Exo("df", "--json", image).Succeeded().OutputBytes))
        {
            Assert.Equal("mine", df.RootElement.GetProperty("label").GetString());
        }

        ExoProcess.Exo("mkfs", image, "--force").Succeeded();
        ExoProcess.Exo("mkfs", _folder["small.img"], "--size", "4K").Refused(1);
    }

    [Fact]
    public void An_image_in_use_is_refused()
    {
        using CffsVolume held = CffsVolume.Open(_image);
        Assert.Contains("disk.img", ExoProcess.Exo("import", _image, _folder.Path).Refused(1), StringComparison.Ordinal);
        ExoProcess.Exo("mkfs", _image, "--force").Refused(1);
        Assert.True(held.Exists("/docs/readme.txt"));
    }

    [Fact]
    public void A_full_image_is_one_line_and_stays_sound()
    {
        string image = _folder["full.img"];
        ExoProcess.Exo("mkfs", image, "--size", "4M").Succeeded();
        Directory.CreateDirectory(_folder["much"]);
        File.WriteAllBytes(_folder["much/a"], new byte[3 << 20]);
        File.WriteAllBytes(_folder["much/b"], new byte[3 << 20]);
        ExoProcess.Exo("import", image, _folder["much"]).Refused(1);
        ExoProcess.Exo("fsck", image).Succeeded();
    }

    public void Dispose() => _folder.Dispose();

    private static void Write(CffsVolume volume, string path, ReadOnlySpan<byte> contents, ushort permissions)
    {
        volume.WriteAllBytes(path, contents.ToArray());
        volume.SetAttributes(path, new CffsAttributeChange { Permissions = permissions });
    }

    /// <summary>Names and types of all members, with the values that do not depend on the image file's place or layout.</summary>
    private static void Shape(JsonElement element, string path, StringBuilder text)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                foreach (JsonProperty property in element.EnumerateObject())
                {
                    Shape(property.Value, $"{path}.{property.Name}", text);
                }

                break;
            case JsonValueKind.Array:
                int i = 0;
                foreach (JsonElement item in element.EnumerateArray())
                {
                    Shape(item, $"{path}[{i++}]", text);
                }

                break;
            default:
                bool isFixed = !(path is ".image" or ".volumeId" || path.EndsWith("Blocks", StringComparison.Ordinal)
                    || path.EndsWith("reeBytes", StringComparison.Ordinal) || path.EndsWith(".inode", StringComparison.Ordinal));
                text.Append(path[1..]).Append(" = ").Append(isFixed ? element.GetRawText() : element.ValueKind.ToString()).Append('\n');
                break;
        }
    }

    private sealed class FixedTime : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeSeconds(1_767_225_600); // 2026-01-01
    }
}
