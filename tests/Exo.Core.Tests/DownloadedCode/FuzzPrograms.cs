// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;

namespace Exo.Core.Tests.DownloadedCode;

/// <summary>
/// Random programs that look like what people write - indices are masked or compared before use, values saved on the stack, forward
/// branches over a few instructions - with faults mixed in, so that the verifier says yes often and no for many reasons.
/// </summary>
internal static class FuzzPrograms
{
    public const int MemoryBytes = 64;
    public const int ContextBytesMin = 32;

    /// <summary>Everything a contract can have: both regions, one writable, lengths, bounded and free scalars, helpers.</summary>
    public static readonly ProgramContract Contract = new(
        "fuzz",
        [ArgumentContract.MemoryPointer, ArgumentContract.ContextLength, ArgumentContract.ContextPointer, ArgumentContract.Scalar(0, 100), ArgumentContract.Scalar()],
        RegionContract.Exactly(MemoryBytes, isWritable: true),
        RegionContract.AtLeast(ContextBytesMin),
        [new HelperContract(1, "mix", 3), new HelperContract(7, "count", 0)]);

    private static readonly string[] Arithmetic =
        ["add", "sub", "mul", "div", "or", "and", "lsh", "rsh", "mod", "xor", "mov", "arsh", "sdiv", "smod"];

    private static readonly string[] Conditions =
        ["jeq", "jgt", "jge", "jset", "jne", "jsgt", "jsge", "jlt", "jle", "jslt", "jsle"];

    private static readonly long[] Corners = [0, 1, -1, 2, 7, 8, 31, 32, 63, 64, 255, 0x7fff_ffff, -0x8000_0000L];

    private static readonly string[] Widths = ["b", "h", "w", "dw"];

    public static Program Generate(Random random)
    {
        int length = random.Next(4, 40);
        List<string> lines = [];
        List<(int Line, string Text)> branches = [];

        // r6 and r7 keep the pointers, r0, r8 and r9 start as numbers; now and then something is forgotten.
        foreach (string line in (string[])["mov r6, r1", "mov r7, r3", "mov r8, r4", "mov r9, r5", "mov r0, 0"])
        {
            if (random.Next(40) != 0)
            {
                lines.Add(line);
            }
        }

        while (lines.Count < length)
        {
            Emit(random, lines, branches);
        }

        lines.Add(random.Next(3) == 0 ? "mov r0, r8" : "add r0, r9");
        lines.Add("exit");
        foreach ((int line, string text) in branches)
        {
            // Nearly always forwards; a jump backwards makes a loop that may or may not be bounded.
            int target = random.Next(40) == 0 ? Math.Max(0, line - random.Next(6)) : Math.Min(lines.Count - 2, line + 1 + random.Next(1, 7));
            lines[line] = $"{text}l{target}";
        }

        int functions = random.Next(3) == 0 ? random.Next(1, 3) : 0;
        for (int function = 0; function < functions; function++)
        {
            EmitFunction(random, lines, function);
        }

        for (int i = 0; i < lines.Count; i++)
        {
            if (lines[i] == "call local ?")
            {
                lines[i] = functions == 0 ? "mov r0, r8" : $"call local f{random.Next(functions)}";
            }
        }

        return Assembler.Assemble(string.Join('\n', lines.Select((line, i) => $"l{i}: {line}")));
    }

    /// <summary>A function of the program: uses its arguments, its own stack, and sometimes a pointer it was given.</summary>
    private static void EmitFunction(Random random, List<string> lines, int number)
    {
        lines.Add($"f{number}: mov r6, r1");
        lines.Add("mov r0, r2");
        for (int i = random.Next(5); i >= 0; i--)
        {
            lines.Add(random.Next(8) switch
            {
                0 => "stxdw [r10-8], r0",
                1 => "add r0, r2",
                2 => "xor r0, r3",
                3 => $"ldx{Widths[random.Next(4)]} r0, [r6+{random.Next(56)}]",
                4 => $"stx{Widths[random.Next(4)]} [r6+{random.Next(56)}], r0",
                5 => number == 1 ? "call local f0" : "mul r0, 3",
                6 => $"lock fetch add [r6+{8 * random.Next(7)}], r0",
                _ => "ldxdw r0, [r10-8]",
            });
        }

        if (random.Next(10) > 0)
        {
            lines.Add("exit");
        }
    }

    private static string Scalar(Random random) => random.Next(30) == 0 ? $"r{random.Next(11)}" : random.Next(4) switch
    {
        0 => "r0",
        1 => "r8",
        2 => "r9",
        _ => random.Next(3) == 0 ? "r5" : "r9",
    };

    private static string Operand(Random random) => random.Next(3) switch
    {
        0 => Scalar(random),
        1 => Corners[random.Next(Corners.Length)].ToString(),
        _ => random.Next(-300, 300).ToString(),
    };

    private static void Emit(Random random, List<string> lines, List<(int, string)> branches)
    {
        string width = Widths[random.Next(4)];
        int widthBytes = 1 << Array.IndexOf(Widths, width);
        string narrow = random.Next(3) == 0 ? "32" : "";
        switch (random.Next(22))
        {
            case 0 or 1 or 2:
                lines.Add($"{Arithmetic[random.Next(Arithmetic.Length)]}{narrow} {Scalar(random)}, {Operand(random)}");
                break;
            case 3 or 4 or 5:
                branches.Add((lines.Count, $"{Conditions[random.Next(Conditions.Length)]}{narrow} {Scalar(random)}, {Operand(random)}, "));
                lines.Add("");
                break;
            case 6:
                lines.Add($"ldx{width} {Scalar(random)}, [{(random.Next(2) == 0 ? "r6" : "r7")}{random.Next(random.Next(20) == 0 ? 70 : 25):+0}]");
                break;
            case 7:
                lines.Add($"ldxs{(width == "dw" ? "w" : width)} {Scalar(random)}, [r6{random.Next(56):+0}]");
                break;
            case 8:
                lines.Add(random.Next(2) == 0 ? $"stx{width} [r6{random.Next(57):+0}], {Scalar(random)}" : $"st{width} [r6{random.Next(57):+0}], {random.Next()}");
                break;
            case 9:
            {
                // A value saved on the stack and loaded again, in whole or in part, perhaps with a branch in between.
                int slot = random.Next(1, 5) * 8;
                lines.Add($"stx{(random.Next(6) == 0 ? width : "dw")} [r10{-slot}], {(random.Next(8) == 0 ? "r6" : Scalar(random))}");
                if (random.Next(3) == 0)
                {
                    Emit(random, lines, branches);
                }

                lines.Add(random.Next(4) == 0 ? $"ldx{width} r9, [r10{-slot}]" : $"ldxdw {(random.Next(8) == 0 ? "r6" : "r9")}, [r10{-slot}]");
                break;
            }

            case 10:
            {
                // An index cut to size by a mask, a remainder, a shift or a comparison, sometimes one too large.
                string index = Scalar(random);
                int limit = MemoryBytes - widthBytes + (random.Next(8) == 0 ? 2 : 0);
                switch (random.Next(4))
                {
                    case 0:
                        lines.Add($"and{narrow} {index}, {(random.Next(4) == 0 ? limit | 7 : 31)}");
                        break;
                    case 1:
                        lines.Add($"mod{narrow} {index}, {limit + 1}");
                        break;
                    case 2:
                        lines.Add($"rsh {index}, {random.Next(57, 62)}");
                        break;
                    default:
                        branches.Add((lines.Count, $"{(random.Next(3) == 0 ? "jsgt" : "jgt")}{narrow} {index}, {limit}, "));
                        lines.Add("");
                        break;
                }

                lines.Add($"mov r1, r6");
                lines.Add($"add r1, {index}");
                lines.Add(random.Next(2) == 0 ? $"ldx{width} r0, [r1{random.Next(3) - 1:+0;-0}]" : $"stx{width} [r1+0], r9");
                break;
            }

            case 11:
            {
                // The same on the stack.
                lines.Add($"and r8, {(random.Next(3) == 0 ? 15 : 24)}");
                lines.Add("mov r2, r10");
                lines.Add(random.Next(4) == 0 ? "add r2, r8" : "sub r2, r8");
                lines.Add(random.Next(2) == 0 ? $"stx{width} [r2-{random.Next(8, 40)}], r9" : $"ldx{width} r0, [r2-{random.Next(8, 40)}]");
                break;
            }

            case 12:
                lines.Add($"mov r1, {Scalar(random)}");
                lines.Add("mov r2, 5");
                lines.Add($"mov r3, {Operand(random)}");
                lines.Add("call 1");
                break;
            case 13:
                lines.Add("call 7");
                break;
            case 20:
            {
                // A number compared through another one that lies at a distance from it, by 64 or by 32 bits.
                string index = Scalar(random);
                int distance = random.Next(-20, 21);
                lines.Add($"mov{narrow} r2, {index}");
                lines.Add($"{(random.Next(3) == 0 ? "sub" : "add")}{narrow} r2, {distance}");
                if (random.Next(3) == 0)
                {
                    lines.Add($"mov{(random.Next(2) == 0 ? "32" : "")} r3, r2");
                    lines.Add($"add r3, {random.Next(-5, 6)}");
                }

                branches.Add((lines.Count, $"{Conditions[random.Next(Conditions.Length)]}{(random.Next(3) == 0 ? "32" : "")} r2, {random.Next(0, 60)}, "));
                lines.Add("");
                lines.Add("mov r1, r6");
                lines.Add($"add r1, {(random.Next(4) == 0 ? "r2" : index)}");
                lines.Add($"ldx{width} r0, [r1{random.Next(-20, 21):+0;-0}]");
                break;
            }

            case 21:
            {
                // A pointer compared with the end through a copy further on.
                string index = Scalar(random);
                if (random.Next(4) > 0)
                {
                    lines.Add($"and {index}, {(random.Next(2) == 0 ? 127 : 63)}");
                }

                lines.Add("mov r1, r6");
                lines.Add($"add r1, {index}");
                lines.Add("mov r2, r1");
                lines.Add($"add r2, {(random.Next(6) == 0 ? random.Next(9) : widthBytes)}");
                lines.Add("mov r3, r6");
                lines.Add($"add r3, {(random.Next(8) == 0 ? 65 : 64)}");
                branches.Add((lines.Count, $"j{((string[])["gt", "ge", "lt", "le"])[random.Next(5) == 0 ? random.Next(4) : 0]} r2, r3, "));
                lines.Add("");
                lines.Add($"ldx{width} r0, [r1+0]");
                break;
            }

            case 16:
            {
                // A loop with a counter that goes up to a constant or a bounded number, sometimes one that does not.
                string limit = random.Next(3) switch { 0 => "r8", 1 => random.Next(1, 30).ToString(), _ => random.Next(4) == 0 ? "r9" : "12" };
                lines.Add("stdw [r10-48], 0");
                int start = lines.Count;
                Emit(random, lines, branches);
                lines.Add("ldxdw r4, [r10-48]");
                lines.Add($"add r4, {random.Next(1, 4)}");
                if (random.Next(20) > 0)
                {
                    lines.Add("stxdw [r10-48], r4");
                }

                lines.Add($"j{((string[])["lt", "slt", "le", "ne"])[random.Next(12) == 0 ? 3 : random.Next(3)]} r4, {limit}, l{start}");
                break;
            }

            case 17:
            {
                // A walk through memory by comparing pointers.
                lines.Add("mov r1, r6");
                lines.Add("mov r2, r6");
                lines.Add($"add r2, {8 * random.Next(1, 10)}");
                int start = lines.Count;
                lines.Add("ldxdw r0, [r1]");
                lines.Add(random.Next(2) == 0 ? "add r9, r0" : "xor r8, r0");
                lines.Add("add r1, 8");
                lines.Add($"j{(random.Next(3) == 0 ? "ne" : "lt")} r1, r2, l{start}");
                lines.Add("sub r1, r6");
                break;
            }

            case 18:
            {
                string operation = ((string[])["add", "or", "and", "xor", "fetch add", "fetch or", "fetch and", "fetch xor", "xchg", "cmpxchg"])[random.Next(10)];
                string address = random.Next(3) == 0 ? $"[r10-{8 * random.Next(1, 5)}]" : $"[r6+{(random.Next(4) == 0 ? random.Next(60) : 8 * random.Next(7))}]";
                lines.Add($"lock {operation}{narrow} {address}, {Scalar(random)}");
                break;
            }

            case 19:
                lines.Add(random.Next(8) == 0 ? "mov r1, r10" : "mov r1, r6");
                lines.Add($"mov r2, {Operand(random)}");
                lines.Add($"mov r3, {Scalar(random)}");
                lines.Add("call local ?");
                break;
            case 14:
                lines.Add(random.Next(3) switch
                {
                    0 => $"{(random.Next(2) == 0 ? "be" : random.Next(2) == 0 ? "swap" : "le")}{16 << random.Next(3)} {Scalar(random)}",
                    1 => $"{((string[])["movsx864", "movsx1664", "movsx3264", "movsx832", "movsx1632"])[random.Next(5)]} {Scalar(random)}, {Scalar(random)}",
                    _ => $"neg{narrow} {Scalar(random)}",
                });
                break;
            default:
                lines.Add($"lddw {Scalar(random)}, 0x{random.NextInt64():x}");
                break;
        }
    }

    /// <summary>Changes one field of one or two slots: what a careless or hostile author might send.</summary>
    public static Program Mutate(Program program, Random random)
    {
        Instruction[] slots = program.Instructions.ToArray();
        for (int i = random.Next(1, 3); i > 0; i--)
        {
            int at = random.Next(slots.Length);
            Instruction old = slots[at];
            bool isRegister = (old.Opcode & Opcodes.SourceRegister) != 0 || old.Class is Opcodes.ClassLoadRegister or Opcodes.ClassStoreRegister;
            slots[at] = random.Next(8) switch
            {
                0 => new Instruction((byte)random.Next(256), old.Destination, old.Source, old.Offset, old.Immediate),
                1 => new Instruction((byte)(old.Opcode ^ (1 << random.Next(8))), old.Destination, old.Source, old.Offset, old.Immediate),
                2 or 3 => new Instruction(old.Opcode, random.Next(11), old.Source, old.Offset, old.Immediate),
                4 when old.Offset != 0 => new Instruction(
                    old.Opcode, old.Destination, old.Source, (short)(old.Offset + random.Next(-8, 9)), old.Immediate),
                5 => slots[random.Next(slots.Length)],
                _ when isRegister => new Instruction(old.Opcode, old.Destination, random.Next(11), old.Offset, old.Immediate),
                _ => new Instruction(
                    old.Opcode, old.Destination, old.Source, old.Offset,
                    random.Next(2) == 0 ? old.Immediate + random.Next(-9, 10) : (int)Corners[random.Next(Corners.Length)]),
            };
        }

        return new Program(slots);
    }
}
