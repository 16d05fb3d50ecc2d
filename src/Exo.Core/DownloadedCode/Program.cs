// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;

namespace Exo.Core.DownloadedCode;

/// <summary>
/// A sequence of eBPF instructions: immutable, not yet judged. <see cref="Verifier.Verify"/> turns one into something that may run.
/// </summary>
public sealed class Program
{
    /// <summary>The longest program the machine accepts, in instruction slots.</summary>
    public const int InstructionsLimit = 65_536;

    private readonly Instruction[] instructions;

    /// <summary>Copies <paramref name="instructions"/> into a program.</summary>
    /// <exception cref="ArgumentException">There are none, or more than <see cref="InstructionsLimit"/>.</exception>
    public Program(ReadOnlySpan<Instruction> instructions)
    {
        if (instructions.IsEmpty || instructions.Length > InstructionsLimit)
        {
            throw new ArgumentException(
                $"A program has 1 to {InstructionsLimit} instructions, not {instructions.Length}.", nameof(instructions));
        }

        this.instructions = instructions.ToArray();
        StackBytes = ProgramContract.StackBytes;
        foreach (ref readonly Instruction instruction in instructions)
        {
            if (instruction.Opcode == (Opcodes.ClassJump | Opcodes.Call) && instruction.Source == 1)
            {
                StackBytes = ProgramContract.StackBytes * ProgramContract.CallDepthMax;
                break;
            }
        }
    }

    /// <summary>The instruction slots in order; <c>lddw</c> takes two.</summary>
    public ReadOnlyMemory<Instruction> Instructions => instructions;

    /// <summary>The same as <see cref="Instructions"/>, for code that walks it.</summary>
    internal ReadOnlySpan<Instruction> Slots => instructions;

    /// <summary>Stack of one run in bytes: a frame, or as many as calls can nest where a slot looks like a local call.</summary>
    internal int StackBytes { get; }

    /// <summary>Reads a program from its little-endian bytes, eight per slot.</summary>
    /// <exception cref="FormatException">The length is not a multiple of eight, zero, or over the limit.</exception>
    public static Program Parse(ReadOnlySpan<byte> bytes) =>
        TryParse(bytes, out Program? program)
            ? program
            : throw new FormatException(
                $"{bytes.Length} bytes are no program: a program is 1 to {InstructionsLimit} instructions of {Instruction.SizeBytes} bytes.");

    /// <summary>Reads a program from its little-endian bytes, eight per slot. Opcodes are not judged here.</summary>
    /// <returns>False when the length is not a multiple of eight, zero, or over the limit.</returns>
    public static bool TryParse(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out Program? program)
    {
        program = null;
        if (bytes.IsEmpty || bytes.Length % Instruction.SizeBytes != 0 || bytes.Length / Instruction.SizeBytes > InstructionsLimit)
        {
            return false;
        }

        Instruction[] slots = new Instruction[bytes.Length / Instruction.SizeBytes];
        for (int i = 0; i < slots.Length; i++)
        {
            ReadOnlySpan<byte> slot = bytes.Slice(i * Instruction.SizeBytes, Instruction.SizeBytes);
            slots[i] = new Instruction(
                slot[0], slot[1] & 15, slot[1] >> 4, BinaryPrimitives.ReadInt16LittleEndian(slot[2..]), BinaryPrimitives.ReadInt32LittleEndian(slot[4..]));
        }

        program = new Program(slots);
        return true;
    }

    /// <summary>The little-endian bytes, eight per slot; <see cref="Parse"/> reads them back.</summary>
    public byte[] ToBytes()
    {
        byte[] bytes = new byte[instructions.Length * Instruction.SizeBytes];
        for (int i = 0; i < instructions.Length; i++)
        {
            Span<byte> slot = bytes.AsSpan(i * Instruction.SizeBytes, Instruction.SizeBytes);
            slot[0] = instructions[i].Opcode;
            slot[1] = (byte)(instructions[i].Destination | (instructions[i].Source << 4));
            BinaryPrimitives.WriteInt16LittleEndian(slot[2..], instructions[i].Offset);
            BinaryPrimitives.WriteInt32LittleEndian(slot[4..], instructions[i].Immediate);
        }

        return bytes;
    }

    /// <summary>The listing, as <see cref="Disassembler.Disassemble"/> prints it.</summary>
    public override string ToString() => Disassembler.Disassemble(this);
}
