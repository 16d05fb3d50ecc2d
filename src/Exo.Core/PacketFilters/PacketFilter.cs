// SPDX-License-Identifier: MIT
using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;

namespace Exo.Core.PacketFilters;

/// <summary>
/// A declarative packet filter (DPF, SIGCOMM'96): a conjunction of masked comparisons, with steps of the base over headers of variable
/// length. Immutable. It ends by its shape, and never reads outside the packet: a packet too short for a load does not match.
/// <para><b>Specificity</b> is a total order: more fixed bits first; then more steps; then the greater length required of the packet;
/// filters equal in all three are ordered by age where they are installed. Bits are counted once however often they are compared, and a
/// step over a field whose masked bits are all fixed is an addition of a constant and counts as no step. For filters
/// without steps this extends inclusion: one that accepts a proper subset of the packets is the more specific. With steps the same holds
/// when one says all that the other says at the same bases, and more. (A field read twice through different bases is counted twice.)</para>
/// </summary>
public sealed class PacketFilter : IEquatable<PacketFilter>
{
    /// <summary>The most atoms of a filter (Xok, <c>DPF_MAXELEM</c>).</summary>
    public const int AtomsMax = 256;

    /// <summary>The most steps of the base.</summary>
    public const int StepsMax = 16;

    /// <summary>No field ends farther than this from its base, in bytes.</summary>
    public const int EndBytesMax = 32_767;

    private PacketFilter(ImmutableArray<FilterAtom> atoms, FilterForm form)
    {
        Atoms = atoms;
        Form = form;
    }

    /// <summary>The atoms as given.</summary>
    public ImmutableArray<FilterAtom> Atoms { get; }

    /// <summary>How many bits of the packet it fixes.</summary>
    public int FixedBits => Form.FixedBits;

    /// <summary>The normal form: equal for filters that say the same of each base.</summary>
    internal FilterForm Form { get; }

    /// <summary>Begins a filter.</summary>
    public static PacketFilterBuilder Build() => new();

    /// <summary>Makes a filter of atoms; none accept every packet.</summary>
    /// <exception cref="PacketFilterException">They break a rule.</exception>
    public static PacketFilter Create(params ReadOnlySpan<FilterAtom> atoms) =>
        TryCreate(atoms, out PacketFilter? filter, out FilterFault fault) ? filter : throw new PacketFilterException(fault);

    /// <summary><see cref="Create"/> for atoms from outside. Never throws.</summary>
    public static bool TryCreate(ReadOnlySpan<FilterAtom> atoms, [NotNullWhen(true)] out PacketFilter? filter, out FilterFault fault)
    {
        filter = null;
        if (atoms.Length > AtomsMax)
        {
            fault = new FilterFault(FilterRule.TooManyAtoms, AtomsMax);
            return false;
        }

        FilterForm? form = FilterForm.TryMake(atoms, out fault);
        filter = form is null ? null : new PacketFilter([.. atoms], form);
        return filter is not null;
    }

    /// <summary>Reads the textual form: atoms separated by semicolons or line ends, <c>#</c> begins a comment.</summary>
    /// <exception cref="PacketFilterException">It is no filter.</exception>
    public static PacketFilter Parse(ReadOnlySpan<char> text) =>
        TryParse(text, out PacketFilter? filter, out FilterFault fault) ? filter : throw new PacketFilterException(fault);

    /// <summary><see cref="Parse"/> for text from outside. Never throws.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, [NotNullWhen(true)] out PacketFilter? filter, out FilterFault fault)
    {
        filter = null;
        return FilterText.TryParse(text, out List<FilterAtom> atoms, out fault)
            && TryCreate(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(atoms), out filter, out fault);
    }

    /// <summary>Whether it accepts a packet: the definition, atom by atom. <see cref="PacketFilterTree"/> does it for many at once.</summary>
    public bool Accepts(ReadOnlySpan<byte> packet)
    {
        long start = 0;
        foreach (FilterAtom atom in Atoms)
        {
            if (start + atom.EndBytes > packet.Length)
            {
                return false;
            }

            UInt128 field = 0;
            foreach (byte next in packet.Slice((int)start + atom.OffsetBytes, atom.WidthBits / 8))
            {
                field = (field << 8) | next;
            }

            field &= atom.Mask;
            if (atom.Kind == FilterAtomKind.Shift)
            {
                start += FilterStep.Distance((ulong)field, atom.ShiftBits);
                if (start > packet.Length)
                {
                    return false;
                }
            }
            else if (field != atom.Value)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>
    /// Whether there may be a packet that both accept. Exact for filters without steps, and then symmetric to brute force over all
    /// packets; with steps, "no" is certain: fields are compared where both bases are known to be equal (the same steps, or
    /// steps over fields that one of the two fixes), and what cannot be compared counts as overlapping.
    /// </summary>
    public bool Overlaps(PacketFilter other)
    {
        ArgumentNullException.ThrowIfNull(other);
        return FilterOverlap.MayOverlap(Form, other.Form);
    }

    /// <summary>Positive when this filter is the more specific, negative when the other is, zero when age decides.</summary>
    public int CompareSpecificity(PacketFilter other)
    {
        ArgumentNullException.ThrowIfNull(other);
        return Form.Rank.CompareTo(other.Form.Rank);
    }

    /// <summary>The same atoms in the same order.</summary>
    public bool Equals(PacketFilter? other) => other is not null && Atoms.AsSpan().SequenceEqual(other.Atoms.AsSpan());

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as PacketFilter);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Atoms.Length, Form.Rank);

    /// <summary>The textual form.</summary>
    public override string ToString() => string.Join("; ", Atoms);
}
