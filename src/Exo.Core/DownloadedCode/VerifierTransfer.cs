// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// What each instruction does to the state, on ranges instead of numbers; refuses what breaks a rule. Control - jumps, local calls, exit
/// - is <see cref="VerifierPass"/>'s part.
/// </summary>
internal sealed class VerifierTransfer(Program program, ProgramContract contract)
{
    private AbstractState? current;
    private int index;
    private int links;

    /// <summary>The first rule broken, or null.</summary>
    public VerifierRejection? Rejection { get; private set; }

    /// <summary>Says which instruction is judged next, and in which state.</summary>
    public void At(int slot, AbstractState state)
    {
        index = slot;
        current = state;
    }

    /// <summary>Refuses the instruction at hand; the first refusal counts.</summary>
    public void Refuse(VerifierRule rule, string reason) =>
        Rejection ??= new VerifierRejection(index, Disassembler.FormatAt(program, index), rule, reason, current?.ToString() ?? "");

    /// <summary>Carries out an instruction that leads to the next one.</summary>
    public void Step(AbstractState state, in DecodedInstruction instruction)
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
                break;
            case <= Operation.LoadSigned32:
                Load(state, instruction);
                break;
            case <= Operation.Store64K:
                Store(state, instruction);
                break;
            case <= Operation.AtomicCompareExchange64:
                Update(state, instruction);
                break;
            default:
                Invariant.Check(instruction.Operation == Operation.Call);
                Call(state, instruction);
                break;
        }
    }

    /// <summary>Refuses the read of a register that holds nothing; true when it holds something.</summary>
    public bool CanRead(AbstractState state, int register)
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
        // A copy, also by 32 bits of what fits into them, stays linked with its source.
        if (!readsDestination && (!is32 || (operand.Kind == AbstractKind.Scalar && operand.Range.Maximum <= uint.MaxValue)))
        {
            state[instruction.Destination] = isRegister ? Linked(state, instruction.Source) : operand;
            return;
        }

        AbstractValue destination = readsDestination ? state[instruction.Destination] : AbstractValue.UnknownScalar;
        if (destination.Kind == AbstractKind.Pointer || operand.Kind == AbstractKind.Pointer)
        {
            AbstractValue result = PointerArithmetic(block, is32, destination, operand);
            state[instruction.Destination] = result.Kind == AbstractKind.Pointer ? Shifted(state, instruction, block, isRegister, result) : result;
            return;
        }

        if (is32 && block is Operation.Add64K or Operation.Subtract64K && operand.Range.IsConstant)
        {
            // Where nothing wraps at 32 bits, adding a constant is adding it in 64.
            long amount = (int)operand.Range.Minimum * (block == Operation.Add64K ? 1L : -1L);
            if (destination.Range.Maximum <= uint.MaxValue && (long)destination.Range.Minimum + amount >= 0
                && (long)destination.Range.Maximum + amount <= uint.MaxValue)
            {
                AbstractValue sum = AbstractValue.Scalar(RangeArithmetic.Add(destination.Range, ScalarRange.Constant((ulong)amount)));
                state[instruction.Destination] = destination.Link == 0 ? sum : sum.WithLink(destination.Link, destination.Distance + amount);
                return;
            }
        }

        AbstractValue value = AbstractValue.Scalar(RangeArithmetic.Apply(block, is32, destination.Range, operand.Range));
        state[instruction.Destination] = is32 ? value : Shifted(state, instruction, block, isRegister, value);
    }

    /// <summary>A register's value as one that its copies are linked with; constants need no link.</summary>
    private AbstractValue Linked(AbstractState state, int register)
    {
        AbstractValue value = state[register];
        if (value.Link == 0 && value.Kind is AbstractKind.Scalar or AbstractKind.Pointer && !value.Range.IsConstant)
        {
            state[register] = value = value.WithLink(++links, 0);
        }

        return value;
    }

    /// <summary>
    /// Links the result of an addition or subtraction with the operand that is not constant: <c>x + 4</c> with x, a pointer at a
    /// constant offset plus x with x.
    /// </summary>
    private AbstractValue Shifted(AbstractState state, in DecodedInstruction instruction, Operation block, bool isRegister, AbstractValue result)
    {
        if (block is not (Operation.Add64K or Operation.Subtract64K) || result.Range.IsConstant)
        {
            return result;
        }

        AbstractValue destination = state[instruction.Destination];
        ScalarRange operand = isRegister ? state[instruction.Source].Range : ScalarRange.Constant(instruction.Immediate);
        if (operand.IsConstant)
        {
            long amount = unchecked(block == Operation.Add64K ? (long)operand.Minimum : -(long)operand.Minimum);
            return destination.Link == 0 ? result : result.WithLink(destination.Link, unchecked(destination.Distance + amount));
        }

        if (block == Operation.Add64K && isRegister && instruction.Source != instruction.Destination && destination.Range.IsConstant)
        {
            AbstractValue source = Linked(state, instruction.Source);
            return result.WithLink(source.Link, unchecked(source.Distance + (long)destination.Range.Minimum));
        }

        return result;
    }

    /// <summary>
    /// A pointer may be copied, and numbers added to it or taken from it; the distance of two pointers into one region is a number that
    /// does not depend on where the region lies. Nothing else.
    /// </summary>
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
                case Operation.Subtract64K when destination.Kind == AbstractKind.Pointer && operand.Region == destination.Region:
                    return AbstractValue.Scalar(RangeArithmetic.Subtract(destination.Range, operand.Range));
            }
        }

        Refuse(VerifierRule.PointerArithmetic, is32
            ? "32-bit arithmetic would cut a pointer in half"
            : "with pointers one can only copy, add a number, subtract a number from one, and subtract two of one region");
        return AbstractValue.Mixed;
    }

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
        if (!state[instruction.Source].IsFramePointer)
        {
            state[instruction.Destination] = AbstractValue.Scalar(loaded);
            return;
        }

        AbstractStack frame = state.Frame(state[instruction.Source].Frame);

        // A whole slot at a known place gives back what was put there, pointers included.
        if (widthBytes == 8 && proof.Last - proof.First == 7 && proof.First % 8 == 0
            && frame[proof.First / 8].Kind is AbstractKind.Scalar or AbstractKind.Pointer)
        {
            state[instruction.Destination] = frame[proof.First / 8];
            return;
        }

        if (IsWritten(frame, proof))
        {
            state[instruction.Destination] = AbstractValue.Scalar(loaded);
        }
    }

    /// <summary>Refuses the read of stack bytes that hold no number on some path.</summary>
    private bool IsWritten(AbstractStack frame, in AccessProof proof)
    {
        int unwritten = frame.FirstUnwritten(proof.First, proof.Last);
        if (unwritten >= 0)
        {
            Refuse(VerifierRule.UninitialisedStack, frame[unwritten / 8].Kind == AbstractKind.Pointer
                ? $"the stack byte at {AccessProof.FromFrame(unwritten)} is part of a saved pointer, which can only be loaded whole from its own place"
                : $"the stack byte at {AccessProof.FromFrame(unwritten)} is read but not every path has written it");
        }

        return unwritten < 0;
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

        bool isStack = state[instruction.Destination].IsFramePointer;
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
            int depth = state[instruction.Destination].Frame;
            if (value.IsFramePointer && value.Frame > depth)
            {
                Refuse(VerifierRule.PointerLeak, "a pointer into a function's own stack frame cannot be saved in a caller's, which lives longer");
                return;
            }

            AbstractStack frame = state.Frame(depth);
            state.SetFrame(depth, isExact ? frame.Store(proof.First, widthBytes, value.WithLink(0, 0)) : frame.Blur(proof.First, proof.Last));
        }
    }

    /// <summary>
    /// An atomic operation: reads and writes one operand in memory. What it leaves on the stack is a number of which only the width is
    /// known.
    /// </summary>
    private void Update(AbstractState state, in DecodedInstruction instruction)
    {
        int widthBytes = (int)Interpreter.AtomicWidthBytes(instruction.Operation);
        bool isCompare = instruction.Operation >= Operation.AtomicCompareExchange32;
        if (!CanRead(state, instruction.Source) || (isCompare && !CanRead(state, 0))
            || !CanAccess(state, instruction.Destination, instruction.Offset, widthBytes, true, out AccessProof proof))
        {
            return;
        }

        if (state[instruction.Source].Kind == AbstractKind.Pointer || (isCompare && state[0].Kind == AbstractKind.Pointer))
        {
            int register = state[instruction.Source].Kind == AbstractKind.Pointer ? instruction.Source : 0;
            Refuse(VerifierRule.PointerLeak, $"r{register} is a pointer; atomic operations are for numbers");
            return;
        }

        ScalarRange old = ScalarRange.Unsigned(0, ulong.MaxValue >> (64 - (widthBytes * 8)));
        if (state[instruction.Destination].IsFramePointer)
        {
            int depth = state[instruction.Destination].Frame;
            AbstractStack frame = state.Frame(depth);
            if (!IsWritten(frame, proof))
            {
                return;
            }

            state.SetFrame(depth, frame.Blur(proof.First, proof.Last));
        }

        if (isCompare)
        {
            state[0] = AbstractValue.Scalar(old);
        }
        else if (instruction.Operation >= Operation.AtomicFetchAdd32)
        {
            state[instruction.Source] = AbstractValue.Scalar(old);
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
}
