// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.Storage.XN;

/// <summary>
/// A set of typed blocks, kept as extents. After <see cref="TryNormalise"/> it is in normal form: sorted, disjoint, adjacent extents of one template
/// merged; equal sets then have equal lists. Reused; grows to the largest set it has held.
/// </summary>
internal sealed class ExtentSet
{
    private TypedExtent[] _items = new TypedExtent[8];

    public int Count { get; private set; }

    public ReadOnlySpan<TypedExtent> Items => _items.AsSpan(0, Count);

    public void Clear() => Count = 0;

    public void Add(in TypedExtent item)
    {
        if (item.Extent.Count == 0)
        {
            return;
        }

        if (Count == _items.Length)
        {
            Array.Resize(ref _items, Count * 2);
        }

        _items[Count++] = item;
    }

    /// <summary>Brings the set into normal form. False when two extents overlap: then it is no set.</summary>
    public bool TryNormalise()
    {
        if (Count < 2)
        {
            return true;
        }

        _items.AsSpan(0, Count).Sort(static (a, b) => a.Extent.First.Value.CompareTo(b.Extent.First.Value));
        int kept = 0;
        for (int i = 1; i < Count; i++)
        {
            ref TypedExtent last = ref _items[kept];
            TypedExtent next = _items[i];
            ulong end = last.Extent.First.Value + last.Extent.Count;
            if (next.Extent.First.Value < end)
            {
                return false;
            }

            if (next.Extent.First.Value == end && next.Template == last.Template && last.Extent.Count + (ulong)next.Extent.Count <= uint.MaxValue)
            {
                last = last with { Extent = last.Extent with { Count = last.Extent.Count + next.Extent.Count } };
            }
            else
            {
                _items[++kept] = next;
            }
        }

        Count = kept + 1;
        return true;
    }

    /// <summary>Equality of two sets in normal form.</summary>
    public bool SetEquals(ExtentSet other) => Items.SequenceEqual(other.Items);

    /// <summary>This := left without right, block by block and by template. Both are in normal form; so is the result.</summary>
    public void Difference(ExtentSet left, ExtentSet right)
    {
        Clear();
        int r = 0;
        ReadOnlySpan<TypedExtent> subtract = right.Items;
        foreach (TypedExtent item in left.Items)
        {
            ulong at = item.Extent.First.Value;
            ulong end = at + item.Extent.Count;
            while (r < subtract.Length && subtract[r].Extent.First.Value + subtract[r].Extent.Count <= at)
            {
                r++;
            }

            for (int k = r; at < end; k++)
            {
                if (k == subtract.Length || subtract[k].Extent.First.Value >= end)
                {
                    Emit(at, end, item.Template);
                    break;
                }

                ulong from = subtract[k].Extent.First.Value;
                ulong to = from + subtract[k].Extent.Count;
                if (from > at)
                {
                    Emit(at, from, item.Template);
                }

                if (subtract[k].Template != item.Template)
                {
                    // The same blocks under another template stay in the difference: retyping is a change.
                    Emit(Math.Max(at, from), Math.Min(end, to), item.Template);
                }

                at = Math.Max(at, to);
            }
        }

        bool isSet = TryNormalise();
        Invariant.Check(isSet);
    }

    /// <summary>True when every block of the extent is in this set (normal form), all with one template, which is returned.</summary>
    public bool TryCover(in BlockExtent extent, out TemplateId template)
    {
        foreach (TypedExtent item in Items)
        {
            if (extent.First >= item.Extent.First && extent.First.Value + extent.Count <= item.Extent.First.Value + item.Extent.Count)
            {
                template = item.Template;
                return true;
            }
        }

        template = default;
        return false;
    }

    /// <inheritdoc/>
    public override string ToString() => Count == 0 ? "{}" : $"{{{string.Join(", ", Items.ToArray())}}}";

    private void Emit(ulong from, ulong to, TemplateId template)
    {
        if (to > from)
        {
            Add(new TypedExtent(new BlockExtent(new BlockNumber(from), (uint)(to - from)), template));
        }
    }
}
