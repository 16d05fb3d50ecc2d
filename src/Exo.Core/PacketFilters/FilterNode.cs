// SPDX-License-Identifier: MIT
using Exo.Core.Environments;

namespace Exo.Core.PacketFilters;

/// <summary>One move on a filter's way through the tree: a field that must have a value, or a step.</summary>
internal readonly record struct FilterMove(FilterField Field, FilterStep? Step)
{
    /// <summary>The way of a filter: its normal form written as moves.</summary>
    public static FilterMove[] Of(FilterForm form)
    {
        List<FilterMove> moves = [];
        foreach (FilterStage stage in form.Stages)
        {
            moves.AddRange(stage.Fields.Select(field => new FilterMove(field, null)));
            if (stage.Step is { } step)
            {
                moves.Add(new FilterMove(default, step));
            }
        }

        return [.. moves];
    }
}

/// <summary>A move as the search takes it where only one way leads on: everything in one place, for the cache's sake.</summary>
internal readonly record struct FilterChainMove(ulong Mask, ulong Value, int EndBytes, int WidthBytes, int AddBytes, int ShiftBits, bool IsStep);

/// <summary>What can be asked at a node: one field, with a table of the values that filters want; or a step with one node behind it.</summary>
internal sealed class FilterBranch
{
    public FilterBranch(FilterField field, FilterTable table)
    {
        EndBytes = field.EndBytes;
        WidthBytes = field.WidthBytes;
        Mask = field.Mask;
        Table = table;
        RankMax = table.RankMax;
        SoleOwner = table.SoleOwner;
    }

    public FilterBranch(FilterStep step, FilterNode behind)
    {
        Step = step;
        Behind = behind;
        EndBytes = step.EndBytes;
        WidthBytes = step.WidthBytes;
        Mask = step.Mask;
        RankMax = behind.RankMax;
        SoleOwner = behind.SoleOwner;
    }

    /// <summary>The byte behind the field, from the base.</summary>
    public int EndBytes { get; }

    public int WidthBytes { get; }

    public ulong Mask { get; }

    public FilterTable? Table { get; }

    public FilterStep? Step { get; }

    public FilterNode? Behind { get; }

    public ulong RankMax { get; }

    public ExoEnvironment? SoleOwner { get; }

    public bool Asks(in FilterMove move) => move.Step is not null
        ? move.Step == Step
        : Table is not null && move.Field.EndBytes == EndBytes && move.Field.WidthBytes == WidthBytes && move.Field.Mask == Mask;

    /// <summary>The best first, so that the rest can be passed by; otherwise any fixed order.</summary>
    public static int Compare(FilterBranch a, FilterBranch b)
    {
        int order = b.RankMax.CompareTo(a.RankMax);
        order = order != 0 ? order : (a.Step is null).CompareTo(b.Step is null);
        order = order != 0 ? order : a.EndBytes.CompareTo(b.EndBytes);
        order = order != 0 ? order : a.WidthBytes.CompareTo(b.WidthBytes);
        order = order != 0 ? order : a.Mask.CompareTo(b.Mask);
        order = order != 0 || a.Step is null ? order : a.Step.ShiftBits.CompareTo(b.Step!.ShiftBits);
        return order != 0 || a.Step is null ? order : a.Step.AddBytes.CompareTo(b.Step!.AddBytes);
    }
}

/// <summary>
/// A node of the decision tree: the filters that end here (all have the same normal form; the oldest answers) and the
/// branches that go on. Immutable: a change copies the nodes on one path, whose number depends on the filter and not on how many there are.
/// </summary>
internal sealed class FilterNode
{
    private const int ChainMovesMax = 16;

    public static readonly FilterNode Empty = new([], []);

    private FilterNode(InstalledFilter[] ended, FilterBranch[] branches)
    {
        Ended = ended;
        Branches = branches;
        OwnerSummary owner = default;
        foreach (InstalledFilter filter in ended)
        {
            owner.Add(filter.Owner);
            RankMax = filter.Rank;
        }

        foreach (FilterBranch branch in branches)
        {
            owner.Add(branch.SoleOwner);
            RankMax = Math.Max(RankMax, branch.RankMax);
        }

        SoleOwner = owner.Sole;
        if (ended.Length > 0 && branches.Length == 0)
        {
            (Chain, ChainEnd) = ([], ended[0]);
        }
        else if (ended.Length == 0 && branches.Length == 1)
        {
            (Chain, ChainEnd) = ChainThrough(branches[0]);
        }
    }

    /// <summary>The moves that are left when only one way leads on from here; otherwise null. Derived from the branches.</summary>
    public FilterChainMove[]? Chain { get; }

    /// <summary>The filter that answers at the end of <see cref="Chain"/>.</summary>
    public InstalledFilter? ChainEnd { get; }

    /// <summary>The filters whose way ends here, the oldest first.</summary>
    public InstalledFilter[] Ended { get; }

    /// <summary>In the order of <see cref="FilterBranch.Compare"/>; no two ask the same.</summary>
    public FilterBranch[] Branches { get; }

    /// <summary>The greatest rank of a filter that ends here or behind.</summary>
    public ulong RankMax { get; }

    /// <summary>The owner of all of them; null when there are several, or no filter.</summary>
    public ExoEnvironment? SoleOwner { get; }

    private bool IsEmpty => Ended.Length == 0 && Branches.Length == 0;

    /// <summary>This node with one filter more.</summary>
    public FilterNode With(ReadOnlySpan<FilterMove> way, InstalledFilter filter)
    {
        if (way.IsEmpty)
        {
            return new FilterNode([.. Ended, filter], Branches);
        }

        int index = IndexOf(way[0]);
        FilterNode behind = (index < 0 ? null : Behind(Branches[index], way[0]))?.With(way[1..], filter) ?? Empty.With(way[1..], filter);
        return Replacing(index, way[0], behind);
    }

    /// <summary>This node with one filter less, which is there.</summary>
    public FilterNode Without(ReadOnlySpan<FilterMove> way, InstalledFilter filter)
    {
        if (way.IsEmpty)
        {
            return new FilterNode([.. Ended.Where(other => !ReferenceEquals(other, filter))], Branches);
        }

        int index = IndexOf(way[0]);
        Invariant.Check(index >= 0);
        FilterNode behind = Behind(Branches[index], way[0])!.Without(way[1..], filter);
        return Replacing(index, way[0], behind.IsEmpty ? null : behind);
    }

    private static (FilterChainMove[]? Chain, InstalledFilter? End) ChainThrough(FilterBranch branch)
    {
        ulong value = 0;
        FilterNode? behind = branch.Behind;
        if (branch.Table is { } table && !table.TryGetSole(out value, out behind))
        {
            return default;
        }

        // Each node of the way keeps its own copy: the bound keeps long filters from costing the square of their length.
        if (behind!.Chain is not { Length: < ChainMovesMax } chain)
        {
            return default;
        }

        FilterStep? step = branch.Step;
        return ([new(branch.Mask, value, branch.EndBytes, branch.WidthBytes, step?.AddBytes ?? 0, step?.ShiftBits ?? 0, step is not null), .. chain], behind.ChainEnd);
    }

    private static FilterNode? Behind(FilterBranch branch, in FilterMove move) => branch.Behind ?? branch.Table!.Find(move.Field.Value);

    private int IndexOf(FilterMove move) => Array.FindIndex(Branches, branch => branch.Asks(move));

    private FilterNode Replacing(int index, in FilterMove move, FilterNode? behind)
    {
        List<FilterBranch> branches = [.. Branches];
        FilterTable? table = null;
        if (move.Step is null)
        {
            table = index >= 0 ? Branches[index].Table!.With(move.Field.Value, behind) : FilterTable.Of(move.Field.Value, behind!);
        }

        if (index >= 0)
        {
            branches.RemoveAt(index);
        }

        if (table is not null)
        {
            branches.Add(new FilterBranch(move.Field, table));
        }
        else if (move.Step is not null && behind is not null)
        {
            branches.Add(new FilterBranch(move.Step, behind));
        }

        branches.Sort(FilterBranch.Compare);
        return new FilterNode(Ended, [.. branches]);
    }
}
