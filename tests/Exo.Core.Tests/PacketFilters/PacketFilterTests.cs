// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.PacketFilters;

namespace Exo.Core.Tests.PacketFilters;

/// <summary>Filters by themselves: limits, text, order and overlap.</summary>
public sealed class PacketFilterTests
{
    [Fact]
    public void A_fault_names_the_rule_and_the_atom()
    {
        FilterAtom good = FilterAtom.Equal(12, 16, 0xffff, 0x0800);
        Assert.Equal(default, Fault(good));
        Assert.Equal(new FilterFault(FilterRule.UnknownKind, 1), Fault(good, good with { Kind = (FilterAtomKind)9 }));
        Assert.Equal(new FilterFault(FilterRule.BadWidth, 1), Fault(good, good with { WidthBits = 24 }));
        Assert.Equal(new FilterFault(FilterRule.BadWidth, 0), Fault(FilterAtom.Shift(0, 64, 1, 0)));
        Assert.Equal(new FilterFault(FilterRule.BadOffset, 0), Fault(good with { OffsetBytes = -1 }));
        Assert.Equal(new FilterFault(FilterRule.BadOffset, 0), Fault(good with { OffsetBytes = int.MaxValue }));
        Assert.Equal(new FilterFault(FilterRule.BadOffset, 0), Fault(good with { OffsetBytes = PacketFilter.EndBytesMax - 1 }));
        Assert.Equal(default, Fault(good with { OffsetBytes = PacketFilter.EndBytesMax - 2 }));
        Assert.Equal(new FilterFault(FilterRule.BadMask, 0), Fault(good with { Mask = 0x1ffff }));
        Assert.Equal(new FilterFault(FilterRule.ValueOutsideMask, 0), Fault(good with { Mask = 0xff00, Value = 1 }));
        Assert.Equal(new FilterFault(FilterRule.Contradiction, 1), Fault(good, FilterAtom.Equal(13, 8, 0xff, 6)));
        Assert.Equal(new FilterFault(FilterRule.BadShift, 0), Fault(FilterAtom.Shift(0, 8, 1, 17)));
        Assert.Equal(new FilterFault(FilterRule.BadShift, 0), Fault(good with { ShiftBits = 1 }));
        Assert.Equal(new FilterFault(FilterRule.TooManySteps, 16), Fault([.. Enumerable.Repeat(FilterAtom.Shift(0, 8, 1, 0), 17)]));
        Assert.Equal(new FilterFault(FilterRule.TooManyAtoms, 256), Fault([.. Enumerable.Repeat(good, 257)]));
        Assert.Equal(default, Fault([.. Enumerable.Repeat(good, 256)]));
        FilterFault thrown = Assert.Throws<PacketFilterException>(() => PacketFilter.Build().Equal(0, 8, 300).ToFilter()).Fault;
        Assert.Equal("atom 0: the value has bits that the mask clears", thrown.ToString());
    }

    [Fact]
    public void Hostile_atoms_get_a_filter_or_a_fault_and_never_a_crash() =>
        Gen.Select(Gen.Byte, Gen.Int, Gen.OneOf(FilterGen.OneOf(8, 16, 32, 64, 128), Gen.Int), Gen.ULong, Gen.ULong, Gen.Int[-40, 20])
            .Select((kind, offset, width, mask, value, shift) => new FilterAtom((FilterAtomKind)(kind & 1), offset >> (kind / 8), width, mask, value & mask, kind % 3 == 0 ? 0 : shift))
            .Array[0, 6].Sample(
                atoms =>
                {
                    if (PacketFilter.TryCreate(atoms, out PacketFilter? filter, out FilterFault fault))
                    {
                        _ = filter!.Accepts(new byte[100]);
                        Assert.True(filter.Overlaps(filter));
                        Assert.Equal(filter, PacketFilter.Parse(filter.ToString()));
                    }
                    else
                    {
                        Assert.NotEqual(FilterRule.None, fault.Rule);
                        Assert.InRange(fault.Atom, 0, atoms.Length - 1);
                        Assert.NotEmpty(fault.ToString());
                    }
                },
                iter: 20_000);

    [Fact]
    public void The_text_is_read_back() => FilterGen.Filter(9, hasSteps: true).Sample(filter =>
        Assert.Equal(filter, PacketFilter.Parse(filter.ToString())));

    [Fact]
    public void Text_is_read_as_people_write_it()
    {
        PacketFilter filter = PacketFilter.Parse("""
            u16[12] == 0x0800        # IPv4
            u8[14]&0xf0==0x40;  u8[23] == 6
            base += (u8[14] & 0xf) << 2
            u16[16] == 80
            """);
        Assert.Equal("u16[12] == 0x800; u8[14] & 0xf0 == 0x40; u8[23] == 0x6; base += (u8[14] & 0xf) << 2; u16[16] == 0x50", filter.ToString());
    }

    [Theory]
    [InlineData("u16[12] = 3", 0)]
    [InlineData("u8[0] == 1; u8[1] == ", 1)]
    [InlineData("u8[0] == 1; base += u8[1] << 2", 1)]
    [InlineData("u8[0] == 1 2", 0)]
    [InlineData("u8[99999999999999] == 1", 0)]
    [InlineData("u8[0] == 0x", 0)]
    [InlineData("u8[0] == 0xfffffffffffffffffffffffffffffffffffffffff", 0)]
    public void Text_that_is_no_filter_names_the_atom(string text, int atom)
    {
        Assert.False(PacketFilter.TryParse(text, out _, out FilterFault fault));
        Assert.Equal(new FilterFault(FilterRule.BadText, atom), fault);
    }

    [Fact]
    public void Hostile_text_never_crashes() => Gen.String[FilterGen.OneOf<char>([.. "u8[]&=+<>()0x1baseu; \n#"]), 0, 60].Sample(
        text =>
        {
            if (!PacketFilter.TryParse(text, out _, out FilterFault fault))
            {
                Assert.NotEqual(FilterRule.None, fault.Rule);
            }
        },
        iter: 20_000);

    [Fact]
    public void Without_steps_overlap_is_decided_exactly()
    {
        byte[][] all = [.. FilterGen.AllPackets(4).Where(packet => packet.Length == 4)];
        Gen<PacketFilter> small = Small(hasSteps: false);
        Gen.Select(small, small).Sample(
            (a, b) => Assert.Equal(all.Any(packet => a.Accepts(packet) && b.Accepts(packet)), a.Overlaps(b)), iter: 5000);
    }

    [Fact]
    public void With_steps_no_shared_packet_is_ever_denied()
    {
        byte[][] all = [.. FilterGen.AllPackets(6)];
        int apart = 0;
        Gen.Select(Small(hasSteps: true), Small(hasSteps: true)).Sample(
            (a, b) =>
            {
                bool isShared = all.Any(packet => a.Accepts(packet) && b.Accepts(packet));
                bool overlaps = a.Overlaps(b);
                Assert.Equal(overlaps, b.Overlaps(a));
                Assert.False(isShared && !overlaps, $"{a} | {b}");
                Interlocked.Add(ref apart, overlaps ? 0 : 1);
            },
            iter: 1500);
        Assert.True(apart > 0);
    }

    [Fact]
    public void Equal_steps_and_fixed_lengths_are_followed()
    {
        const string Header = "u16[12] == 0x800; base += (u8[14] & 0xf) << 2; ";
        PacketFilter port80 = PacketFilter.Parse(Header + "u16[16] == 80");
        Assert.False(port80.Overlaps(PacketFilter.Parse(Header + "u16[16] == 81")));
        Assert.True(port80.Overlaps(PacketFilter.Parse(Header + "u16[14] == 81")));
        Assert.False(port80.Overlaps(PacketFilter.Parse("u8[14] == 0x45; u16[36] == 81")));
        Assert.True(port80.Overlaps(PacketFilter.Parse("u8[14] == 0x45; u16[36] == 80")));
        Assert.True(port80.Overlaps(PacketFilter.Parse("u8[14] == 0x46; u16[36] == 81")));
    }

    [Fact]
    public void A_proper_subset_is_more_specific()
    {
        // Five bytes, so that the length itself can tell two filters apart.
        byte[][] all = [.. FilterGen.AllPackets(5)];
        Gen<PacketFilter> small = Small(hasSteps: false);
        int subsets = 0;
        Gen.Select(small, small).Sample(
            (a, b) =>
            {
                bool isIn = all.All(packet => !b.Accepts(packet) || a.Accepts(packet));
                if (isIn && all.Any(packet => a.Accepts(packet) && !b.Accepts(packet)))
                {
                    Assert.True(b.CompareSpecificity(a) > 0, $"{b} is in {a}");
                    Interlocked.Increment(ref subsets);
                }

                Assert.Equal(Math.Sign(a.CompareSpecificity(b)), -Math.Sign(b.CompareSpecificity(a)));
            },
            iter: 1000);
        Assert.True(subsets > 0);
    }

    // Comparisons within four bytes and two bits of each.
    private static Gen<PacketFilter> Small(bool hasSteps)
    {
        Gen<FilterAtom> comparison =
            from offset in Gen.Int[0, 2]
            from width in FilterGen.OneOf(8, 16)
            from mask in FilterGen.OneOf(0x0303UL, 0x0102UL, 0x0003UL, 0x0001UL, 0UL)
            from value in Gen.ULong
            let field = (1UL << width) - 1
            select FilterAtom.Equal(offset, width, mask & field, value & mask & field);
        Gen<FilterAtom> atom = hasSteps ? Gen.Frequency((2, comparison), (1, FilterGen.Step(1))) : comparison;
        return atom.Array[0, 3]
            .Select(atoms => PacketFilter.TryCreate(atoms, out PacketFilter? filter, out _) ? filter : null)
            .Where(filter => filter is not null).Select(filter => filter!);
    }

    private static FilterFault Fault(params FilterAtom[] atoms)
    {
        Assert.Equal(PacketFilter.TryCreate(atoms, out PacketFilter? filter, out FilterFault fault), filter is not null);
        return fault;
    }
}
