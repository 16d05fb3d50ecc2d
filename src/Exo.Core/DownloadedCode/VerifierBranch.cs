// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// Splits the state at a conditional jump. Numbers are compared as ranges. Of pointers, only those into one region can be compared, by
/// their offsets: the outcome is the same wherever the region lies. A pointer is never zero, which compilers ask.
/// </summary>
internal static class VerifierBranch
{
    /// <summary>Offsets up to here keep their order when any base is added to them: no region lies so that this wraps.</summary>
    private const long OrderedOffsetMax = uint.MaxValue;

    /// <summary>
    /// Gives the states behind the two outcomes of a conditional jump; null for one that cannot be. Uses up <paramref name="state"/>.
    /// </summary>
    /// <returns>False when the jump breaks a rule.</returns>
    public static bool TrySplit(
        VerifierTransfer transfer, AbstractState state, in DecodedInstruction instruction, out AbstractState? taken, out AbstractState? passed)
    {
        taken = passed = null;
        int position = instruction.Operation - Operation.IfEqual64K;
        Operation block = (Operation)((int)Operation.IfEqual64K + (position & ~3));
        bool is32 = (position & 2) != 0;
        bool isRegister = (position & 1) != 0;
        if (!transfer.CanRead(state, instruction.Destination) || (isRegister && !transfer.CanRead(state, instruction.Source)))
        {
            return false;
        }

        AbstractValue left = state[instruction.Destination];
        AbstractValue right = isRegister ? state[instruction.Source] : AbstractValue.Scalar(ScalarRange.Constant(instruction.Immediate));
        if (left.Kind == AbstractKind.Pointer || right.Kind == AbstractKind.Pointer)
        {
            if (IsNullCheck(block, is32, left, right))
            {
                taken = block == Operation.IfNotEqual64K ? state : null;
                passed = block == Operation.IfNotEqual64K ? null : state;
                return true;
            }

            if (!CanCompare(block, is32, left, right))
            {
                transfer.Refuse(
                    VerifierRule.PointerComparison,
                    "only pointers into one region can be compared, as 64-bit unsigned numbers: where memory lies must not decide what a program does");
                return false;
            }
        }

        // The branch taken gets its own copy; the other one keeps the state at hand.
        taken = Take(state.Clone(), instruction, block, is32, isRegister, true);
        passed = Take(state, instruction, block, is32, isRegister, false);
        return true;
    }

    private static bool IsNullCheck(Operation block, bool is32, AbstractValue left, AbstractValue right) =>
        !is32 && block is Operation.IfEqual64K or Operation.IfNotEqual64K && IsOrdered(left)
        && right is { Kind: AbstractKind.Scalar, Range: { IsConstant: true, Minimum: 0 } };

    private static bool CanCompare(Operation block, bool is32, AbstractValue left, AbstractValue right)
    {
        if (is32 || left.Kind != right.Kind || left.Region != right.Region)
        {
            return false;
        }

        return block switch
        {
            Operation.IfEqual64K or Operation.IfNotEqual64K => true,
            Operation.IfGreater64K or Operation.IfGreaterOrEqual64K or Operation.IfLess64K or Operation.IfLessOrEqual64K =>
                IsOrdered(left) && IsOrdered(right),
            _ => false,
        };
    }

    private static bool IsOrdered(AbstractValue pointer) =>
        pointer.Kind == AbstractKind.Pointer && pointer.Range.SignedMinimum >= 0 && pointer.Range.SignedMaximum <= OrderedOffsetMax;

    private static AbstractState? Take(AbstractState state, in DecodedInstruction instruction, Operation block, bool is32, bool isRegister, bool outcome)
    {
        ScalarRange left = state[instruction.Destination].Range;
        ScalarRange right = isRegister ? state[instruction.Source].Range : ScalarRange.Constant(instruction.Immediate);
        if (isRegister && instruction.Source == instruction.Destination)
        {
            // One register with itself: the outcome is the operation's, unless it is whether any bit is set.
            return block == Operation.IfSet64K || outcome == IsReflexive(block) ? state : null;
        }

        if (!RangeComparison.TryRefine(block, is32, outcome, ref left, ref right))
        {
            return null;
        }

        return TrySharpen(state, instruction.Destination, left) && (!isRegister || TrySharpen(state, instruction.Source, right)) ? state : null;
    }

    private static bool IsReflexive(Operation block) => block is Operation.IfEqual64K or Operation.IfGreaterOrEqual64K
        or Operation.IfLessOrEqual64K or Operation.IfSignedGreaterOrEqual64K or Operation.IfSignedLessOrEqual64K;

    /// <summary>
    /// Narrows the range of a number or of a pointer's offset, and of the registers linked with it; keeps the shared object where nothing
    /// was learnt. False when no number is left: the branch is never taken.
    /// </summary>
    private static bool TrySharpen(AbstractState state, int register, in ScalarRange range)
    {
        AbstractValue value = state[register];
        if (value.Range == range)
        {
            return true;
        }

        // An operand sharpened through its link may know more by now than the comparison said.
        if (!value.Range.TryMeet(range, out ScalarRange met))
        {
            return false;
        }

        state[register] = value.WithRange(met);
        for (int other = 0; value.Link != 0 && other < AbstractState.RegisterCount; other++)
        {
            AbstractValue linked = state[other];
            if (linked.Link != value.Link || other == register)
            {
                continue;
            }

            ScalarRange shifted = RangeArithmetic.Add(met, ScalarRange.Constant((ulong)unchecked(linked.Distance - value.Distance)));
            if (!linked.Range.TryMeet(shifted, out ScalarRange narrowed))
            {
                return false;
            }

            if (narrowed != linked.Range)
            {
                state[other] = linked.WithRange(narrowed);
            }
        }

        return true;
    }
}
