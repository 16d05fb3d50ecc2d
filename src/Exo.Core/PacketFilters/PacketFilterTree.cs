// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using Exo.Capabilities;
using Exo.Core.Environments;

namespace Exo.Core.PacketFilters;

/// <summary>
/// Many filters of many owners, merged into one decision tree (DPF, SIGCOMM'96, section 4): filters that begin alike share their
/// beginning, and where they differ in a field's value a hash table finds the value. Thread-safe.
/// <para><b>Answer.</b> Of all filters that accept a packet the most specific gets it (<see cref="PacketFilter"/> has the order), of equally specific ones the
/// oldest. That holds over the whole tree; the released DPF took the first branch that led anywhere.</para>
/// <para><b>Readers</b> take no lock and allocate nothing: nodes are immutable, a change publishes a new root, and a classification works on the
/// root that it began with. <b>A change</b> copies one path: it costs what the filter is long, the number of different
/// fields asked at each node on the way, and the logarithm (base 64) of the number of values.</para>
/// <para><b>Protection.</b> A filter that may share a packet with another owner's is refused, whichever is the longer, unless the inserter's
/// credential dominates that owner's capability with <see cref="Rights.Write"/>. The tree itself finds what stands in the way: where the new filter
/// fixes a field one look-up, where it does not all values; subtrees of a single owner who is dominated are passed by.</para>
/// <para><b>Cost of a packet.</b> One look-up for each field asked at the nodes it reaches: it grows with the number of different shapes
/// of filters, not with the number of filters.</para>
/// </summary>
public sealed partial class PacketFilterTree : IRevocable
{
    private readonly Lock _writing = new();
    private readonly Dictionary<ulong, InstalledFilter> _installed = [];
    private readonly CapabilityAuthority _authority;
    private volatile FilterNode _root = FilterNode.Empty;
    private ulong _lastNumber;
    private long _version;

    /// <summary>An empty tree for the environments of one authority.</summary>
    public PacketFilterTree(CapabilityAuthority authority)
    {
        ArgumentNullException.ThrowIfNull(authority);
        _authority = authority;
    }

    internal CapabilityAuthority Authority => _authority;

    /// <summary>Filters installed.</summary>
    public int Count
    {
        get
        {
            lock (_writing)
            {
                return _installed.Count;
            }
        }
    }

    /// <summary>Grows with every filter that comes or goes, so that whoever made something of the tree knows whether it is still that. For any thread.</summary>
    public long Version => Volatile.Read(ref _version);

    /// <inheritdoc/>
    ResourceKind IRevocable.Kind => ResourceKind.Ports;

    /// <summary>The installed filter that gets the packet, or null. Takes no lock, allocates nothing, never reads outside the packet.</summary>
    public InstalledFilter? Classify(ReadOnlySpan<byte> packet)
    {
        InstalledFilter? best = null;
        Search(_root, packet, 0, ref best);
        return best;
    }

    /// <summary>Installs a filter for an environment, charged to it as <see cref="ResourceKind.Ports"/>. Refused, nothing is changed.</summary>
    /// <param name="owner">Who gets the packets.</param>
    /// <param name="filter">Which packets.</param>
    /// <param name="installed">The filter in the tree.</param>
    /// <param name="by">What the inserter presents against owners of overlapping filters; null: the owner's own capability.</param>
    public FilterVerdict TryInsert(ExoEnvironment owner, PacketFilter filter, out InstalledFilter? installed, Credential? by = null)
    {
        ArgumentNullException.ThrowIfNull(owner);
        ArgumentNullException.ThrowIfNull(filter);
        installed = null;
        lock (_writing)
        {
            // Decide.
            var guard = new AccessControlList(owner.Name, capacity: 1, _authority);
            var candidate = new InstalledFilter(this, _lastNumber + 1, filter, owner, guard);
            AccessRefusal access = candidate.TryBind();
            if (access != AccessRefusal.None)
            {
                return new FilterVerdict(FilterRefusal.Access, null, default, access);
            }

            if (FindInTheWay(candidate, by ?? owner.Credential) is { } inTheWay)
            {
                return new FilterVerdict(FilterRefusal.Overlap, inTheWay, default, default);
            }

            QuotaVerdict quota = owner.TryHold(this, candidate.Number);
            if (!quota.IsGranted)
            {
                return new FilterVerdict(FilterRefusal.Quota, null, quota, default);
            }

            // Apply. An owner who ends now waits in Repossess for the lock.
            _lastNumber++;
            _installed.Add(candidate.Number, candidate);
            _root = _root.With(candidate.Way, candidate);
            Volatile.Write(ref _version, _version + 1);
            installed = candidate;
            return default;
        }
    }

    /// <summary>The filter with a number, while it is installed.</summary>
    public bool TryGet(ulong number, [NotNullWhen(true)] out InstalledFilter? installed)
    {
        lock (_writing)
        {
            return _installed.TryGetValue(number, out installed);
        }
    }

    /// <inheritdoc/>
    void IRevocable.Repossess(RepossessionOrder order)
    {
        ArgumentNullException.ThrowIfNull(order);

        // A number listed by an environment that never owned the filter changes nothing.
        if (TryGet(order.Number, out InstalledFilter? installed) && ReferenceEquals(installed.Owner, order.Holder))
        {
            TakeOut(installed);
        }
    }

    /// <summary>The tree as indented text, for people and snapshots.</summary>
    public override string ToString() => FilterRendering.Render(_root);

    /// <summary>Whoever takes it off its owner's list takes it out of the tree.</summary>
    internal void Remove(InstalledFilter installed)
    {
        if (installed.Owner.TryGiveBack(this, installed.Number))
        {
            TakeOut(installed);
        }
    }

    private void TakeOut(InstalledFilter installed)
    {
        lock (_writing)
        {
            bool isThere = _installed.Remove(installed.Number);
            Invariant.Check(isThere);
            _root = _root.Without(installed.Way, installed);
            Volatile.Write(ref _version, _version + 1);
        }

        installed.Retire();
    }

    private static void Search(FilterNode node, ReadOnlySpan<byte> packet, int start, ref InstalledFilter? best)
    {
        while (true)
        {
            if (node.Chain is { } chain)
            {
                if (Matches(chain, packet, start))
                {
                    Offer(node.ChainEnd!, ref best);
                }

                return;
            }

            if (node.Ended.Length > 0)
            {
                Offer(node.Ended[0], ref best);
            }

            FilterBranch[] branches = node.Branches;
            int last = branches.Length - 1;
            for (int i = 0; i < last; i++)
            {
                // Branches are ordered: none after this one holds anything better. Equal ranks are looked at, age decides.
                if (best is not null && branches[i].RankMax < best.Rank)
                {
                    return;
                }

                int moved = start;
                if (Follow(branches[i], packet, ref moved) is { } behind)
                {
                    Search(behind, packet, moved, ref best);
                }
            }

            // The last one without recursion: most nodes have one.
            if (last < 0 || (best is not null && branches[last].RankMax < best.Rank) || Follow(branches[last], packet, ref start) is not { } next)
            {
                return;
            }

            node = next;
        }
    }

    private static void Offer(InstalledFilter filter, ref InstalledFilter? best)
    {
        if (best is null || filter.Rank > best.Rank || (filter.Rank == best.Rank && filter.Number < best.Number))
        {
            best = filter;
        }
    }

    // The same as following branch by branch; see Follow.
    private static bool Matches(FilterChainMove[] chain, ReadOnlySpan<byte> packet, int start)
    {
        foreach (ref readonly FilterChainMove move in chain.AsSpan())
        {
            uint end = (uint)start + (uint)move.EndBytes;
            if (end > (uint)packet.Length)
            {
                return false;
            }

            ulong field = Load(packet, (int)end, move.WidthBytes) & move.Mask;
            if (!move.IsStep)
            {
                if (field != move.Value)
                {
                    return false;
                }

                continue;
            }

            long next = start + move.AddBytes + FilterStep.Distance(field, move.ShiftBits);
            if (next > packet.Length)
            {
                return false;
            }

            start = (int)next;
        }

        return true;
    }

    // The node that the packet leads to; null when it is too short for the field or has a value nobody wants.
    private static FilterNode? Follow(FilterBranch branch, ReadOnlySpan<byte> packet, ref int start)
    {
        // No overflow: a base is never beyond the packet and a field ends at most 32,767 bytes from it.
        uint end = (uint)start + (uint)branch.EndBytes;
        if (end > (uint)packet.Length)
        {
            return null;
        }

        ulong field = Load(packet, (int)end, branch.WidthBytes) & branch.Mask;
        if (branch.Table is { } table)
        {
            return table.Find(field);
        }

        FilterStep step = branch.Step!;
        long next = start + step.AddBytes + FilterStep.Distance(field, step.ShiftBits);
        if (next > packet.Length)
        {
            return null;
        }

        start = (int)next;
        return branch.Behind;
    }

    // The bytes that end before "end", big-endian; those before the field are masked away by the caller.
    private static ulong Load(ReadOnlySpan<byte> packet, int end, int widthBytes)
    {
        if (end >= sizeof(ulong))
        {
            return System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(packet.Slice(end - sizeof(ulong), sizeof(ulong)));
        }

        ulong field = 0;
        foreach (byte next in packet.Slice(end - widthBytes, widthBytes))
        {
            field = (field << 8) | next;
        }

        return field;
    }
}
