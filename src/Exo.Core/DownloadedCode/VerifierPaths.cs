// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// <see cref="Verifier"/>'s second way through a program, tried where <see cref="VerifierPass"/> refuses: each path by itself, states
/// never joined, so that what registers have to do with one another is kept - at a price that doubles with each jump unless paths end up
/// alike. A path is given up as proved where all that it allows was allowed by one gone through to the end at the same place before.
/// The work is limited more tightly than that of the first way.
/// </summary>
internal sealed class VerifierPaths
{
    /// <summary>Instructions followed on all paths together, at most.</summary>
    public const int InstructionsMax = 200_000;

    /// <summary>Paths not yet begun, at most.</summary>
    private const int PendingMax = 8_192;

    /// <summary>States kept to compare with at one place, at most; the oldest go first.</summary>
    private const int KeptPerBlockMax = 32;

    private readonly ControlFlow flow;
    private readonly DecodedInstruction[] code;
    private readonly VerifierTransfer transfer;
    private readonly int instructionsMax;
    private readonly Stack<Path> pending = new();
    private readonly Queue<Place>?[] kept;
    private readonly bool[] isMeetingPlace;
    private long steps;
    private int instructions;

    private VerifierPaths(Program program, ProgramContract contract, DecodedInstruction[] code, ControlFlow flow, int instructionsMax)
    {
        this.flow = flow;
        this.code = code;
        this.instructionsMax = Math.Min(instructionsMax, InstructionsMax);
        transfer = new VerifierTransfer(program, contract);
        kept = new Queue<Place>?[flow.Blocks.Length];
        isMeetingPlace = MeetingPlaces(flow);
    }

    /// <summary>Where a local call goes on, and what its caller had; the same object means the same call.</summary>
    private sealed record Return(int Slot, AbstractState Caller, Return? Outer);

    /// <summary>
    /// A place where paths can meet, entered in some state. Open until all paths through it have come to an end; then the longest of them is
    /// known.
    /// </summary>
    private sealed class Place(Place? before, AbstractState state, Return? caller)
    {
        public Place? Before { get; } = before;

        public AbstractState State { get; } = state;

        public Return? Caller { get; } = caller;

        /// <summary>Paths through here that have not ended.</summary>
        public int OpenPaths { get; set; } = 1;

        /// <summary>Instructions from the start of the program to the end of the longest path through here.</summary>
        public int Longest { get; set; }

        public int Remaining => Longest - State.Executed;
    }

    private readonly record struct Path(int Slot, AbstractState State, Return? Caller, Place From);

    /// <summary>Goes through all paths; true when none breaks a rule and the limits suffice.</summary>
    public static bool TryProve(
        Program program, ProgramContract contract, DecodedInstruction[] code, ControlFlow flow, int instructionsMax, ref long steps, out int longestPath)
    {
        VerifierPaths paths = new(program, contract, code, flow, instructionsMax);
        AbstractState entry = AbstractState.AtEntry(contract);
        Place root = new(null, entry.Clone(), null);
        bool isProved = paths.TryFollow(new Path(0, entry, null, root));
        while (isProved && paths.pending.TryPop(out Path next))
        {
            isProved = paths.TryFollow(next);
        }

        Invariant.Check(!isProved || root.OpenPaths == 0);
        steps += paths.steps;
        longestPath = root.Longest;
        return isProved;
    }

    private static bool[] MeetingPlaces(ControlFlow flow)
    {
        int[] ways = new int[flow.Blocks.Length];
        foreach (BasicBlock block in flow.Blocks)
        {
            foreach (int to in (ReadOnlySpan<int>)[block.Next, block.Taken])
            {
                if (to >= 0)
                {
                    ways[to]++;
                }
            }
        }

        return Array.ConvertAll(ways, count => count > 1);
    }

    /// <summary>Follows one path to its end; branches not taken wait. False when it breaks a rule or a limit.</summary>
    private bool TryFollow(Path path)
    {
        (int slot, AbstractState state, Return? caller, Place from) = path;
        int block = flow.BlockAt(slot);
        for (; ; )
        {
            if (slot == flow.Blocks[block].First && isMeetingPlace[block] && !TryMeet(block, state, caller, ref from, out bool isOver))
            {
                return isOver;
            }

            // To the end of the block, or into or out of a function.
            bool isLeft = false;
            for (; slot < flow.Blocks[block].End && !isLeft; slot++)
            {
                transfer.At(slot, state);
                state.Executed++;
                steps++;
                if (++instructions > instructionsMax || steps > Verifier.StepsMax)
                {
                    return false;
                }

                ref readonly DecodedInstruction instruction = ref code[slot];
                switch (instruction.Operation)
                {
                    case Operation.Jump:
                        break;
                    case Operation.Exit:
                        if (!VerifierPass.CanExit(transfer, state))
                        {
                            return false;
                        }

                        if (caller is null)
                        {
                            End(from, state.Executed);
                            return true;
                        }

                        AbstractState outer = caller.Caller.Clone();
                        outer.LeaveCall(state);
                        (state, slot, caller) = (outer, caller.Slot, caller.Outer);
                        isLeft = true;
                        break;
                    case Operation.CallLocal:
                        caller = new Return(slot + 1, state, caller);
                        state = state.EnterCall();
                        slot = instruction.Offset;
                        isLeft = true;
                        break;
                    case >= Operation.IfEqual64K:
                        if (!VerifierBranch.TrySplit(transfer, state, instruction, out AbstractState? taken, out AbstractState? passed))
                        {
                            return false;
                        }

                        if (taken is not null && passed is not null)
                        {
                            if (pending.Count == PendingMax)
                            {
                                return false;
                            }

                            from.OpenPaths++;
                            pending.Push(new Path(flow.Blocks[flow.Blocks[block].Taken].First, taken, caller, from));
                        }
                        else if (passed is null)
                        {
                            // Both being null means that no run comes here at all.
                            if (taken is null)
                            {
                                End(from, state.Executed);
                                return true;
                            }

                            state = taken;
                            slot = flow.Blocks[flow.Blocks[block].Taken].First;
                            isLeft = true;
                            break;
                        }

                        state = passed;
                        break;
                    default:
                        transfer.Step(state, instruction);
                        slot += instruction.Operation == Operation.LoadImmediate64 ? 1 : 0;
                        break;
                }

                if (transfer.Rejection is not null)
                {
                    return false;
                }

                if (isLeft)
                {
                    break;
                }
            }

            if (!isLeft)
            {
                BasicBlock left = flow.Blocks[block];
                slot = flow.Blocks[left.Next >= 0 ? left.Next : left.Taken].First;
            }

            block = flow.BlockAt(slot);
        }
    }

    /// <summary>
    /// Enters a place where paths meet. False when the path ends here: <paramref name="isOver"/> tells whether because it was proved before
    /// or because it goes round in circles.
    /// </summary>
    private bool TryMeet(int block, AbstractState state, Return? caller, ref Place from, out bool isOver)
    {
        // What relations between registers prove, they prove for one path; states are compared without.
        state.DropLinks();
        Queue<Place> places = kept[block] ??= new Queue<Place>();
        foreach (Place known in places)
        {
            if (!ReferenceEquals(known.Caller, caller))
            {
                continue;
            }

            if (known.OpenPaths == 0 && known.State.Covers(state, ref steps))
            {
                End(from, state.Executed + known.Remaining);
                isOver = true;
                return false;
            }

            if (known.OpenPaths > 0 && state.Covers(known.State, ref steps))
            {
                isOver = false;
                return false;
            }
        }

        if (places.Count == KeptPerBlockMax)
        {
            places.Dequeue();
        }

        Place place = new(from, state.Clone(), caller);
        places.Enqueue(place);
        from = place;
        isOver = false;
        return true;
    }

    /// <summary>A path through <paramref name="place"/> has ended after so many instructions.</summary>
    private static void End(Place place, int executed)
    {
        for (Place? at = place; at is not null; at = at.Before)
        {
            at.Longest = Math.Max(at.Longest, executed);
            if (--at.OpenPaths > 0)
            {
                return;
            }

            executed = at.Longest;
        }
    }
}
