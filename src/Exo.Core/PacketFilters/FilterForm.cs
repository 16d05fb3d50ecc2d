// SPDX-License-Identifier: MIT
using System.Numerics;

namespace Exo.Core.PacketFilters;

/// <summary>A field of up to eight bytes and what it must hold; big-endian.</summary>
internal readonly record struct FilterField(int OffsetBytes, int WidthBytes, ulong Mask, ulong Value)
{
    public int EndBytes => OffsetBytes + WidthBytes;
}

/// <summary>A step of the base over a header of variable length: <c>base += AddBytes + distance</c>; the new base is in the packet or at its end.</summary>
internal sealed record FilterStep(int OffsetBytes, int WidthBytes, uint Mask, int ShiftBits, int AddBytes)
{
    public int EndBytes => OffsetBytes + WidthBytes;

    /// <summary>How far a masked field moves the base: below 2^48, so sums of 16 do not wrap.</summary>
    public static long Distance(ulong masked, int shiftBits) => (long)(shiftBits < 0 ? masked >> -shiftBits : masked << shiftBits);
}

/// <summary>What a filter says about one base: byte by byte, and how long the packet is from there on.</summary>
internal sealed class FilterStage
{
    /// <summary>Constrained bytes (mask not 0), by offset from the base.</summary>
    public SortedDictionary<int, (byte Mask, byte Value)> Bytes { get; } = [];

    /// <summary>The packet has at least that many bytes from the base on.</summary>
    public int LengthBytes { get; set; }

    /// <summary>The step that ends the stage; null in the last one.</summary>
    public FilterStep? Step { get; set; }

    /// <summary>The comparisons of the stage in ascending order, each up to eight adjoining bytes.</summary>
    public FilterField[] Fields { get; set; } = [];

    /// <summary>Adds a bit pattern; false when it contradicts what is there.</summary>
    public static bool TryAdd(SortedDictionary<int, (byte Mask, byte Value)> bytes, int offset, byte mask, byte value)
    {
        if (mask == 0)
        {
            return true;
        }

        _ = bytes.TryGetValue(offset, out (byte Mask, byte Value) there);
        if (((there.Value ^ value) & there.Mask & mask) != 0)
        {
            return false;
        }

        bytes[offset] = ((byte)(there.Mask | mask), (byte)(there.Value | value));
        return true;
    }

    /// <summary>The distance of a step, when all bits it depends on are fixed.</summary>
    public static bool TryConstant(SortedDictionary<int, (byte Mask, byte Value)> bytes, int start, FilterStep step, out long distance)
    {
        uint known = 0;
        uint value = 0;
        for (int i = 0; i < step.WidthBytes; i++)
        {
            _ = bytes.TryGetValue(start + step.OffsetBytes + i, out (byte Mask, byte Value) there);
            known = (known << 8) | there.Mask;
            value = (value << 8) | there.Value;
        }

        distance = FilterStep.Distance(value & step.Mask, step.ShiftBits);
        return (step.Mask & ~known) == 0;
    }
}

/// <summary>
/// The normal form of a filter: stages separated by steps. Within a stage order and division into atoms are gone; steps by a
/// constant are folded into offsets. Filters that read a protocol alike so have alike prefixes, which the tree shares.
/// </summary>
internal sealed class FilterForm
{
    private FilterForm(FilterStage[] stages)
    {
        Stages = stages;
        long lengthBytes = 0;
        foreach (FilterStage stage in stages)
        {
            lengthBytes += stage.LengthBytes;
            foreach ((byte mask, _) in stage.Bytes.Values)
            {
                FixedBits += BitOperations.PopCount(mask);
            }

            stage.Fields = Divide(stage);
        }

        // 128 x 256 bits, 16 steps, 17 x 32,767 bytes: each fits its part.
        Rank = ((ulong)FixedBits << 40) | ((ulong)(stages.Length - 1) << 32) | (ulong)lengthBytes;
    }

    public FilterStage[] Stages { get; }

    public int FixedBits { get; }

    /// <summary>The greater, the more specific: fixed bits, then steps, then required length.</summary>
    public ulong Rank { get; }

    public static FilterForm? TryMake(ReadOnlySpan<FilterAtom> atoms, out FilterFault fault)
    {
        List<FilterStage> stages = [new FilterStage()];
        int start = 0;
        for (int i = 0; i < atoms.Length; i++)
        {
            FilterStage stage = stages[^1];
            FilterRule rule = Judge(atoms[i]);
            rule = rule != FilterRule.None ? rule
                : start + atoms[i].EndBytes > PacketFilter.EndBytesMax ? FilterRule.BadOffset
                : atoms[i].Kind == FilterAtomKind.Equal ? Compare(stage, atoms[i], start)
                : Step(stages, atoms[i], ref start);
            if (rule != FilterRule.None)
            {
                fault = new FilterFault(rule, i);
                return null;
            }
        }

        fault = default;
        return new FilterForm([.. stages]);
    }

    private static FilterRule Judge(in FilterAtom atom)
    {
        bool isStep = atom.Kind == FilterAtomKind.Shift;
        return atom.Kind > FilterAtomKind.Shift ? FilterRule.UnknownKind
            : atom.WidthBits is not (8 or 16 or 32 or 64 or 128) || (isStep && atom.WidthBits > 32) ? FilterRule.BadWidth
            : atom.OffsetBytes is < 0 or > PacketFilter.EndBytesMax ? FilterRule.BadOffset
            : atom.WidthBits < 128 && atom.Mask >> atom.WidthBits != 0 ? FilterRule.BadMask
            : isStep ? (atom.ShiftBits is < -31 or > 16 || atom.Value != 0 ? FilterRule.BadShift : FilterRule.None)
            : atom.ShiftBits != 0 ? FilterRule.BadShift
            : (atom.Value & ~atom.Mask) != 0 ? FilterRule.ValueOutsideMask
            : FilterRule.None;
    }

    private static FilterRule Compare(FilterStage stage, in FilterAtom atom, int start)
    {
        for (int i = 0; i < atom.WidthBits / 8; i++)
        {
            int shift = atom.WidthBits - 8 - (8 * i);
            if (!FilterStage.TryAdd(stage.Bytes, start + atom.OffsetBytes + i, (byte)(atom.Mask >> shift), (byte)(atom.Value >> shift)))
            {
                return FilterRule.Contradiction;
            }
        }

        stage.LengthBytes = Math.Max(stage.LengthBytes, start + atom.EndBytes);
        return FilterRule.None;
    }

    private static FilterRule Step(List<FilterStage> stages, in FilterAtom atom, ref int start)
    {
        FilterStage stage = stages[^1];
        FilterStep step = new(start + atom.OffsetBytes, atom.WidthBits / 8, (uint)atom.Mask, atom.ShiftBits, start);
        if (FilterStage.TryConstant(stage.Bytes, 0, step, out long distance))
        {
            if (start + distance > PacketFilter.EndBytesMax)
            {
                return FilterRule.BadOffset;
            }

            start += (int)distance;
            stage.LengthBytes = Math.Max(stage.LengthBytes, Math.Max(step.EndBytes, start));
            return FilterRule.None;
        }

        if (stages.Count > PacketFilter.StepsMax)
        {
            return FilterRule.TooManySteps;
        }

        // The base moves on from where folded steps have brought it.
        stage.Step = step;
        stage.LengthBytes = Math.Max(stage.LengthBytes, step.EndBytes);
        stages.Add(new FilterStage());
        start = 0;
        return FilterRule.None;
    }

    private static FilterField[] Divide(FilterStage stage)
    {
        List<FilterField> fields = [];
        FilterField open = default;
        int end = stage.Step?.EndBytes ?? 0;
        foreach ((int offset, (byte mask, byte value)) in stage.Bytes)
        {
            if (open.WidthBytes is 0 or 8 || offset != open.EndBytes)
            {
                Close(fields, open);
                open = new FilterField(offset, 0, 0, 0);
            }

            open = new FilterField(open.OffsetBytes, open.WidthBytes + 1, (open.Mask << 8) | mask, (open.Value << 8) | value);
            end = Math.Max(end, offset + 1);
        }

        Close(fields, open);
        if (stage.LengthBytes > end)
        {
            // A required byte of any value.
            fields.Add(new FilterField(stage.LengthBytes - 1, 1, 0, 0));
        }

        return [.. fields];
    }

    private static void Close(List<FilterField> fields, in FilterField open)
    {
        if (open.WidthBytes > 0)
        {
            fields.Add(open);
        }
    }
}
