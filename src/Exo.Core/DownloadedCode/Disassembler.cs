// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;

namespace Exo.Core.DownloadedCode;

/// <summary>
/// Prints programs in the textual form that <see cref="Assembler"/> reads, the one of the public eBPF assemblers: every program
/// that the machine can run comes back unchanged. What is not an instruction is printed as <c>.quad</c>, the slot's 64 bits.
/// </summary>
public static class Disassembler
{
    internal static readonly string[] ArithmeticNames =
        ["add", "sub", "mul", "div", "or", "and", "lsh", "rsh", "neg", "mod", "xor", "mov", "arsh"];

    internal static readonly string[] JumpNames =
        ["ja", "jeq", "jgt", "jge", "jset", "jne", "jsgt", "jsge", "call", "exit", "jlt", "jle", "jslt", "jsle"];

    /// <summary>How many of <see cref="AtomicNames"/> come with and without fetching.</summary>
    internal const int AtomicPlainCount = 4;

    internal static readonly string[] AtomicNames = ["add", "or", "and", "xor", "xchg", "cmpxchg"];

    internal static readonly int[] AtomicCodes =
        [Opcodes.Add, Opcodes.Or, Opcodes.And, Opcodes.Xor, Opcodes.AtomicExchange, Opcodes.AtomicCompareExchange];

    /// <summary>The whole program, one instruction per line, without slot numbers: input for the assembler.</summary>
    public static string Disassemble(Program program) => Render(program, false);

    /// <summary>The whole program with the number of each slot before it: for people.</summary>
    public static string Listing(Program program) => Render(program, true);

    private static string Render(Program program, bool withNumbers)
    {
        ArgumentNullException.ThrowIfNull(program);
        StringBuilder text = new();
        for (int i = 0; i < program.Slots.Length; i++)
        {
            if (withNumbers)
            {
                text.Append(CultureInfo.InvariantCulture, $"{i,5}: ");
            }

            text.Append(FormatAt(program, i)).Append('\n');
            if (IsPlainWide(program, i))
            {
                i++;
            }
        }

        return text.ToString();
    }

    private static bool IsPlainWide(Program program, int index)
    {
        ReadOnlySpan<Instruction> slots = program.Slots;
        return slots[index] is { IsWide: true, Source: 0, Offset: 0, Destination: <= 10 } && index + 1 < slots.Length
            && slots[index + 1] is { Opcode: 0, Destination: 0, Source: 0, Offset: 0 };
    }

    internal static string FormatAt(Program program, int index) =>
        Format(program.Slots[index], IsPlainWide(program, index) ? program.Slots[index + 1] : default, IsPlainWide(program, index) ? index : -1);

    /// <summary>One slot as text; <paramref name="second"/> counts only when <paramref name="index"/> is not negative.</summary>
    internal static string Format(in Instruction instruction, in Instruction second, int index)
    {
        string? text = instruction.Destination > 10 ? null : instruction.Class switch
        {
            Opcodes.ClassAlu32 or Opcodes.ClassAlu64 => Arithmetic(instruction),
            Opcodes.ClassJump or Opcodes.ClassJump32 => Jump(instruction),
            Opcodes.ClassLoadRegister or Opcodes.ClassStore or Opcodes.ClassStoreRegister => Memory(instruction),
            _ when instruction.IsWide && index >= 0 =>
                $"lddw %r{instruction.Destination}, 0x{(uint)instruction.Immediate | ((ulong)(uint)second.Immediate << 32):x}",
            _ => null,
        };
        return text ?? Quad(instruction);
    }

    private static string Quad(in Instruction instruction)
    {
        ulong bits = instruction.Opcode | ((ulong)(uint)(instruction.Destination | (instruction.Source << 4)) << 8)
            | ((ulong)(ushort)instruction.Offset << 16) | ((ulong)(uint)instruction.Immediate << 32);
        return $".quad 0x{bits:x}";
    }

    private static string? Arithmetic(in Instruction instruction)
    {
        bool isRegister = (instruction.Opcode & Opcodes.SourceRegister) != 0;
        bool is32 = instruction.Class == Opcodes.ClassAlu32;
        int operation = instruction.Opcode & Opcodes.OperationMask;
        if (operation == Opcodes.ByteOrder)
        {
            bool isValid = instruction is { Source: 0, Offset: 0, Immediate: 16 or 32 or 64 } && (is32 || !isRegister);
            string order = !is32 ? "swap" : isRegister ? "be" : "le";
            return isValid ? $"{order}{instruction.Immediate} %r{instruction.Destination}" : null;
        }

        if (operation > Opcodes.ByteOrder || instruction.Source > 10 || (isRegister ? instruction.Immediate != 0 : instruction.Source != 0))
        {
            return null;
        }

        string name = ArithmeticNames[operation >> 4];
        switch (operation)
        {
            case Opcodes.Negate:
                return isRegister || instruction.Immediate != 0 || instruction.Offset != 0
                    ? null
                    : $"neg{(is32 ? "32" : "")} %r{instruction.Destination}";
            case Opcodes.Divide or Opcodes.Modulo when instruction.Offset == 1:
                name = "s" + name;
                break;
            case Opcodes.Move when instruction.Offset != 0:
                if (!isRegister || !(instruction.Offset is 8 or 16 || (instruction.Offset == 32 && !is32)))
                {
                    return null;
                }

                return $"movsx{instruction.Offset}{(is32 ? "32" : "64")} %r{instruction.Destination}, %r{instruction.Source}";
            default:
                if (instruction.Offset != 0)
                {
                    return null;
                }

                break;
        }

        return $"{name}{(is32 ? "32" : "")} %r{instruction.Destination}, {Operand(instruction, isRegister)}";
    }

    private static string Operand(in Instruction instruction, bool isRegister) =>
        isRegister ? $"%r{instruction.Source}" : instruction.Immediate.ToString(CultureInfo.InvariantCulture);

    private static string? Jump(in Instruction instruction)
    {
        bool isRegister = (instruction.Opcode & Opcodes.SourceRegister) != 0;
        bool is32 = instruction.Class == Opcodes.ClassJump32;
        int operation = instruction.Opcode & Opcodes.OperationMask;
        switch (operation)
        {
            case Opcodes.Exit:
                return instruction is { Opcode: Opcodes.ClassJump | Opcodes.Exit, Destination: 0, Source: 0, Offset: 0, Immediate: 0 } ? "exit" : null;
            case Opcodes.Call:
                if (is32 || isRegister || instruction.Destination != 0 || instruction.Offset != 0)
                {
                    return null;
                }

                return instruction.Source switch
                {
                    0 => $"call {instruction.Immediate}",
                    1 => $"call local {Distance(instruction.Immediate)}",
                    2 => $"call runtime {instruction.Immediate}",
                    _ => null,
                };
            case Opcodes.JumpAlways:
                if (isRegister || instruction.Destination != 0 || instruction.Source != 0 || (is32 ? instruction.Offset : instruction.Immediate) != 0)
                {
                    return null;
                }

                return is32 ? $"ja32 {Distance(instruction.Immediate)}" : $"ja {Distance(instruction.Offset)}";
            case > Opcodes.JumpSignedLessOrEqual:
                return null;
        }

        return instruction.Source > 10 || (isRegister ? instruction.Immediate != 0 : instruction.Source != 0)
            ? null
            : $"{JumpNames[operation >> 4]}{(is32 ? "32" : "")} %r{instruction.Destination}, {Operand(instruction, isRegister)}, {Distance(instruction.Offset)}";
    }

    private static string Distance(int slots) => slots.ToString("+0;-0;+0", CultureInfo.InvariantCulture);

    private static string? Memory(in Instruction instruction)
    {
        int mode = instruction.Opcode & Opcodes.ModeMask;
        string suffix = (instruction.Opcode & Opcodes.SizeMask) switch
        {
            Opcodes.SizeWord => "w",
            Opcodes.SizeHalf => "h",
            Opcodes.SizeByte => "b",
            _ => "dw",
        };
        if (instruction.Source > 10)
        {
            return null;
        }

        string offset = instruction.Offset == 0 ? "" : instruction.Offset.ToString("+0;-0", CultureInfo.InvariantCulture);
        switch (instruction.Class)
        {
            case Opcodes.ClassLoadRegister:
                bool isSigned = mode == Opcodes.ModeMemorySigned && suffix != "dw";
                return instruction.Immediate != 0 || !(mode == Opcodes.ModeMemory || isSigned)
                    ? null
                    : $"ldx{(isSigned ? "s" : "")}{suffix} %r{instruction.Destination}, [%r{instruction.Source}{offset}]";
            case Opcodes.ClassStore:
                return instruction.Source != 0 || mode != Opcodes.ModeMemory
                    ? null
                    : $"st{suffix} [%r{instruction.Destination}{offset}], {instruction.Immediate}";
            case Opcodes.ClassStoreRegister when mode == Opcodes.ModeAtomic:
                return Atomic(instruction, suffix, offset);
            default:
                return instruction.Immediate != 0 || mode != Opcodes.ModeMemory
                    ? null
                    : $"stx{suffix} [%r{instruction.Destination}{offset}], %r{instruction.Source}";
        }
    }
    private static string? Atomic(in Instruction instruction, string suffix, string offset)
    {
        int operation = Array.IndexOf(AtomicCodes, instruction.Immediate);
        string fetch = "";
        if (operation < 0)
        {
            fetch = "fetch ";
            operation = Array.IndexOf(AtomicCodes, instruction.Immediate & ~Opcodes.AtomicFetch, 0, AtomicPlainCount);
        }

        return operation < 0 || suffix is not ("w" or "dw")
            ? null
            : $"lock {fetch}{AtomicNames[operation]}{(suffix == "w" ? "32" : "")} [%r{instruction.Destination}{offset}], %r{instruction.Source}";
    }
}
