// SPDX-License-Identifier: MIT
using System.Xml.Linq;
using Exo.Cli.Map;
using Exo.FileSystems.CFFS;
using Exo.Tests;

namespace Exo.Cli.Tests;

/// <summary>The picture of a volume says what is where.</summary>
public sealed class MapTests : IDisposable
{
    private readonly TempFolder folder = new();

    private string Image => folder["small.img"];

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_small_volume_is_drawn_block_by_block()
    {
        MakeSmall();
        string picture = ExoProcess.Exo("map", Image, "-o", "-").Succeeded().Output;
        Snapshot.Verify(picture);
        ExoProcess.Exo("map", Image, "-o", folder["map.svg"]).Succeeded();
        Assert.Equal(picture, File.ReadAllText(folder["map.svg"]));
    }

    [Fact]
    public void A_terminal_without_colours_gets_marks()
    {
        MakeSmall();
        Snapshot.Verify(string.Join('\n', ExoProcess.Exo("map", Image).Succeeded().Output.Split('\n').Select(line => line.TrimEnd())));
    }

    [Fact]
    public void Every_block_is_what_the_volume_says_it_is()
    {
        MakeSmall();
        using CffsVolume volume = CffsVolume.Open(Image, new CffsOpenOptions { ReadOnly = true });
        BlockMap map = BlockMap.Read(volume, columns: 100, rowsMax: 1000);
        Assert.Equal(1u, map.BlocksPerCell);
        Assert.Equal((int)map.BlockCount, map.Cells.Count);
        Assert.Equal(map.BlockCount, map.BlocksByKind.Aggregate(0UL, (sum, blocks) => sum + blocks));
        foreach (CffsBlockRun run in volume.MapBlocks())
        {
            for (ulong block = run.Extent.First.Value; block < run.Extent.First.Value + run.Extent.Count; block++)
            {
                Assert.Equal(run.Kind, map.Cells[(int)block].Kind);
            }
        }

        for (int i = 0; i < map.Directories.Count; i++)
        {
            Assert.Equal(map.Directories[i].Blocks, (ulong)map.Cells.Count(cell => cell.Directory == i));
        }
    }

    [Fact]
    public void On_a_large_volume_a_cell_is_many_blocks()
    {
        using CffsVolume volume = CffsVolume.Create(folder["large.img"], new CffsCreateOptions { SizeBytes = 4L << 30, Seed = 1 });
        volume.CreateDirectory("/big");
        volume.WriteAllBytes("/big/file", new byte[20 << 20]);
        BlockMap map = BlockMap.Read(volume, columns: 160, rowsMax: 160);
        Assert.Equal(64u, map.BlocksPerCell);
        Assert.InRange(map.Cells.Count(cell => cell.Directory == 0), 80, 82);
        Assert.Equal(1ul << 20, map.BlockCount);
        using StringWriter picture = new();
        new SvgMap(map, "large & <small>", picture).Write();
        XDocument document = XDocument.Parse(picture.ToString());
        Assert.Equal("large & <small>", document.Root!.Elements().First().Value);
        Assert.InRange(picture.ToString().Length, 0, 200_000);
    }

    // A fixed seed: the same blocks each time.
    private void MakeSmall()
    {
        using CffsVolume volume = CffsVolume.Create(Image, new CffsCreateOptions { SizeBytes = 8 << 20, Seed = 1, Label = "a & b" });
        foreach (string directory in (string[])["/letters", "/letters/old", "/photos"])
        {
            volume.CreateDirectory(directory);
        }

        for (int i = 0; i < 20; i++)
        {
            volume.WriteAllBytes($"/letters/{i}", new byte[3000 + (i * 500)]);
            volume.WriteAllBytes($"/letters/old/{i}", new byte[2000]);
            volume.WriteAllBytes($"/photos/{i}.jpg", new byte[50_000]);
        }

        volume.WriteAllBytes("/video", new byte[2 << 20]);
        volume.CloneFile("/photos/3.jpg", "/letters/enclosed.jpg");
        volume.CreateHardLink("/photos/4.jpg", "/letters/same.jpg");
    }
}
