// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Cli.HostTree;
using Exo.FileSystems.CFFS;
using Exo.Tests;

namespace Exo.Cli.Tests;

/// <summary>What <c>export</c> and <c>import</c> keep of a file besides its bytes: holes, and attributes of the user.</summary>
public sealed class TransferTests : IDisposable
{
    private const int Block = 4096;
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Holes_and_attributes_come_back()
    {
        Directory.CreateDirectory(_folder["host"]);
        Requires.That(KeepsAttributes(_folder["host"]), "this folder's file system keeps no extended attributes");
        string first = _folder["first.img"];
        using (CffsVolume volume = CffsVolume.Create(first, new CffsCreateOptions { SizeBytes = 32 << 20, Seed = 1 }))
        {
            volume.CreateDirectory("/d");
            volume.SetExtendedAttribute("/d", "user.of directory", "1"u8.ToArray());
            volume.SetExtendedAttribute("/", "user.root", "2"u8.ToArray());
            volume.WriteAllBytes("/d/small", "text"u8.ToArray());
            volume.SetExtendedAttribute("/d/small", "user.empty", default);
            volume.SetExtendedAttribute("/d/small", "user.value", Enumerable.Range(0, 256).Select(at => (byte)at).ToArray());
            volume.SetExtendedAttribute("/d/small", "trusted.not", "x"u8.ToArray());
            volume.SetAttributes("/d/small", new CffsAttributeChange { Permissions = 0x124 });
            Sparse(volume, "/leading", 3 * Block, length: 5 * Block);
            Sparse(volume, "/trailing", 0, length: (40 * Block) + 123);
            Sparse(volume, "/between", 0, 9 * Block, 1000 * Block, length: (1001 * Block) - 5);
            using CffsFile hole = volume.OpenFile("/hole", CffsOpenMode.Write | CffsOpenMode.Create);
            hole.SetLength(1L << 40);
        }

        ExoProcess.Exo("export", first, _folder["host/tree"]).Succeeded();
        Assert.Equal(1L << 40, new FileInfo(_folder["host/tree/hole"]).Length);
        string second = _folder["second.img"];
        ExoProcess.Exo("mkfs", second, "--size", "32M").Succeeded();
        ExoProcess.Exo("import", second, _folder["host/tree"]).Succeeded();
        using CffsVolume before = CffsVolume.Open(first, new CffsOpenOptions { ReadOnly = true });
        using CffsVolume after = CffsVolume.Open(second, new CffsOpenOptions { ReadOnly = true });
        foreach (string path in (string[])["/", "/d", "/d/small", "/leading", "/trailing", "/between", "/hole"])
        {
            Assert.Equal(Attributes(before, path), Attributes(after, path));
            if (before.Stat(path).Kind == CffsKind.File)
            {
                Assert.Equal(Segments(before, path), Segments(after, path));
            }
        }

        Assert.Equal(["user.empty", "user.value"], after.ListExtendedAttributes("/d/small"));
        Assert.Equal(0x124, after.Stat("/d/small").Permissions);
        Assert.Equal(3UL, after.Stat("/between").AllocatedBlocks);
    }

    /// <summary>A host takes more than a block of attributes; the file comes without those, and it is said.</summary>
    [Fact]
    public void Attributes_that_a_volume_has_no_room_for_are_named()
    {
        Directory.CreateDirectory(_folder["host"]);
        Requires.That(KeepsAttributes(_folder["host"]), "this folder's file system keeps no extended attributes");
        using (HostDirectory host = HostDirectory.Open(_folder["host"]))
        {
            using HostFile file = host.CreateFile("file"u8);
            file.Write("contents"u8);
            try
            {
                // 4090 bytes as a volume counts them, 26 more than it has; ext4 has room for them.
                file.SetAttribute("user.a"u8, new byte[2000]);
                file.SetAttribute("user.b"u8, new byte[2000]);
                file.SetAttribute("user.c"u8, new byte[60]);
            }
            catch (HostException)
            {
                Requires.That(false, "this folder's file system has less room for attributes than a volume");
            }
        }

        string image = _folder["disk.img"];
        ExoProcess.Exo("mkfs", image, "--size", "16M").Succeeded();
        ExoResult import = ExoProcess.Exo("import", image, _folder["host"]);
        Assert.Equal(1, import.ExitCode);
        Assert.Contains("/file", import.Error, StringComparison.Ordinal);
        using CffsVolume volume = CffsVolume.Open(image, new CffsOpenOptions { ReadOnly = true });
        Assert.Equal("contents"u8.ToArray(), volume.ReadAllBytes("/file"));
        Assert.Equal(2, volume.ListExtendedAttributes("/file").Count);
    }

    private static void Sparse(CffsVolume volume, string path, long first, long second = -1, long third = -1, long length = 0)
    {
        using CffsFile file = volume.OpenFile(path, CffsOpenMode.ReadWrite | CffsOpenMode.Create);
        foreach (long at in new[] { first, second, third }.Where(at => at >= 0))
        {
            file.Write(at, Encoding.UTF8.GetBytes($"data at {at}"));
        }

        file.SetLength(length);
    }

    private static bool KeepsAttributes(string folder)
    {
        try
        {
            using HostDirectory host = HostDirectory.Open(folder);
            host.SetAttribute("user.probe"u8, "x"u8);
            return true;
        }
        catch (HostException)
        {
            return false;
        }
    }

    private static string Attributes(CffsVolume volume, string path) => string.Join(
        ' ',
        volume.ListExtendedAttributes(path).Where(name => name.StartsWith("user.", StringComparison.Ordinal)).Order(StringComparer.Ordinal)
            .Select(name => $"{name}={Convert.ToHexString(volume.GetExtendedAttribute(path, name)!)}"));

    private static string Segments(CffsVolume volume, string path)
    {
        using CffsFile file = volume.OpenFile(path);
        StringBuilder text = new();
        for (long end = 0, data; (data = file.SeekData(end)) >= 0;)
        {
            end = file.SeekHole(data);
            byte[] bytes = new byte[end - data];
            Assert.Equal(bytes.Length, file.Read(data, bytes));
            text.Append(System.Globalization.CultureInfo.InvariantCulture, $"{data}..{end}:{Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(bytes))} ");
        }

        return text.Append(file.Length).ToString();
    }
}
