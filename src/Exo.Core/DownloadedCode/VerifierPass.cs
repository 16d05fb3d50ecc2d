// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// <see cref="Verifier"/>'s way through a program of known shape. Each block holds the join of the states that jumps have sent there
/// and is gone through once they are all in; a loop is gone through again and again, each time with the state that came back to its
/// head, until none does; a local call goes through the function with the state at hand.
/// </summary>
internal sealed class VerifierPass(Program program, ProgramContract contract, DecodedInstruction[] code, ControlFlow flow, int instructionsMax)
{
    private readonly VerifierTransfer transfer = new(program, contract);

    /// <summary>States sent to blocks; an entry is dropped when the pass has come to it.</summary>
    private readonly AbstractState?[] waiting = new AbstractState?[flow.Blocks.Length];

    /// <summary>What can be relied on where the function at hand returns; null while nothing has led there.</summary>
    private AbstractState? returned;

    private long steps;
    private int instructions;

    /// <summary>Work done so far.</summary>
    public long Steps => steps;

    /// <summary>The greatest number of instructions on any path.</summary>
    public int LongestPath { get; private set; }

    private bool IsRefused => transfer.Rejection is not null;

    /// <summary>Goes through the whole program; null when nothing breaks a rule.</summary>
    public VerifierRejection? Run()
    {
        RunFunction(flow.Functions[0], AbstractState.AtEntry(contract));
        return transfer.Rejection;
    }

    /// <summary>Goes through one function; the state behind its call, or null when it does not return.</summary>
    private AbstractState? RunFunction(ProgramFunction function, AbstractState entry)
    {
        AbstractState? outer = returned;
        returned = null;
        waiting[function.FirstBlock] = entry;
        RunPositions(function.Order, 0, function.Order.Blocks.Length);
        AbstractState? result = returned;
        returned = outer;
        return result;
    }

    private void RunPositions(LoopOrder order, int first, int end)
    {
        for (int position = first; position < end && !IsRefused;)
        {
            if (order.LoopEnds[position] == 0)
            {
                RunBlock(order.Blocks[position++]);
                continue;
            }

            RunLoop(order, position);
            position = order.LoopEnds[position];
        }
    }

    /// <summary>
    /// Unrolls a loop. The state that comes back to the head replaces the one before it, so that counters stay exact; it is null once
    /// every path has left. A state that allows all that an earlier one did will only come back again: then the loop is given up. To
    /// find that out, the states after 1, 2, 4, 8, ... rounds are compared with.
    /// </summary>
    private void RunLoop(LoopOrder order, int position)
    {
        int head = order.Blocks[position];
        AbstractState? landmark = null;
        int landmarkRound = 0;
        for (int round = 1; ; round++)
        {
            RunBlock(head);
            RunPositions(order, position + 1, order.LoopEnds[position]);
            if (IsRefused || waiting[head] is not { } back)
            {
                return;
            }

            if (landmark is not null && back.Covers(landmark, ref steps))
            {
                transfer.At(flow.Blocks[head].First, back);
                transfer.Refuse(
                    VerifierRule.UnboundedLoop,
                    $"nothing bounds the loop that leads back here: round {round} leaves no less possible than round {landmarkRound}");
                return;
            }

            if (round >= landmarkRound * 2)
            {
                landmark = back.Clone();
                landmarkRound = round;
            }
        }
    }

    private void RunBlock(int number)
    {
        AbstractState? state = waiting[number];
        if (state is null || IsRefused)
        {
            return;
        }

        waiting[number] = null;
        BasicBlock block = flow.Blocks[number];
        for (int slot = block.First; slot < block.End; slot++)
        {
            transfer.At(slot, state);
            ref readonly DecodedInstruction instruction = ref code[slot];
            if (!TryCount(state))
            {
                return;
            }

            switch (instruction.Operation)
            {
                case Operation.Jump:
                    Send(block.Taken, state);
                    return;
                case Operation.Exit:
                    Exit(state);
                    return;
                case >= Operation.IfEqual64K:
                    Branch(state, instruction, block);
                    return;
                case Operation.CallLocal:
                    ProgramFunction function = flow.FunctionAt(instruction.Offset);
                    if (RunFunction(function, state.EnterCall()) is not { } callee)
                    {
                        return;
                    }

                    state.LeaveCall(callee);
                    break;
                case Operation.LoadImmediate64:
                    transfer.Step(state, instruction);
                    slot++;
                    break;
                default:
                    transfer.Step(state, instruction);
                    break;
            }

            if (IsRefused)
            {
                return;
            }
        }

        Send(block.Next, state);
    }

    /// <summary>Counts one instruction for the path and for the work done.</summary>
    private bool TryCount(AbstractState state)
    {
        LongestPath = Math.Max(LongestPath, ++state.Executed);
        steps++;
        if (++instructions > instructionsMax || steps > Verifier.StepsMax)
        {
            transfer.Refuse(
                VerifierRule.TooMuchWork,
                $"no verdict after {Math.Min(instructions, instructionsMax):N0} instructions and {steps:N0} steps of work: "
                + "loops and calls make the program too long");
            return false;
        }

        return true;
    }

    /// <summary>Refuses to return nothing from the program, and an address from it or from the function whose frame that is in.</summary>
    public static bool CanExit(VerifierTransfer transfer, AbstractState state)
    {
        if (state.Depth == 0 && !transfer.CanRead(state, 0))
        {
            return false;
        }

        // A function may return what it was given, but not an address in its own frame, which is gone.
        bool isLeak = state[0].Kind == AbstractKind.Pointer && (state.Depth == 0 || (state[0].IsFramePointer && state[0].Frame == state.Depth));
        if (isLeak)
        {
            transfer.Refuse(VerifierRule.PointerLeak, state.Depth == 0
                ? "r0 is a pointer; a program returns a number"
                : "r0 is a pointer into the stack frame of the function that returns");
        }

        return !isLeak;
    }

    private void Exit(AbstractState state)
    {
        if (!CanExit(transfer, state))
        {
            return;
        }

        if (returned is null)
        {
            returned = state;
        }
        else
        {
            returned.JoinWith(state, ref steps);
        }
    }

    private void Branch(AbstractState state, in DecodedInstruction instruction, in BasicBlock block)
    {
        if (!VerifierBranch.TrySplit(transfer, state, instruction, out AbstractState? taken, out AbstractState? passed))
        {
            return;
        }

        if (taken is not null)
        {
            Send(block.Taken, taken);
        }

        if (passed is not null)
        {
            Send(block.Next, passed);
        }
    }

    private void Send(int block, AbstractState state)
    {
        if (waiting[block] is { } there)
        {
            there.JoinWith(state, ref steps);
        }
        else
        {
            waiting[block] = state;
        }
    }
}
