// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Exo.Core.DownloadedCode;

/// <summary>
/// Turns text into programs. The syntax is that of the public eBPF tools (ubpf, bpf_conformance); one instruction per line:
/// <code>
///   # comments run from # or ; or // to the end of the line
///   start:                      labels end in a colon and may share the line with an instruction
///   mov %r0, 1                  also mov64, mov32; % may be left out; operations add sub mul div sdiv or and
///   add32 r0, r1                lsh rsh mod smod xor mov arsh, and neg with one operand
///   movsx864 %r0, %r1           sign-extending move from 8 bits to 64; movsx1664 movsx3264 movsx832 movsx1632
///   be16 %r0                    byte order: le16..le64, be16..be64, swap16..swap64
///   ldxdw %r1, [%r2+8]          loads ldxb ldxh ldxw ldxdw, sign-extending ldxsb ldxsh ldxsw
///   stxw [%r10-4], %r1          stores of registers stxb..stxdw, of immediates stb..stdw
///   lddw %r1, 0x123456789a      64-bit immediate, two slots
///   jeq %r1, 0, +3              distances in slots from the next one, or labels; jeq32 compares 32 bits
///   ja start                    ja32 has the wide distance; without a label exit, ja exit leads to the first exit
///   call 1                      helper by number, also call helper 1; call local start; call runtime 1 (by type identifier)
///   lock add [%r1+8], %r2       atomic add or and xor xchg cmpxchg, and add32 ...; lock fetch add for the old value
///   exit
///   .quad 0x95                  a slot given as its 64 bits
/// </code>
/// </summary>
public static class Assembler
{
    /// <summary>Assembles <paramref name="text"/>.</summary>
    /// <exception cref="AssemblerException">It is not a program; the exception has line and column.</exception>
    public static Program Assemble(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return new Assembly().Run(text);
    }

    private readonly record struct Fixup(int Slot, bool IsWide, string Label, int Line, int Column);

    private sealed class Assembly
    {
        private readonly List<Instruction> slots = [];
        private readonly Dictionary<string, int> labels = new(StringComparer.Ordinal);
        private readonly List<Fixup> fixups = [];

        public Program Run(string text)
        {
            int line = 0;
            foreach (ReadOnlySpan<char> content in text.AsSpan().EnumerateLines())
            {
                AssemblerLine cursor = new(content, ++line);
                Line(ref cursor);
                if (slots.Count > Program.InstructionsLimit)
                {
                    throw new AssemblerException(line, 1, $"the program is longer than {Program.InstructionsLimit} slots");
                }
            }

            if (slots.Count == 0)
            {
                throw new AssemblerException(1, 1, "there is no instruction");
            }

            foreach (Fixup fixup in fixups)
            {
                Resolve(fixup);
            }

            return new Program(slots.ToArray());
        }

        private int FirstExit() => slots.FindIndex(slot => slot.Opcode == (Opcodes.ClassJump | Opcodes.Exit));

        private void Resolve(in Fixup fixup)
        {
            if (!labels.TryGetValue(fixup.Label, out int target) && (fixup.Label != "exit" || (target = FirstExit()) < 0))
            {
                throw new AssemblerException(fixup.Line, fixup.Column, $"no label '{fixup.Label}'");
            }

            int distance = target - fixup.Slot - 1;
            Instruction old = slots[fixup.Slot];
            if (!fixup.IsWide && distance is < short.MinValue or > short.MaxValue)
            {
                throw new AssemblerException(fixup.Line, fixup.Column, $"'{fixup.Label}' is {distance} slots away, too far for this jump");
            }

            slots[fixup.Slot] = fixup.IsWide
                ? new Instruction(old.Opcode, old.Destination, old.Source, old.Offset, distance)
                : new Instruction(old.Opcode, old.Destination, old.Source, (short)distance, old.Immediate);
        }

        private void Line(ref AssemblerLine cursor)
        {
            while (!cursor.IsAtEnd)
            {
                int column = cursor.Column;
                string word = cursor.Word("an instruction or a label");
                if (cursor.TryTake(':'))
                {
                    if (!labels.TryAdd(word, slots.Count))
                    {
                        throw cursor.Error(column, $"the label '{word}' is already there");
                    }

                    continue;
                }

                Statement(word.ToLowerInvariant(), column, ref cursor);
                cursor.ExpectEnd();
            }
        }

        private void Statement(string mnemonic, int column, ref AssemblerLine cursor)
        {
            switch (mnemonic)
            {
                case "exit":
                    slots.Add(new Instruction(Opcodes.ClassJump | Opcodes.Exit));
                    return;
                case "lddw":
                {
                    int destination = cursor.Register();
                    cursor.Expect(',');
                    ulong value = cursor.Number64();
                    slots.Add(new Instruction(Opcodes.LoadImmediate64, destination, 0, 0, (int)(uint)value));
                    slots.Add(new Instruction(0, 0, 0, 0, (int)(uint)(value >> 32)));
                    return;
                }

                case ".quad":
                {
                    ulong bits = cursor.Number64();
                    slots.Add(new Instruction(
                        (byte)bits, (int)(bits >> 8) & 15, (int)(bits >> 12) & 15, (short)(bits >> 16), (int)(bits >> 32)));
                    return;
                }

                case "call":
                    Call(ref cursor);
                    return;
                case "ja" or "ja32":
                {
                    bool isWide = mnemonic == "ja32";
                    slots.Add(new Instruction((byte)((isWide ? Opcodes.ClassJump32 : Opcodes.ClassJump) | Opcodes.JumpAlways)));
                    Target(ref cursor, isWide);
                    return;
                }
            }

            if (mnemonic == "lock")
            {
                Atomic(ref cursor);
                return;
            }

            if (!TryByteOrder(mnemonic, ref cursor) && !TryMoveSigned(mnemonic, ref cursor) && !TryMemory(mnemonic, ref cursor)
                && !TryArithmetic(mnemonic, ref cursor) && !TryJump(mnemonic, ref cursor))
            {
                throw cursor.Error(column, $"no instruction '{mnemonic}'");
            }
        }

        private void Call(ref AssemblerLine cursor)
        {
            if (cursor.TryWord("local"))
            {
                slots.Add(new Instruction(Opcodes.ClassJump | Opcodes.Call, 0, 1));
                Target(ref cursor, true);
                return;
            }

            int source = cursor.TryWord("runtime") ? 2 : 0;
            _ = source == 0 && cursor.TryWord("helper");
            slots.Add(new Instruction(Opcodes.ClassJump | Opcodes.Call, 0, source, 0, cursor.Number32()));
        }

        /// <summary>Reads what follows <c>lock</c>: the operation with its width, where, and the register.</summary>
        private void Atomic(ref AssemblerLine cursor)
        {
            bool isFetch = cursor.TryWord("fetch");
            int column = cursor.Column;
            (string name, bool is32) = SplitWidth(cursor.Word("an atomic operation").ToLowerInvariant());
            int operation = Array.IndexOf(Disassembler.AtomicNames, name);
            if (operation < 0 || (isFetch && operation >= Disassembler.AtomicPlainCount))
            {
                throw cursor.Error(column, $"no atomic operation '{(isFetch ? "fetch " : "")}{name}'");
            }

            (int destination, short offset) = cursor.Address();
            cursor.Expect(',');
            byte opcode = (byte)(Opcodes.ClassStoreRegister | Opcodes.ModeAtomic | (is32 ? Opcodes.SizeWord : Opcodes.SizeDouble));
            slots.Add(new Instruction(
                opcode, destination, cursor.Register(), offset, Disassembler.AtomicCodes[operation] | (isFetch ? Opcodes.AtomicFetch : 0)));
        }

        /// <summary>Reads a distance or label and puts it into the last slot: into the immediate when wide, else into the offset.</summary>
        private void Target(ref AssemblerLine cursor, bool isWide)
        {
            int slot = slots.Count - 1;
            int column = cursor.Column;
            if (!cursor.IsAtSign)
            {
                fixups.Add(new Fixup(slot, isWide, cursor.Word("a label or a signed distance"), cursor.LineNumber, column));
                return;
            }

            long distance = cursor.Signed();
            Instruction old = slots[slot];
            if (isWide ? distance != (int)distance : distance != (short)distance)
            {
                throw cursor.Error(column, $"the distance {distance} does not fit");
            }

            slots[slot] = isWide
                ? new Instruction(old.Opcode, old.Destination, old.Source, old.Offset, (int)distance)
                : new Instruction(old.Opcode, old.Destination, old.Source, (short)distance, old.Immediate);
        }

        private bool TryByteOrder(string mnemonic, ref AssemblerLine cursor)
        {
            (string order, byte opcode) = mnemonic switch
            {
                _ when mnemonic.StartsWith("le", StringComparison.Ordinal) => ("le", (byte)(Opcodes.ClassAlu32 | Opcodes.ByteOrder)),
                _ when mnemonic.StartsWith("be", StringComparison.Ordinal) =>
                    ("be", (byte)(Opcodes.ClassAlu32 | Opcodes.ByteOrder | Opcodes.SourceRegister)),
                _ when mnemonic.StartsWith("swap", StringComparison.Ordinal) => ("swap", (byte)(Opcodes.ClassAlu64 | Opcodes.ByteOrder)),
                _ when mnemonic.StartsWith("bswap", StringComparison.Ordinal) => ("bswap", (byte)(Opcodes.ClassAlu64 | Opcodes.ByteOrder)),
                _ => ("", (byte)0),
            };
            int width = order.Length == 0 ? 0 : mnemonic[order.Length..] switch { "16" => 16, "32" => 32, "64" => 64, _ => 0 };
            if (width == 0)
            {
                return false;
            }

            slots.Add(new Instruction(opcode, cursor.Register(), 0, 0, width));
            return true;
        }

        private bool TryMoveSigned(string mnemonic, ref AssemblerLine cursor)
        {
            (byte opcodeClass, short width) = mnemonic switch
            {
                "movsx864" => (Opcodes.ClassAlu64, (short)8),
                "movsx1664" => (Opcodes.ClassAlu64, (short)16),
                "movsx3264" => (Opcodes.ClassAlu64, (short)32),
                "movsx832" => (Opcodes.ClassAlu32, (short)8),
                "movsx1632" => (Opcodes.ClassAlu32, (short)16),
                _ => ((byte)0, (short)0),
            };
            if (width == 0)
            {
                return false;
            }

            int destination = cursor.Register();
            cursor.Expect(',');
            slots.Add(new Instruction((byte)(opcodeClass | Opcodes.Move | Opcodes.SourceRegister), destination, cursor.Register(), width));
            return true;
        }

        private bool TryMemory(string mnemonic, ref AssemblerLine cursor)
        {
            (int prefix, byte opcode) = mnemonic switch
            {
                "ldxsb" or "ldxsh" or "ldxsw" => (4, (byte)(Opcodes.ClassLoadRegister | Opcodes.ModeMemorySigned)),
                "ldxbsx" or "ldxhsx" or "ldxwsx" => (3, (byte)(Opcodes.ClassLoadRegister | Opcodes.ModeMemorySigned)),
                "ldxb" or "ldxh" or "ldxw" or "ldxdw" => (3, (byte)(Opcodes.ClassLoadRegister | Opcodes.ModeMemory)),
                "stxb" or "stxh" or "stxw" or "stxdw" => (3, (byte)(Opcodes.ClassStoreRegister | Opcodes.ModeMemory)),
                "stb" or "sth" or "stw" or "stdw" => (2, (byte)(Opcodes.ClassStore | Opcodes.ModeMemory)),
                _ => (0, (byte)0),
            };
            if (prefix == 0)
            {
                return false;
            }

            opcode |= mnemonic[prefix] switch
            {
                'b' => Opcodes.SizeByte,
                'h' => Opcodes.SizeHalf,
                'w' => Opcodes.SizeWord,
                _ => Opcodes.SizeDouble,
            };
            int first;
            short offset;
            if ((opcode & Opcodes.ClassMask) == Opcodes.ClassLoadRegister)
            {
                int destination = cursor.Register();
                cursor.Expect(',');
                (first, offset) = cursor.Address();
                slots.Add(new Instruction(opcode, destination, first, offset));
                return true;
            }

            (first, offset) = cursor.Address();
            cursor.Expect(',');
            slots.Add(prefix == 3
                ? new Instruction(opcode, first, cursor.Register(), offset)
                : new Instruction(opcode, first, 0, offset, cursor.Number32()));
            return true;
        }

        /// <summary>Splits off the width: "add32" is add of 32 bits, "add64" and "add" are of 64.</summary>
        private static (string Name, bool Is32) SplitWidth(string mnemonic) =>
            mnemonic.EndsWith("32", StringComparison.Ordinal) ? (mnemonic[..^2], true)
            : mnemonic.EndsWith("64", StringComparison.Ordinal) ? (mnemonic[..^2], false)
            : (mnemonic, false);

        private bool TryArithmetic(string mnemonic, ref AssemblerLine cursor)
        {
            (string name, bool is32) = SplitWidth(mnemonic);
            short offset = 0;
            if (name is "sdiv" or "smod")
            {
                offset = 1;
                name = name[1..];
            }

            int operation = Array.IndexOf(Disassembler.ArithmeticNames, name);
            if (operation < 0)
            {
                return false;
            }

            byte opcode = (byte)((is32 ? Opcodes.ClassAlu32 : Opcodes.ClassAlu64) | (operation << 4));
            int destination = cursor.Register();
            if (name == "neg")
            {
                slots.Add(new Instruction(opcode, destination));
                return true;
            }

            cursor.Expect(',');
            slots.Add(cursor.TryRegister(out int source)
                ? new Instruction((byte)(opcode | Opcodes.SourceRegister), destination, source, offset)
                : new Instruction(opcode, destination, 0, offset, cursor.Number32()));
            return true;
        }

        private bool TryJump(string mnemonic, ref AssemblerLine cursor)
        {
            (string name, bool is32) = SplitWidth(mnemonic);
            int operation = Array.IndexOf(Disassembler.JumpNames, name);
            if (operation < 0 || name is "ja" or "call" or "exit")
            {
                return false;
            }

            byte opcode = (byte)((is32 ? Opcodes.ClassJump32 : Opcodes.ClassJump) | (operation << 4));
            int destination = cursor.Register();
            cursor.Expect(',');
            Instruction jump = cursor.TryRegister(out int source)
                ? new Instruction((byte)(opcode | Opcodes.SourceRegister), destination, source)
                : new Instruction(opcode, destination, 0, 0, cursor.Number32());
            cursor.Expect(',');
            slots.Add(jump);
            Target(ref cursor, false);
            return true;
        }
    }
}
