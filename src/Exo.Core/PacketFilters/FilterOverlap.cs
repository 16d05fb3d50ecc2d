// SPDX-License-Identifier: MIT
namespace Exo.Core.PacketFilters;

using KnownBytes = SortedDictionary<int, (byte Mask, byte Value)>;

/// <summary>
/// Whether two filters may accept one packet. Both are laid over one packet of which only their own constraints are known: bases that
/// are certainly equal share a table of known bytes, and a bit wanted both ways separates the filters.
/// </summary>
internal static class FilterOverlap
{
    /// <summary>False only when no packet is accepted by both; for forms of one stage, exactly then.</summary>
    public static bool MayOverlap(FilterForm a, FilterForm b)
    {
        KnownBytes packet = [];
        Cursor x = new(a, packet);
        Cursor y = new(b, packet);
        if (!x.TryLay() || !y.TryLay())
        {
            return false;
        }

        // Each turn lays at least one more stage, so there are at most 33.
        while (true)
        {
            bool isMoved = x.TryAdvanceByConstant();
            if (isMoved)
            {
                if (!x.TryLay())
                {
                    return false;
                }
            }
            else if (y.TryAdvanceByConstant())
            {
                if (!y.TryLay())
                {
                    return false;
                }
            }
            else if (x.Step is not null && y.Step is not null && ReferenceEquals(x.Known, y.Known) && x.Start == y.Start && x.Step == y.Step)
            {
                // The same step from the same place: wherever it leads, it leads both there.
                KnownBytes beyond = [];
                x.Advance(beyond, 0);
                y.Advance(beyond, 0);
                if (!x.TryLay() || !y.TryLay())
                {
                    return false;
                }
            }
            else
            {
                return true;
            }
        }
    }

    /// <summary>How far one of the filters has been laid.</summary>
    private sealed class Cursor(FilterForm form, KnownBytes known)
    {
        private int stage;

        /// <summary>What is known relative to the base that the cursor counts from.</summary>
        public KnownBytes Known { get; private set; } = known;

        /// <summary>Where the stage lies from there.</summary>
        public long Start { get; private set; }

        public FilterStep? Step => form.Stages[stage].Step;

        public void Advance(KnownBytes known, long start)
        {
            Known = known;
            Start = start;
            stage++;
        }

        /// <summary>Takes the next step where all bits that it depends on are known.</summary>
        public bool TryAdvanceByConstant()
        {
            // Far beyond any offset nothing is known; staying put answers "may".
            if (Step is not { } step || Start > int.MaxValue / 2 || !FilterStage.TryConstant(Known, (int)Start, step, out long distance))
            {
                return false;
            }

            Advance(Known, Start + step.AddBytes + distance);
            return true;
        }

        public bool TryLay()
        {
            if (Start > int.MaxValue / 2)
            {
                return true;
            }

            foreach ((int offset, (byte mask, byte value)) in form.Stages[stage].Bytes)
            {
                if (!FilterStage.TryAdd(Known, (int)Start + offset, mask, value))
                {
                    return false;
                }
            }

            return true;
        }
    }
}
