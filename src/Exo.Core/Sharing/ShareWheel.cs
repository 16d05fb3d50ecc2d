// SPDX-License-Identifier: MIT
namespace Exo.Core.Sharing;

/// <summary>
/// Whose turn it is at something that is shared by weight: deficit round robin (Shreedhar and Varghese, 1995). No lock of its own: that of whoever has it.
/// <code>
///   active:  | A | B | C |     the first is being visited: on arrival its deficit grows by its weight times the quantum; it is served while what it wants
///              ^               costs no more than its deficit, then goes to the end, and keeps what is left. Who wants nothing leaves, and keeps
///                    no more than a visit gives: so one who asks again at once does not lose what it had left, and one who was away long has saved up nothing
/// </code>
/// Among those who always want something each gets its weight's part, to within a few quanta and one request, whatever the sizes of requests; what some do not want the others get.
/// </summary>
internal sealed class ShareWheel(long quantum)
{
    private ShareFlow? _first;
    private ShareFlow? _last;
    private bool _hasArrived;

    /// <summary>The flow wants something now.</summary>
    public void Activate(ShareFlow flow)
    {
        if (flow.IsActive)
        {
            return;
        }

        flow.IsActive = true;
        Append(flow);
    }

    /// <summary>Whose turn it is; null: nobody wants anything. Serve it (<see cref="ShareFlow.Charge"/>), or ask again later: it stays its turn.</summary>
    public ShareFlow? Next()
    {
        while (_first is { } flow)
        {
            long cost = flow.HeadCost;
            if (cost < 0)
            {
                RemoveFirst();
                flow.IsActive = false;
                flow.Deficit = Math.Min(flow.Deficit, flow.Weight * quantum);
                continue;
            }

            if (!_hasArrived)
            {
                flow.Deficit += flow.Weight * quantum;
                _hasArrived = true;
            }

            if (cost <= flow.Deficit)
            {
                return flow;
            }

            RemoveFirst();
            Append(flow);
        }

        return null;
    }

    private void Append(ShareFlow flow)
    {
        flow.NextActive = null;
        if (_last is null)
        {
            _first = flow;
            _hasArrived = false;
        }
        else
        {
            _last.NextActive = flow;
        }

        _last = flow;
    }

    private void RemoveFirst()
    {
        _first = _first!.NextActive;
        _last = _first is null ? null : _last;
        _hasArrived = false;
    }
}

/// <summary>One of those who share: what it wants, and what it may still have this time.</summary>
internal abstract class ShareFlow(int weight)
{
    /// <summary>The largest weight: a round of all stays a number of bytes.</summary>
    public const int WeightMax = 1_000_000;

    public int Weight { get; } = Checked(weight);

    /// <summary>What the first thing costs that it wants; -1: it wants nothing.</summary>
    public abstract long HeadCost { get; }

    public long Deficit { get; set; }

    public bool IsActive { get; set; }

    public ShareFlow? NextActive { get; set; }

    /// <summary>It has been given something.</summary>
    public void Charge(long cost)
    {
        Deficit -= cost;
        Invariant.Check(Deficit >= 0);
    }

    private static int Checked(int weight)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(weight, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(weight, WeightMax);
        return weight;
    }
}
