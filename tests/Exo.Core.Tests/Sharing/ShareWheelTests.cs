// SPDX-License-Identifier: MIT
using Exo.Core.Sharing;

namespace Exo.Core.Tests.Sharing;

/// <summary>Whose turn it is, told by what is wanted alone. A flow that has nothing more to ask for leaves, and comes back when the next turn has been given: as whoever asks for something, gets it, and asks again.</summary>
public sealed class ShareWheelTests
{
    private const long Quantum = 100;

    private sealed class Flow(int weight) : ShareFlow(weight)
    {
        public Queue<long> Wanted { get; } = new();

        public long Got { get; set; }

        public override long HeadCost => Wanted.TryPeek(out long cost) ? cost : -1;
    }

    [Theory]
    [InlineData(3, 1, 16, 16)]
    [InlineData(5, 2, 7, 3)]
    [InlineData(1, 4, 100, 9)]
    [InlineData(2, 2, 5, 64)]
    public void Who_asks_again_at_once_loses_nothing_by_having_nothing_to_ask_for_in_between(int weight, int otherWeight, int atOnce, int otherAtOnce)
    {
        Flow[] flows = [new(weight), new(otherWeight)];
        int[] asks = [atOnce, otherAtOnce];
        ShareWheel wheel = new(Quantum);
        Flow? gone = null;
        Ask(0);
        Ask(1);
        for (int turn = 0; turn < 100_000; turn++)
        {
            Flow next = Serve(wheel);

            // Whose last request that was is thinking, while the other one has its turn.
            if (gone is not null)
            {
                Ask(Array.IndexOf(flows, gone));
            }

            gone = next.Wanted.Count == 0 ? next : null;
        }

        // At the end of what is asked for at once less than a visit may be left over: so much is lost, and no more.
        double share = flows.Sum(flow => flow.Got) * weight / (double)(weight + otherWeight);
        Assert.InRange(flows[0].Got, share * 0.95, share * 1.05);

        void Ask(int who)
        {
            for (int i = 0; i < asks[who]; i++)
            {
                flows[who].Wanted.Enqueue(Quantum);
            }

            wheel.Activate(flows[who]);
        }
    }

    [Fact]
    public void Who_asked_for_little_has_saved_up_no_more_than_a_visit()
    {
        Flow modest = new(2), greedy = new(1);
        ShareWheel wheel = new(Quantum);
        greedy.Wanted.Enqueue(Quantum);
        wheel.Activate(greedy);
        for (int i = 0; i < 1000; i++)
        {
            modest.Wanted.Enqueue(1);
            wheel.Activate(modest);
            while (modest.Wanted.Count > 0)
            {
                greedy.Wanted.Enqueue(Quantum);
                Serve(wheel);
            }

            // The greedy one's turn: the other one leaves.
            greedy.Wanted.Enqueue(Quantum);
            Serve(wheel);
        }

        long before = greedy.Got;
        for (int i = 0; i < 100; i++)
        {
            modest.Wanted.Enqueue(Quantum);
            greedy.Wanted.Enqueue(Quantum);
        }

        wheel.Activate(modest);
        long burst = modest.Got;
        while (greedy.Got < before + (2 * Quantum))
        {
            Serve(wheel);
        }

        // Before the greedy one's second turn from now on: two visits at most, and what was left of one.
        Assert.InRange(modest.Got - burst, Quantum, 3 * modest.Weight * Quantum);
    }

    private static Flow Serve(ShareWheel wheel)
    {
        Flow flow = Assert.IsType<Flow>(wheel.Next());
        long cost = flow.Wanted.Dequeue();
        flow.Charge(cost);
        flow.Got += cost;
        return flow;
    }
}
