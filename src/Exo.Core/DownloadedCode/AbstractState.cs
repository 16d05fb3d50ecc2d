// SPDX-License-Identifier: MIT
using System.Text;

namespace Exo.Core.DownloadedCode;

/// <summary>What the verifier knows of the whole machine at one point of the program: eleven registers and the stack.</summary>
internal sealed class AbstractState
{
    public const int RegisterCount = 11;

    private readonly AbstractValue[] registers = new AbstractValue[RegisterCount];

    public AbstractStack Stack { get; set; } = AbstractStack.Empty;

    public AbstractValue this[int register]
    {
        get => registers[register];
        set => registers[register] = value;
    }

    /// <summary>The state in which a program of this contract starts.</summary>
    public static AbstractState AtEntry(ProgramContract contract)
    {
        AbstractState state = new();
        Array.Fill(state.registers, AbstractValue.Uninitialised);
        state[10] = AbstractValue.Pointer(Interpreter.StackRegion, ScalarRange.Constant(ProgramContract.StackBytes));
        for (int i = 0; i < contract.Arguments.Length; i++)
        {
            ArgumentContract argument = contract.Arguments[i];
            state[i + 1] = argument.Kind switch
            {
                ArgumentKind.MemoryPointer => AbstractValue.Pointer(Interpreter.MemoryRegion, ScalarRange.Constant(0)),
                ArgumentKind.ContextPointer => AbstractValue.Pointer(Interpreter.ContextRegion, ScalarRange.Constant(0)),
                ArgumentKind.MemoryLength => Length(contract.Memory!),
                ArgumentKind.ContextLength => Length(contract.Context!),
                _ => AbstractValue.Scalar(ScalarRange.Unsigned(argument.Minimum, argument.Maximum)),
            };
        }

        return state;
    }

    private static AbstractValue Length(RegionContract region) =>
        AbstractValue.Scalar(ScalarRange.Unsigned((ulong)region.BytesMin, (ulong)region.BytesMax));

    public AbstractState Clone()
    {
        AbstractState copy = new() { Stack = Stack };
        registers.CopyTo(copy.registers, 0);
        return copy;
    }

    /// <summary>Widens this state so that it covers <paramref name="other"/> too; adds the pairs it compared to
    /// <paramref name="steps"/>.</summary>
    public void JoinWith(AbstractState other, ref long steps)
    {
        for (int i = 0; i < RegisterCount; i++)
        {
            registers[i] = AbstractValue.Join(registers[i], other.registers[i]);
        }

        steps += RegisterCount;
        Stack = AbstractStack.Join(Stack, other.Stack, ref steps);
    }

    /// <summary>The registers that hold something and the stack slots written, for a refusal. Bounded in length.</summary>
    public override string ToString()
    {
        const int slotsShown = 12;
        StringBuilder text = new();
        for (int i = 0; i < RegisterCount - 1; i++)
        {
            if (registers[i].Kind != AbstractKind.Uninitialised)
            {
                text.Append(text.Length == 0 ? "" : ", ").Append('r').Append(i).Append(" = ").Append(registers[i]);
            }
        }

        int written = 0;
        for (int slot = AbstractStack.SlotCount - 1; slot >= 0; slot--)
        {
            if (Stack[slot].Kind != AbstractKind.Uninitialised && written++ < slotsShown)
            {
                text.Append(text.Length == 0 ? "" : ", ").Append("[r10-").Append(ProgramContract.StackBytes - (slot * 8)).Append("] = ").Append(Stack[slot]);
            }
        }

        return text.Append(written > slotsShown ? $", and {written - slotsShown} more slots" : "").ToString();
    }
}
