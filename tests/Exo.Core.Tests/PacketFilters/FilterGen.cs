// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.PacketFilters;

namespace Exo.Core.Tests.PacketFilters;

/// <summary>Small filters over small packets, so that random ones meet.</summary>
internal static class FilterGen
{
    /// <summary>One of these.</summary>
    public static Gen<T> OneOf<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);

    /// <summary>Bytes are 0 to 3, lengths 0 to <paramref name="lengthMax"/>.</summary>
    public static Gen<byte[]> Packet(int lengthMin, int lengthMax) => Gen.Byte[0, 3].Array[lengthMin, lengthMax];

    public static Gen<FilterAtom> Comparison(int offsetMax) =>
        from offset in Gen.Int[0, offsetMax]
        from width in OneOf(8, 8, 16, 32, 64)
        from mask in OneOf(0x0303030303030303UL, 0x0103000303000301UL, 0x0303UL, 0x03UL, 0UL)
        from value in Gen.ULong
        let field = width == 64 ? ulong.MaxValue : (1UL << width) - 1
        select FilterAtom.Equal(offset, width, mask & field, value & mask & field);

    public static Gen<FilterAtom> Step(int offsetMax) =>
        from offset in Gen.Int[0, offsetMax]
        from width in OneOf(8, 8, 16)
        from shift in OneOf(0, 1, -1)
        select FilterAtom.Shift(offset, width, 3, shift);

    /// <summary>Filters of up to four comparisons and, on request, steps.</summary>
    public static Gen<PacketFilter> Filter(int offsetMax, bool hasSteps) =>
        (hasSteps ? Gen.Frequency((3, Comparison(offsetMax)), (1, Step(offsetMax))) : Comparison(offsetMax)).Array[0, 4]
        .Select(atoms => PacketFilter.TryCreate(atoms, out PacketFilter? filter, out _) ? filter : null)
        .Where(filter => filter is not null).Select(filter => filter!);

    /// <summary>All packets of up to that many bytes of 0 to 3.</summary>
    public static IEnumerable<byte[]> AllPackets(int lengthBytes)
    {
        for (int length = 0; length <= lengthBytes; length++)
        {
            for (int digits = 0; digits < 1 << (2 * length); digits++)
            {
                byte[] packet = new byte[length];
                for (int i = 0; i < length; i++)
                {
                    packet[i] = (byte)((digits >> (2 * i)) & 3);
                }

                yield return packet;
            }
        }
    }

    public static ExoEnvironment Root() => ExoEnvironment.CreateRoot(CapabilityAuthority.Create());

    public static PacketFilterTree Tree(ExoEnvironment root) => new(root.Credential.Capabilities[0].Authority);

    public static InstalledFilter Insert(this PacketFilterTree tree, ExoEnvironment owner, PacketFilter filter)
    {
        FilterVerdict verdict = tree.TryInsert(owner, filter, out InstalledFilter? installed);
        Assert.True(verdict.IsInstalled, verdict.ToString());
        return installed!;
    }

    /// <summary>The definition: of all that accept, the most specific, then the oldest.</summary>
    public static InstalledFilter? Naive(IEnumerable<InstalledFilter> all, byte[] packet)
    {
        InstalledFilter? best = null;
        foreach (InstalledFilter candidate in all.Where(one => one.Filter.Accepts(packet)))
        {
            int order = best is null ? 1 : candidate.Filter.CompareSpecificity(best.Filter);
            best = order > 0 || (order == 0 && candidate.Number < best!.Number) ? candidate : best;
        }

        return best;
    }
}
