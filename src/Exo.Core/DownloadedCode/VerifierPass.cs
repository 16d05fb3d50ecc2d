// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// The one forward pass of <see cref="Verifier"/> over a decoded program. Holds at each slot not yet reached the join of the states
/// that jumps have sent there.
/// </summary>
internal sealed class VerifierPass(Program program, ProgramContract contract, DecodedInstruction[] code)
{
    /// <summary>States sent ahead by jumps; an entry is dropped when the pass has come to it.</summary>
    private readonly AbstractState?[] waiting = new AbstractState?[code.Length];

    /// <summary>The state on the path that falls through to the current slot; null where there is none.</summary>
    private AbstractState? current = AbstractState.AtEntry(contract);

    private VerifierRejection? rejection;
    private long steps;
    private int index;

    /// <summary>Work done so far.</summary>
    public long Steps => steps;

    /// <summary>Runs the pass; null when nothing breaks a rule.</summary>
    public VerifierRejection? Run()
    {
        for (index = 0; index < code.Length - 1 && rejection is null; index++)
        {
            AbstractState? sent = waiting[index];
            waiting[index] = null;
            if (current is null)
            {
                current = sent;
            }
            else if (sent is not null)
            {
                current.JoinWith(sent, ref steps);
            }

            // No path leads here, or it is the second half of lddw, which the first half stepped over.
            if (current is null)
            {
                continue;
            }

            steps++;
            Step(current, code[index]);
        }

        return rejection;
    }

    private void Refuse(VerifierRule rule, string reason) =>
        rejection ??= new VerifierRejection(index, Disassembler.FormatAt(program, index), rule, reason, current?.ToString() ?? "");

    private void Step(AbstractState state, in DecodedInstruction instruction)
    {
        switch (instruction.Operation)
        {
            case <= Operation.SignedModulo32X:
                Arithmetic(state, instruction);
                break;
            case <= Operation.Swap64:
                Convert(state, instruction);
                break;
            case Operation.LoadImmediate64:
                state[instruction.Destination] = AbstractValue.Scalar(ScalarRange.Constant(instruction.Immediate));
                index++;
                break;
            case <= Operation.LoadSigned32:
                Load(state, instruction);
                break;
            case <= Operation.Store64K:
                Store(state, instruction);
                break;
            case Operation.Jump:
                Send(instruction.Offset, state);
                current = null;
                break;
            case Operation.Call:
                Call(state, instruction);
                break;
            case Operation.Exit:
                Exit(state);
                break;
            default:
                Branch(state, instruction);
                break;
        }
    }

    /// <summary>Refuses the read of a register that holds nothing; true when it holds something.</summary>
    private bool CanRead(AbstractState state, int register)
    {
        string? reason = state[register].Kind switch
        {
            AbstractKind.Uninitialised => "is read but was never written",
            AbstractKind.Mixed => "is read but does not hold the same kind of value on every path that leads here",
            AbstractKind.Clobbered => "is read after a call; calls leave nothing in r1 to r5",
            _ => null,
        };
        if (reason is not null)
        {
            Refuse(VerifierRule.UninitialisedRegister, $"r{register} {reason}");
        }

        return reason is null;
    }

    private void Arithmetic(AbstractState state, in DecodedInstruction instruction)
    {
        int position = instruction.Operation - Operation.Add64K;
        Operation block = (Operation)((int)Operation.Add64K + (position & ~3));
        bool is32 = (position & 2) != 0;
        bool isRegister = (position & 1) != 0;
        bool readsDestination = block != Operation.Move64K;
        if ((readsDestination && !CanRead(state, instruction.Destination)) || (isRegister && !CanRead(state, instruction.Source)))
        {
            return;
        }

        AbstractValue operand = isRegister ? state[instruction.Source] : AbstractValue.Scalar(ScalarRange.Constant(instruction.Immediate));
        AbstractValue destination = readsDestination ? state[instruction.Destination] : AbstractValue.UnknownScalar;
        if (destination.Kind == AbstractKind.Pointer || operand.Kind == AbstractKind.Pointer)
        {
            state[instruction.Destination] = PointerArithmetic(block, is32, destination, operand);
            return;
        }

        state[instruction.Destination] = AbstractValue.Scalar(RangeArithmetic.Apply(block, is32, destination.Range, operand.Range));
    }

    /// <summary>A pointer may be copied, and numbers added to it or taken from it; nothing else.</summary>
    private AbstractValue PointerArithmetic(Operation block, bool is32, AbstractValue destination, AbstractValue operand)
    {
        if (!is32)
        {
            switch (block)
            {
                case Operation.Move64K:
                    return operand;
                case Operation.Add64K when operand.Kind == AbstractKind.Scalar:
                    return AbstractValue.Pointer(destination.Region, RangeArithmetic.Add(destination.Range, operand.Range));
                case Operation.Add64K when destination.Kind == AbstractKind.Scalar:
                    return AbstractValue.Pointer(operand.Region, RangeArithmetic.Add(destination.Range, operand.Range));
                case Operation.Subtract64K when operand.Kind == AbstractKind.Scalar:
                    return AbstractValue.Pointer(destination.Region, RangeArithmetic.Subtract(destination.Range, operand.Range));
            }
        }

        Refuse(VerifierRule.PointerArithmetic, is32
            ? "32-bit arithmetic would cut a pointer in half"
            : "with pointers one can only copy, add a number, and subtract a number from one");
        return AbstractValue.Mixed;
    }

    /// <summary>Sign-extending moves and byte order: of numbers only.</summary>
    private void Convert(AbstractState state, in DecodedInstruction instruction)
    {
        bool isMove = instruction.Operation <= Operation.MoveSigned16To32;
        int register = isMove ? instruction.Source : instruction.Destination;
        if (!CanRead(state, register))
        {
            return;
        }

        if (state[register].Kind == AbstractKind.Pointer)
        {
            Refuse(
                VerifierRule.PointerArithmetic, $"r{register} is a pointer; {(isMove ? "sign extension is" : "byte order is")} for numbers");
            return;
        }

        ScalarRange range = state[register].Range;
        state[instruction.Destination] = AbstractValue.Scalar(instruction.Operation switch
        {
            Operation.MoveSigned8To64 => RangeArithmetic.SignExtend(range, 8),
            Operation.MoveSigned16To64 => RangeArithmetic.SignExtend(range, 16),
            Operation.MoveSigned32To64 => RangeArithmetic.SignExtend(range, 32),
            Operation.MoveSigned8To32 => RangeArithmetic.Truncate(RangeArithmetic.SignExtend(range, 8), 32),
            Operation.MoveSigned16To32 => RangeArithmetic.Truncate(RangeArithmetic.SignExtend(range, 16), 32),
            Operation.Truncate16 => RangeArithmetic.Truncate(range, 16),
            Operation.Truncate32 => RangeArithmetic.Truncate(range, 32),
            Operation.Truncate64 => range,
            Operation.Swap16 => RangeArithmetic.Swap(range, 16),
            Operation.Swap32 => RangeArithmetic.Swap(range, 32),
            _ => RangeArithmetic.Swap(range, 64),
        });
    }

    /// <summary>Refuses an access that cannot be proved to lie inside its region.</summary>
    private bool CanAccess(AbstractState state, int register, int offset, int widthBytes, bool isStore, out AccessProof proof)
    {
        proof = default;
        if (!CanRead(state, register))
        {
            return false;
        }

        if (state[register].Kind != AbstractKind.Pointer)
        {
            Refuse(VerifierRule.NotAPointer, $"r{register} holds a number, not the address of memory that was lent");
            return false;
        }

        proof = AccessProof.Attempt(contract, state[register], offset, widthBytes, isStore);
        if (proof.Reason is not null)
        {
            Refuse(proof.Rule, proof.Reason);
        }

        return proof.Reason is null;
    }

    private void Load(AbstractState state, in DecodedInstruction instruction)
    {
        (int widthBytes, bool isSigned) = instruction.Operation switch
        {
            Operation.Load8 => (1, false),
            Operation.Load16 => (2, false),
            Operation.Load32 => (4, false),
            Operation.Load64 => (8, false),
            Operation.LoadSigned8 => (1, true),
            Operation.LoadSigned16 => (2, true),
            _ => (4, true),
        };
        if (!CanAccess(state, instruction.Source, instruction.Offset, widthBytes, false, out AccessProof proof))
        {
            return;
        }

        ScalarRange loaded = isSigned
            ? ScalarRange.Signed(-1L << ((widthBytes * 8) - 1), ~(-1L << ((widthBytes * 8) - 1)))
            : ScalarRange.Unsigned(0, ulong.MaxValue >> (64 - (widthBytes * 8)));
        if (state[instruction.Source].Region != Interpreter.StackRegion)
        {
            state[instruction.Destination] = AbstractValue.Scalar(loaded);
            return;
        }

        // A whole slot at a known place gives back what was put there, pointers included.
        if (widthBytes == 8 && proof.Last - proof.First == 7 && proof.First % 8 == 0
            && state.Stack[proof.First / 8].Kind is AbstractKind.Scalar or AbstractKind.Pointer)
        {
            state[instruction.Destination] = state.Stack[proof.First / 8];
            return;
        }

        int unwritten = state.Stack.FirstUnwritten(proof.First, proof.Last);
        if (unwritten >= 0)
        {
            Refuse(VerifierRule.UninitialisedStack, state.Stack[unwritten / 8].Kind == AbstractKind.Pointer
                ? $"the stack byte at {AccessProof.FromFrame(unwritten)} is part of a saved pointer, which can only be loaded whole from its own place"
                : $"the stack byte at {AccessProof.FromFrame(unwritten)} is read but not every path has written it");
            return;
        }

        state[instruction.Destination] = AbstractValue.Scalar(loaded);
    }

    private void Store(AbstractState state, in DecodedInstruction instruction)
    {
        bool isRegister = instruction.Operation <= Operation.Store64X;
        int widthBytes = 1 << (instruction.Operation - (isRegister ? Operation.Store8X : Operation.Store8K));
        if (isRegister && !CanRead(state, instruction.Source))
        {
            return;
        }

        AbstractValue value = isRegister ? state[instruction.Source] : AbstractValue.Scalar(ScalarRange.Constant(instruction.Immediate));
        if (!CanAccess(state, instruction.Destination, instruction.Offset, widthBytes, true, out AccessProof proof))
        {
            return;
        }

        bool isStack = state[instruction.Destination].Region == Interpreter.StackRegion;
        bool isExact = proof.Last - proof.First == widthBytes - 1;
        if (value.Kind == AbstractKind.Pointer && !(isStack && isExact && widthBytes == 8 && proof.First % 8 == 0))
        {
            Refuse(VerifierRule.PointerLeak, isStack
                ? "a pointer can be saved on the stack only whole, in an 8-byte slot at a known place that is a multiple of 8"
                : $"a pointer cannot be stored into the {AbstractValue.RegionName(state[instruction.Destination].Region)} region, where others would read it");
            return;
        }

        if (isStack)
        {
            state.Stack = isExact ? state.Stack.Store(proof.First, widthBytes, value) : state.Stack.Blur(proof.First, proof.Last);
        }
    }

    private void Call(AbstractState state, in DecodedInstruction instruction)
    {
        bool isKnown = contract.TryGetHelper((int)instruction.Immediate, out HelperContract helper);
        Invariant.Check(isKnown);
        for (int register = 1; register <= helper.ArgumentCount; register++)
        {
            if (!CanRead(state, register))
            {
                return;
            }

            if (state[register].Kind == AbstractKind.Pointer)
            {
                Refuse(VerifierRule.PointerLeak, $"r{register} is a pointer; the helper '{helper.Name}' takes numbers only");
                return;
            }
        }

        for (int register = 1; register <= 5; register++)
        {
            state[register] = AbstractValue.Clobbered;
        }

        state[0] = AbstractValue.UnknownScalar;
    }

    private void Exit(AbstractState state)
    {
        if (CanRead(state, 0) && state[0].Kind == AbstractKind.Pointer)
        {
            Refuse(VerifierRule.PointerLeak, "r0 is a pointer; a program returns a number");
        }

        current = null;
    }

    private void Branch(AbstractState state, in DecodedInstruction instruction)
    {
        int position = instruction.Operation - Operation.IfEqual64K;
        Operation block = (Operation)((int)Operation.IfEqual64K + (position & ~3));
        bool is32 = (position & 2) != 0;
        bool isRegister = (position & 1) != 0;
        if (!CanRead(state, instruction.Destination) || (isRegister && !CanRead(state, instruction.Source)))
        {
            return;
        }

        AbstractValue left = state[instruction.Destination];
        AbstractValue right = isRegister ? state[instruction.Source] : AbstractValue.Scalar(ScalarRange.Constant(instruction.Immediate));
        if (left.Kind == AbstractKind.Pointer || right.Kind == AbstractKind.Pointer)
        {
            Refuse(VerifierRule.PointerComparison, "pointers cannot be compared: where memory lies must not decide what a program does");
            return;
        }

        // The branch taken gets its own copy; the other one keeps the state at hand.
        if (TryTake(state.Clone(), instruction, block, is32, isRegister, true) is { } taken)
        {
            Send(instruction.Offset, taken);
        }

        current = TryTake(state, instruction, block, is32, isRegister, false);
    }

    private static AbstractState? TryTake(AbstractState state, in DecodedInstruction instruction, Operation block, bool is32, bool isRegister, bool outcome)
    {
        ScalarRange left = state[instruction.Destination].Range;
        ScalarRange right = isRegister ? state[instruction.Source].Range : ScalarRange.Constant(instruction.Immediate);
        if (!RangeComparison.TryRefine(block, is32, outcome, ref left, ref right))
        {
            return null;
        }

        Sharpen(state, instruction.Destination, left);
        if (isRegister)
        {
            Sharpen(state, instruction.Source, right);
        }

        return state;
    }

    /// <summary>Replaces a number's range, keeping the shared object where nothing was learnt.</summary>
    private static void Sharpen(AbstractState state, int register, in ScalarRange range)
    {
        if (state[register].Range != range)
        {
            state[register] = AbstractValue.Scalar(range);
        }
    }

    private void Send(int target, AbstractState state)
    {
        if (waiting[target] is { } there)
        {
            there.JoinWith(state, ref steps);
        }
        else
        {
            waiting[target] = state;
        }
    }
}
