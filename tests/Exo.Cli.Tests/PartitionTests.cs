// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Tests;

namespace Exo.Cli.Tests;

/// <summary>Images that are a part of another: the verbs take <c>disk.img#2</c> wherever they take an image.</summary>
public sealed class PartitionTests : IDisposable
{
    private const int SectorBytes = 512;
    private readonly TempFolder _folder = new();
    private readonly string _disk;

    public PartitionTests()
    {
        // An MBR with partitions of 16 and 24 MiB.
        _disk = _folder["disk.img"];
        byte[] table = new byte[SectorBytes];
        Entry(table.AsSpan(446), firstSector: 2048, sectors: 32_768);
        Entry(table.AsSpan(462), firstSector: 34_816, sectors: 49_152);
        (table[510], table[511]) = (0x55, 0xAA);
        using FileStream file = File.Create(_disk);
        file.Write(table);
        file.SetLength(48 << 20);
    }

    public void Dispose() => _folder.Dispose();

    private static void Entry(Span<byte> entry, uint firstSector, uint sectors)
    {
        entry[4] = 0x83;
        BinaryPrimitives.WriteUInt32LittleEndian(entry[8..], firstSector);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[12..], sectors);
    }

    [Fact]
    public void A_partition_is_an_image_and_its_neighbours_are_left_alone()
    {
        string second = _disk + "#2";
        Directory.CreateDirectory(_folder["tree"]);
        File.WriteAllText(_folder["tree/file"], "in the second");
        Assert.Contains("24M", ExoProcess.Exo("mkfs", second).Succeeded().Output, StringComparison.Ordinal);
        ExoProcess.Exo("import", second, _folder["tree"]).Succeeded();
        Assert.Equal("in the second", ExoProcess.Exo("cat", second, "/file").Succeeded().Output);
        ExoProcess.Exo("fsck", second).Succeeded();

        byte[] bytes = File.ReadAllBytes(_disk);
        Assert.False(bytes.AsSpan(SectorBytes..(34_816 * SectorBytes)).ContainsAnyExcept((byte)0));
        Assert.False(bytes.AsSpan((34_816 + 49_152) * SectorBytes).ContainsAnyExcept((byte)0));
    }

    [Fact]
    public void What_is_wrong_with_a_partition_is_said_in_one_line()
    {
        Assert.Contains("no partition", ExoProcess.Exo("ls", _disk + "#7").Refused(1), StringComparison.Ordinal);
        Assert.Contains("--size", ExoProcess.Exo("mkfs", _disk + "#1", "--size", "8M").Refused(2), StringComparison.Ordinal);
        Assert.Contains("no such file", ExoProcess.Exo("ls", _folder["none.img"] + "#1").Refused(1), StringComparison.Ordinal);
    }
}
