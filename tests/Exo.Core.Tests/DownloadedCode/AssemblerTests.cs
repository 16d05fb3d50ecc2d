// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.DownloadedCode;
using Exo.Tests;

namespace Exo.Core.Tests.DownloadedCode;

/// <summary>Text to program and back.</summary>
public sealed class AssemblerTests
{
    /// <summary>Slots with fields near what instructions have, and some that are nothing at all.</summary>
    private static readonly Gen<Instruction> AnySlot = Gen.Select(
        Gen.Byte, Gen.Int[0, 11], Gen.Int[0, 11], Gen.OneOf(Gen.Const((short)0), Gen.Const((short)1), Gen.Const((short)8), Gen.Short),
        Gen.OneOf(Gen.Const(0), Gen.Const(16), Gen.Const(64), Gen.Int)).Select((opcode, destination, source, offset, immediate) =>
            new Instruction(opcode, destination, source, offset, immediate));

    [Fact]
    public void Any_sequence_of_slots_comes_back_from_its_disassembly()
    {
        AnySlot.Array[1, 40].Sample(
            slots =>
            {
                Program program = new(slots);
                string text = Disassembler.Disassemble(program);
                Assert.Equal(slots, Assembler.Assemble(text).Instructions.ToArray());
                Assert.Equal(slots, Assembler.Assemble(text.Replace("%", "", StringComparison.Ordinal)).Instructions.ToArray());
                Assert.Equal(slots, Program.Parse(program.ToBytes()).Instructions.ToArray());
            },
            iter: 10_000);
    }

    [Fact]
    public void Fuzz_programs_disassemble_without_raw_slots()
    {
        Gen.Int.Sample(
            seed =>
            {
                Program program = FuzzPrograms.Generate(new Random(seed));
                string text = Disassembler.Disassemble(program);
                Assert.DoesNotContain(".quad", text, StringComparison.Ordinal);
                Assert.Equal(program.ToBytes(), Assembler.Assemble(text).ToBytes());
            },
            iter: 1_000);
    }

    [Fact]
    public void Listing_of_every_form()
    {
        Program program = Assembler.Assemble("""
            start:  mov %r0, 1          # comments
                    mov32 r1, r2        ; of three
                    MOV64 r3, -1        // kinds
            one: two:
                    add r1, 0xffffffff
                    sub32 r1, r0
                    sdiv r1, -3
                    smod32 r1, r4
                    neg r5
                    neg32 r5
                    movsx864 r1, r2
                    movsx1632 r1, r2
                    le16 r1
                    be64 r1
                    swap32 r1
                    bswap16 r1
                    lddw r6, 0x123456789abcdef0
                    lddw r6, -1
                    ldxb r0, [r1]
                    ldxdw r0, [ %r1 + 0x10 ]
                    ldxsh r0, [r1-2]
                    stb [r10-1], 255
                    stxdw [r10-8], r9
                    jeq r1, 0, end
                    jsle32 r1, r2, +1
                    jset r1, 7, -2
                    ja start
                    ja32 end
                    call 7
                    call helper 8
                call runtime 9
                call local end
                lock add [r1+8], r2
                lock add32 [%r10-4], %r2
                lock fetch or [r1], r2
                lock fetch xor32 [r1], r2
                lock and [r1], r2
                lock xchg32 [r1], r2
                lock cmpxchg [r1], r2
                ja exit
                    .quad 0xffffffffffffffff
            end:    exit
            """);
        Snapshot.Verify(Disassembler.Listing(program));
    }

    [Theory]
    [InlineData("frob r1, 2", 1, 1, "no instruction 'frob'")]
    [InlineData("mov r0, 0\n  mov r11, 0", 2, 7, "registers are r0 to r10")]
    [InlineData("mov r0 0", 1, 8, "expected ','")]
    [InlineData("mov r0,", 1, 8, "the line ends")]
    [InlineData("mov r0, 0x1ffffffff", 1, 9, "32 bits")]
    [InlineData("mov r0, 5x", 1, 9, "not a number")]
    [InlineData("mov r0, 1 2", 1, 11, "expected the end of the line")]
    [InlineData("mov 5, 1", 1, 5, "expected a register")]
    [InlineData("ja nowhere\nexit", 1, 4, "no label 'nowhere'")]
    [InlineData("a: exit\na: exit", 2, 1, "already there")]
    [InlineData("ldxw r0, [r1+40000]", 1, 13, "not within")]
    [InlineData("ldxw r0, r1", 1, 10, "expected '['")]
    [InlineData("jeq r1, 2, +40000", 1, 12, "does not fit")]
    [InlineData("lddw r1, 0x10000000000000000", 1, 10, "64 bits")]
    [InlineData("\n# nothing", 1, 1, "no instruction")]
    [InlineData("lock nand [r1], r2", 1, 6, "no atomic operation")]
    [InlineData("lock fetch xchg [r1], r2", 1, 12, "no atomic operation")]
    [InlineData("mov7 r1, 1", 1, 1, "no instruction 'mov7'")]
    public void Errors_name_line_and_column(string text, int line, int column, string problem)
    {
        AssemblerException error = Assert.Throws<AssemblerException>(() => Assembler.Assemble(text));
        Assert.True((line, column) == (error.Line, error.Column), error.Message);
        Assert.Contains(problem, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Any_text_is_a_program_or_an_error_with_a_place()
    {
        string[] pieces = ["mov", " ", "r1", ",", "%", "[", "]", "+", "-", "5", "0x", "\n", ":", "exit", "ldxw", "stxb", "jeq", "l", "#", "//", "lddw", "call", "local", "ja", "é", ".quad"];
        int programs = 0;
        Gen.OneOf(Gen.String[0, 40], Gen.Int[0, pieces.Length - 1].Array[0, 12].Select(picks => string.Concat(picks.Select(i => pieces[i])))).Sample(
            text =>
            {
                try
                {
                    Assert.NotEqual(0, Assembler.Assemble(text).Instructions.Length);
                    Interlocked.Increment(ref programs);
                }
                catch (AssemblerException error)
                {
                    Assert.True(error.Line >= 1 && error.Column >= 1);
                }
            },
            iter: 50_000);
        Assert.NotEqual(0, programs);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(12)]
    [InlineData((Program.InstructionsLimit + 1) * 8)]
    public void Bytes_of_a_wrong_length_are_no_program(int lengthBytes)
    {
        Assert.False(Program.TryParse(new byte[lengthBytes], out Program? program));
        Assert.Null(program);
        Assert.Throws<FormatException>(() => Program.Parse(new byte[lengthBytes]));
    }

    [Fact]
    public void The_encoding_is_that_of_the_standard()
    {
        // RFC 9669, section 3.1: opcode, registers (source in the high nibble), offset, immediate, little-endian.
        byte[] bytes = Assembler.Assemble("add32 r1, r2\nldxdw r3, [r4-2]\nlddw r5, 0x1122334455667788\njsgt r6, -1, +258\nexit").ToBytes();
        Assert.Equal(
            "0C21000000000000" + "7943FEFF00000000" + "1805000088776655" + "0000000044332211" + "65060201FFFFFFFF" + "9500000000000000",
            Convert.ToHexString(bytes));
    }
}
