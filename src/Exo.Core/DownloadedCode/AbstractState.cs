// SPDX-License-Identifier: MIT
using System.Text;

namespace Exo.Core.DownloadedCode;

/// <summary>
/// What the verifier knows of the whole machine at one point of the program: eleven registers, the stack frame of the function that
/// runs and those of its callers, and how many instructions were executed at most to come here.
/// </summary>
internal sealed class AbstractState
{
    public const int RegisterCount = 11;

    private readonly AbstractValue[] registers = new AbstractValue[RegisterCount];

    private AbstractStack[] frames = [AbstractStack.Empty];

    /// <summary>Calls inside one another: 0 in the program itself.</summary>
    public int Depth => frames.Length - 1;

    /// <summary>The greatest number of instructions executed on any path that leads here.</summary>
    public int Executed { get; set; }

    /// <summary>The stack frame at one depth of calls.</summary>
    public AbstractStack Frame(int depth) => frames[depth];

    public void SetFrame(int depth, AbstractStack frame)
    {
        if (!ReferenceEquals(frames[depth], frame))
        {
            frames = (AbstractStack[])frames.Clone();
            frames[depth] = frame;
        }
    }

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
        state[10] = FramePointer(0);
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

    /// <summary>Forgets at which distance from one another registers lie.</summary>
    public void DropLinks()
    {
        for (int i = 0; i < RegisterCount; i++)
        {
            registers[i] = registers[i].WithLink(0, 0);
        }
    }

    private static AbstractValue FramePointer(int depth) =>
        AbstractValue.Pointer(AbstractValue.FrameRegion(depth), ScalarRange.Constant(ProgramContract.StackBytes));

    public AbstractState Clone()
    {
        AbstractState copy = new() { frames = frames, Executed = Executed };
        registers.CopyTo(copy.registers, 0);
        return copy;
    }

    /// <summary>The state in which a function called here begins: r1 to r5 are its arguments, its frame is empty.</summary>
    public AbstractState EnterCall()
    {
        AbstractState callee = new() { frames = [.. frames, AbstractStack.Empty], Executed = Executed };
        Array.Fill(callee.registers, AbstractValue.Uninitialised);
        Array.Copy(registers, 1, callee.registers, 1, 5);
        callee[10] = FramePointer(Depth + 1);
        return callee;
    }

    /// <summary>Goes on behind a call: r6 to r10 are as before, the frames and r0 as <paramref name="callee"/> left them.</summary>
    public void LeaveCall(AbstractState callee)
    {
        registers[0] = callee.registers[0];
        Array.Fill(registers, AbstractValue.Clobbered, 1, 5);
        frames = callee.frames[..^1];
        Executed = callee.Executed;
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
        Executed = Math.Max(Executed, other.Executed);
        if (ReferenceEquals(frames, other.frames))
        {
            return;
        }

        Invariant.Check(Depth == other.Depth);
        for (int depth = 0; depth < frames.Length; depth++)
        {
            SetFrame(depth, AbstractStack.Join(frames[depth], other.frames[depth], ref steps));
        }
    }

    /// <summary>True when everything that <paramref name="other"/> allows, this allows too, the count of instructions left aside.</summary>
    public bool Covers(AbstractState other, ref long steps)
    {
        Invariant.Check(Depth == other.Depth);
        steps += RegisterCount;
        for (int i = 0; i < RegisterCount; i++)
        {
            if (!AbstractValue.AreEqual(AbstractValue.Join(registers[i], other.registers[i]), registers[i]))
            {
                return false;
            }
        }

        for (int depth = 0; depth < frames.Length; depth++)
        {
            if (!ReferenceEquals(frames[depth], other.frames[depth]) && !frames[depth].Covers(other.frames[depth], ref steps))
            {
                return false;
            }
        }

        return true;
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

        AbstractStack own = frames[^1];
        int written = 0;
        for (int slot = AbstractStack.SlotCount - 1; slot >= 0; slot--)
        {
            if (own[slot].Kind != AbstractKind.Uninitialised && written++ < slotsShown)
            {
                text.Append(text.Length == 0 ? "" : ", ").Append("[r10-").Append(ProgramContract.StackBytes - (slot * 8)).Append("] = ").Append(own[slot]);
            }
        }

        return text.Append(written > slotsShown ? $", and {written - slotsShown} more slots" : "").ToString();
    }
}
