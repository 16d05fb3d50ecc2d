// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.Blocks;

namespace Exo.Storage.XN.Tests;

/// <summary>The set algebra that decides transactions, against sets of single blocks.</summary>
public sealed class ExtentSetTests
{
    private static readonly Gen<List<(int First, int Count, int Template)>> Extents =
        Gen.Select(Gen.Int[1, 40], Gen.Int[1, 6], Gen.Int[1, 2]).List[0, 8];

    [Fact]
    public void Difference_is_the_difference_of_the_blocks() => Gen.Select(Extents, Extents).Sample((left, right) =>
    {
        ExtentSet a = Make(left, out bool aIsSet);
        ExtentSet b = Make(right, out bool bIsSet);
        if (!aIsSet || !bIsSet)
        {
            return;
        }

        ExtentSet difference = new();
        difference.Difference(a, b);
        Assert.Equal(Blocks(a).Except(Blocks(b)).Order(), Blocks(difference).Order());
    });

    [Fact]
    public void A_normal_form_is_found_exactly_when_no_block_stands_twice() => Extents.Sample(list =>
    {
        ExtentSet set = Make(list, out bool isSet);
        List<int> blocks = [.. list.SelectMany(item => Enumerable.Range(item.First, item.Count))];
        Assert.Equal(blocks.Distinct().Count() == blocks.Count, isSet);
        if (isSet)
        {
            Assert.Equal(blocks.Order(), Blocks(set).Select(block => (int)block.Block).Order());
        }
    });

    private static ExtentSet Make(List<(int First, int Count, int Template)> list, out bool isSet)
    {
        ExtentSet set = new();
        foreach ((int first, int count, int template) in list)
        {
            set.Add(new TypedExtent(new BlockExtent(new BlockNumber((ulong)first), (uint)count), new TemplateId((uint)template)));
        }

        isSet = set.TryNormalise();
        return set;
    }

    private static List<(ulong Block, uint Template)> Blocks(ExtentSet set)
    {
        List<(ulong, uint)> blocks = [];
        foreach (TypedExtent item in set.Items)
        {
            for (uint i = 0; i < item.Extent.Count; i++)
            {
                blocks.Add((item.Extent.First.Value + i, item.Template.Value));
            }
        }

        return blocks;
    }
}
