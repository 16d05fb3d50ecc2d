// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>A program under construction: instructions, and jumps forward to labels.</summary>
internal sealed class LabelledCode
{
    /// <summary>In programs of that many slots every conditional jump reaches every place.</summary>
    public const int SlotsMax = short.MaxValue;

    private readonly List<Instruction> _slots = [];
    private readonly List<int> _labels = [];
    private readonly List<(int Slot, int Label)> _jumps = [];

    public int Label()
    {
        _labels.Add(-1);
        return _labels.Count - 1;
    }

    public void Bind(int label) => _labels[label] = _slots.Count;

    public void Alu(byte operation, int destination, int immediate) =>
        Add(new Instruction((byte)(Opcodes.ClassAlu64 | operation), destination, immediate: immediate));

    public void AluRegister(byte operation, int destination, int source) =>
        Add(new Instruction((byte)(Opcodes.ClassAlu64 | Opcodes.SourceRegister | operation), destination, source));

    public void Wide(int destination, ulong value, int kind = 0)
    {
        Add(new Instruction(Opcodes.LoadImmediate64, destination, kind, 0, (int)(uint)value));
        Add(new Instruction(0, immediate: (int)(uint)(value >> 32)));
    }

    public void Move(int destination, ulong value)
    {
        if (value <= int.MaxValue)
        {
            Alu(Opcodes.Move, destination, (int)value);
        }
        else
        {
            Wide(destination, value);
        }
    }

    /// <summary>Loads a field of 1, 2, 4 or 8 bytes in network byte order.</summary>
    public void LoadBigEndian(int destination, int pointer, int offset, int widthBytes)
    {
        Load(destination, pointer, offset, widthBytes);
        Swap(destination, widthBytes);
    }

    /// <summary>Between the machine's byte order and the network's; what lies above the field becomes zero.</summary>
    public void Swap(int register, int widthBytes)
    {
        if (widthBytes > 1)
        {
            Add(new Instruction(Opcodes.ClassAlu32 | Opcodes.SourceRegister | Opcodes.ByteOrder, register, immediate: widthBytes * 8));
        }
    }

    public void Load(int destination, int pointer, int offset, int widthBytes) =>
        Add(new Instruction((byte)(Opcodes.ClassLoadRegister | Opcodes.ModeMemory | Size(widthBytes)), destination, pointer, (short)offset));

    public void Store(int pointer, int offset, int source, int widthBytes) =>
        Add(new Instruction((byte)(Opcodes.ClassStoreRegister | Opcodes.ModeMemory | Size(widthBytes)), pointer, source, (short)offset));

    public void StoreImmediate(int pointer, int offset, int value, int widthBytes) =>
        Add(new Instruction((byte)(Opcodes.ClassStore | Opcodes.ModeMemory | Size(widthBytes)), pointer, offset: (short)offset, immediate: value));

    /// <summary>If the double word is what r0 is, it becomes what the source is; r0 becomes what it was.</summary>
    public void CompareExchange(int pointer, int offset, int source) =>
        Add(new Instruction(Opcodes.ClassStoreRegister | Opcodes.ModeAtomic | Opcodes.SizeDouble, pointer, source, (short)offset, Opcodes.AtomicCompareExchange));

    /// <summary>The double word grows by what the source is; the source becomes what it was. A full fence, like every atomic operation that fetches.</summary>
    public void FetchAdd(int pointer, int offset, int source) =>
        Add(new Instruction(Opcodes.ClassStoreRegister | Opcodes.ModeAtomic | Opcodes.SizeDouble, pointer, source, (short)offset, Opcodes.Add | Opcodes.AtomicFetch));

    public void Jump(int label) => Jump(label, new Instruction(Opcodes.ClassJump | Opcodes.JumpAlways));

    public void JumpIf(byte comparison, int register, ulong value, int scratch, int label)
    {
        if (value <= int.MaxValue)
        {
            Jump(label, new Instruction((byte)(Opcodes.ClassJump | comparison), register, immediate: (int)value));
            return;
        }

        Wide(scratch, value);
        JumpIfRegister(comparison, register, scratch, label);
    }

    public void JumpIfRegister(byte comparison, int register, int other, int label) =>
        Jump(label, new Instruction((byte)(Opcodes.ClassJump | Opcodes.SourceRegister | comparison), register, other));

    public void Call(int helper) => Add(new Instruction(Opcodes.ClassJump | Opcodes.Call, immediate: helper));

    public void Exit() => Add(new Instruction(Opcodes.ClassJump | Opcodes.Exit));

    /// <summary>All of another program, which keeps its own jumps.</summary>
    public void Append(Program program)
    {
        foreach (Instruction instruction in program.Slots)
        {
            Add(instruction);
        }
    }

    /// <summary>The program; null when it is longer than <see cref="SlotsMax"/>.</summary>
    public Program? ToProgram()
    {
        if (_slots.Count > SlotsMax)
        {
            return null;
        }

        foreach ((int slot, int label) in _jumps)
        {
            Invariant.Check(_labels[label] > slot);
            Instruction jump = _slots[slot];
            _slots[slot] = new Instruction(jump.Opcode, jump.Destination, jump.Source, (short)(_labels[label] - slot - 1), jump.Immediate);
        }

        return new Program(_slots.ToArray());
    }

    private static byte Size(int widthBytes) => widthBytes switch
    {
        1 => Opcodes.SizeByte,
        2 => Opcodes.SizeHalf,
        4 => Opcodes.SizeWord,
        _ => Opcodes.SizeDouble,
    };

    private void Jump(int label, Instruction jump)
    {
        _jumps.Add((_slots.Count, label));
        Add(jump);
    }

    // What is beyond the limit is counted no further: the program is refused anyway.
    private void Add(Instruction instruction)
    {
        if (_slots.Count <= SlotsMax)
        {
            _slots.Add(instruction);
        }
    }
}
