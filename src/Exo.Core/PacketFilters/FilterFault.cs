// SPDX-License-Identifier: MIT
namespace Exo.Core.PacketFilters;

/// <summary>The rules that a filter's atoms can break. A closed list.</summary>
public enum FilterRule : byte
{
    /// <summary>None is broken.</summary>
    None = 0,

    /// <summary>More than <see cref="PacketFilter.AtomsMax"/> atoms.</summary>
    TooManyAtoms = 1,

    /// <summary>More than <see cref="PacketFilter.StepsMax"/> steps of the base.</summary>
    TooManySteps = 2,

    /// <summary>No such kind of atom.</summary>
    UnknownKind = 3,

    /// <summary>The width is not 8, 16, 32, 64 or 128, or a step's is over 32.</summary>
    BadWidth = 4,

    /// <summary>The offset is negative, or the field ends beyond <see cref="PacketFilter.EndBytesMax"/>.</summary>
    BadOffset = 5,

    /// <summary>The mask has bits outside the field.</summary>
    BadMask = 6,

    /// <summary>The value has bits outside the mask: no packet could match.</summary>
    ValueOutsideMask = 7,

    /// <summary>An earlier atom wants another value in the same bit: no packet could match.</summary>
    Contradiction = 8,

    /// <summary>The shift is not -31..16, or a comparison has one, or a step has a value.</summary>
    BadShift = 9,

    /// <summary>The text is not an atom.</summary>
    BadText = 10,
}

/// <summary>Why atoms are no filter.</summary>
/// <param name="Rule">The rule broken.</param>
/// <param name="Atom">Which atom broke it, from 0.</param>
public readonly record struct FilterFault(FilterRule Rule, int Atom)
{
    /// <summary>For people.</summary>
    public override string ToString() => Rule == FilterRule.None ? "no fault" : $"atom {Atom}: {Words(Rule)}";

    private static string Words(FilterRule rule) => rule switch
    {
        FilterRule.TooManyAtoms => $"a filter has at most {PacketFilter.AtomsMax} atoms",
        FilterRule.TooManySteps => $"a filter has at most {PacketFilter.StepsMax} steps",
        FilterRule.UnknownKind => "it is neither a comparison nor a step",
        FilterRule.BadWidth => "a field has 8, 16, 32, 64 or 128 bits, that of a step at most 32",
        FilterRule.BadOffset => $"a field lies within bytes 0 to {PacketFilter.EndBytesMax - 1} from its base",
        FilterRule.BadMask => "the mask is wider than the field",
        FilterRule.ValueOutsideMask => "the value has bits that the mask clears",
        FilterRule.Contradiction => "an earlier atom wants another value in the same bits",
        FilterRule.BadShift => "a step shifts by 16 to the left up to 31 to the right and has no value; a comparison does not shift",
        _ => "it reads neither 'u16[12] & 0xff == 8' nor 'base += (u8[14] & 0xf) << 2'",
    };
}

/// <summary>Atoms or text that are no filter.</summary>
public sealed class PacketFilterException(FilterFault fault) : FormatException($"No packet filter: {fault}.")
{
    /// <summary>The rule and the atom.</summary>
    public FilterFault Fault { get; } = fault;
}
