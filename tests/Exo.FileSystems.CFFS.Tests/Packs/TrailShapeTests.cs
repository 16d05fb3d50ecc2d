// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Files;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Tests.Packs;

/// <summary>How much is read behind a file that others were wanted with.</summary>
public sealed class TrailShapeTests
{
    private static BlockExtent Run(ulong first, uint count) => new(new BlockNumber(first), count);

    [Fact]
    public void What_lay_behind_two_is_expected_behind_the_next_until_one_has_nothing_there()
    {
        TrailShape shape = new();
        shape.Note(Run(100, 2), [Run(110, 5), Run(102, 4), Run(50, 9), Run(106, 4), Run(5000, 1)]);
        Assert.Equal(0U, shape.Expected);
        shape.Note(Run(200, 1), [Run(201, 3)]);
        Assert.Equal(13U, shape.Expected);
        shape.Note(Run(300, 1), [Run(301, 4)]);
        Assert.Equal(4U, shape.Expected);
        shape.Note(Run(400, 1), [Run(399, 1), Run(500, 4)]);
        Assert.Equal(0U, shape.Expected);
        shape.Note(Run(600, 1), [Run(601, 100_000)]);
        shape.Note(Run(600, 1), [Run(601, 100_000)]);
        Assert.Equal((uint)FileStore.GroupBlocksMax, shape.Expected);
        shape.Note(Run(600, 1), []);
        Assert.Equal(0U, shape.Expected);
    }
}
