// SPDX-License-Identifier: MIT
using Exo.Simulation.Disks;

namespace Exo.Samples.Tests.KeyValue;

/// <summary>What the store writes is what FORMAT.md says.</summary>
public sealed class StoreFormatTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_reader_written_from_the_page_finds_the_same(int seed)
    {
        using StoreBench bench = new(DiskContents.Zeroes(1200), isNew: true);
        Random random = new(seed);
        for (int i = 0; i < 300; i++)
        {
            string key = $"{random.Next(100)}";
            if (random.Next(4) == 0)
            {
                bench.Store.Delete(StoreBench.Utf8(key));
            }
            else
            {
                bench.Store.Put(StoreBench.Utf8(key), StoreBench.Utf8($"{i} {new string('x', random.Next(20) == 0 ? 9000 : random.Next(300))}"));
            }
        }

        Assert.True(bench.Store.Tables > 0);
        using MemoryStream image = new();
        bench.Device.Snapshot().Save(image);
        Assert.Equal(bench.Contents(), IndependentReader.Read(image.ToArray(), bench.Disk.Roots.Single().Block.Value));
    }
}
