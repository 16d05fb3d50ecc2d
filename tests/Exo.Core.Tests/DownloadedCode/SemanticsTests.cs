// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using CsCheck;
using Exo.Core.DownloadedCode;

namespace Exo.Core.Tests.DownloadedCode;

/// <summary>
/// Every instruction against C#'s own arithmetic: each row says in C# what RFC 9669 says in words. Both interpreters are held to it.
/// </summary>
public sealed class SemanticsTests
{
    private static readonly ProgramContract TwoNumbers = new(
        "two", [ArgumentContract.Scalar(), ArgumentContract.Scalar(), ArgumentContract.ContextPointer, ArgumentContract.MemoryPointer],
        RegionContract.Exactly(16, isWritable: true), RegionContract.Exactly(16));

    private static readonly Gen<ulong> Number = Gen.OneOf(
        Gen.ULong, Gen.ULong[0, 70], Gen.UInt.Select(x => (ulong)x), Gen.Int.Select(x => (ulong)x),
        Gen.Const(1UL << 63), Gen.Const(ulong.MaxValue), Gen.Const(0x8000_0000UL), Gen.Const(0xffff_ffffUL), Gen.Const(0UL));

    private static readonly Gen<int> Immediate = Gen.OneOf(Gen.Int, Gen.Int[-70, 70], Gen.Const(int.MinValue), Gen.Const(int.MaxValue));

    private static ExecutionResult Run(Program program, ulong a, ulong b, byte[] memory, byte[] context)
    {
        VerifiedProgram verified = Verifier.Verify(program, TwoNumbers).Require();
        NoHelpers helpers = default;
        byte[] other = [.. memory];
        ExecutionResult slow = CheckingInterpreter.Run(
            program, TwoNumbers, ProgramInput.Writable(other, context) with { R1 = a, R2 = b }, ref helpers, 100, a | 1);
        ExecutionResult fast = Interpreter.Run(
            verified, ProgramInput.Writable(memory, context) with { R1 = a, R2 = b }, verified.InstructionsMax);
        Assert.Equal(slow, fast);
        Assert.Equal(other, memory);
        Assert.Equal(ExecutionStatus.Completed, fast.Status);
        return fast;
    }

    private static ulong Answer(string text, ulong a, ulong b) => Run(Assembler.Assemble(text), a, b, new byte[16], new byte[16]).R0;

    private static readonly Dictionary<string, Func<ulong, ulong, ulong>> Arithmetic64 = new()
    {
        ["add"] = (a, b) => a + b,
        ["sub"] = (a, b) => a - b,
        ["mul"] = (a, b) => a * b,
        ["div"] = (a, b) => b == 0 ? 0 : a / b,
        ["mod"] = (a, b) => b == 0 ? a : a % b,
        ["sdiv"] = (a, b) => b == 0 ? 0 : (ulong)(Int128)((Int128)(long)a / (long)b),
        ["smod"] = (a, b) => b == 0 ? a : (ulong)(Int128)((Int128)(long)a % (long)b),
        ["or"] = (a, b) => a | b,
        ["and"] = (a, b) => a & b,
        ["xor"] = (a, b) => a ^ b,
        ["mov"] = (_, b) => b,
        ["lsh"] = (a, b) => a << (int)(b % 64),
        ["rsh"] = (a, b) => a >> (int)(b % 64),
        ["arsh"] = (a, b) => (ulong)((long)a >> (int)(b % 64)),
    };

    private static readonly Dictionary<string, Func<uint, uint, uint>> Arithmetic32 = new()
    {
        ["add32"] = (a, b) => a + b,
        ["sub32"] = (a, b) => a - b,
        ["mul32"] = (a, b) => a * b,
        ["div32"] = (a, b) => b == 0 ? 0 : a / b,
        ["mod32"] = (a, b) => b == 0 ? a : a % b,
        ["sdiv32"] = (a, b) => b == 0 ? 0 : (uint)((long)(int)a / (int)b),
        ["smod32"] = (a, b) => b == 0 ? a : (uint)((long)(int)a % (int)b),
        ["or32"] = (a, b) => a | b,
        ["and32"] = (a, b) => a & b,
        ["xor32"] = (a, b) => a ^ b,
        ["mov32"] = (_, b) => b,
        ["lsh32"] = (a, b) => a << (int)(b % 32),
        ["rsh32"] = (a, b) => a >> (int)(b % 32),
        ["arsh32"] = (a, b) => (uint)((int)a >> (int)(b % 32)),
    };

    private static readonly Dictionary<string, Func<ulong, ulong>> Unary = new()
    {
        ["neg r1"] = a => 0 - a,
        ["neg32 r1"] = a => (uint)(0 - (uint)a),
        ["movsx864 r1, r1"] = a => (ulong)(sbyte)(byte)a,
        ["movsx1664 r1, r1"] = a => (ulong)(short)(ushort)a,
        ["movsx3264 r1, r1"] = a => (ulong)(int)(uint)a,
        ["movsx832 r1, r1"] = a => (uint)(sbyte)(byte)a,
        ["movsx1632 r1, r1"] = a => (uint)(short)(ushort)a,
        ["le16 r1"] = a => a & 0xffff,
        ["le32 r1"] = a => a & 0xffff_ffff,
        ["le64 r1"] = a => a,
        ["be16 r1"] = a => BinaryPrimitives.ReverseEndianness((ushort)a),
        ["be32 r1"] = a => BinaryPrimitives.ReverseEndianness((uint)a),
        ["be64 r1"] = BinaryPrimitives.ReverseEndianness,
        ["swap16 r1"] = a => BinaryPrimitives.ReverseEndianness((ushort)a),
        ["swap32 r1"] = a => BinaryPrimitives.ReverseEndianness((uint)a),
        ["swap64 r1"] = BinaryPrimitives.ReverseEndianness,
    };

    private static readonly Dictionary<string, Func<ulong, ulong, bool>> Conditions = new()
    {
        ["jeq"] = (a, b) => a == b,
        ["jne"] = (a, b) => a != b,
        ["jgt"] = (a, b) => a > b,
        ["jge"] = (a, b) => a >= b,
        ["jlt"] = (a, b) => a < b,
        ["jle"] = (a, b) => a <= b,
        ["jsgt"] = (a, b) => (long)a > (long)b,
        ["jsge"] = (a, b) => (long)a >= (long)b,
        ["jslt"] = (a, b) => (long)a < (long)b,
        ["jsle"] = (a, b) => (long)a <= (long)b,
        ["jset"] = (a, b) => (a & b) != 0,
        ["jeq32"] = (a, b) => (uint)a == (uint)b,
        ["jne32"] = (a, b) => (uint)a != (uint)b,
        ["jgt32"] = (a, b) => (uint)a > (uint)b,
        ["jge32"] = (a, b) => (uint)a >= (uint)b,
        ["jlt32"] = (a, b) => (uint)a < (uint)b,
        ["jle32"] = (a, b) => (uint)a <= (uint)b,
        ["jsgt32"] = (a, b) => (int)a > (int)b,
        ["jsge32"] = (a, b) => (int)a >= (int)b,
        ["jslt32"] = (a, b) => (int)a < (int)b,
        ["jsle32"] = (a, b) => (int)a <= (int)b,
        ["jset32"] = (a, b) => (uint)(a & b) != 0,
    };

    public static TheoryData<string> Arithmetic64Names => [.. Arithmetic64.Keys];

    public static TheoryData<string> Arithmetic32Names => [.. Arithmetic32.Keys];

    public static TheoryData<string> UnaryNames => [.. Unary.Keys];

    public static TheoryData<string> ConditionNames => [.. Conditions.Keys];

    [Theory]
    [MemberData(nameof(Arithmetic64Names))]
    public void Arithmetic_of_64_bits(string name)
    {
        Func<ulong, ulong, ulong> expected = Arithmetic64[name];
        Gen.Select(Number, Number, Immediate).Sample(
            (a, b, immediate) =>
            {
                Assert.Equal(expected(a, b), Answer($"{name} r1, r2\nmov r0, r1\nexit", a, b));
                Assert.Equal(expected(a, (ulong)(long)immediate), Answer($"{name} r1, {immediate}\nmov r0, r1\nexit", a, b));
            },
            iter: 400);
    }

    [Theory]
    [MemberData(nameof(Arithmetic32Names))]
    public void Arithmetic_of_32_bits(string name)
    {
        Func<uint, uint, uint> expected = Arithmetic32[name];
        Gen.Select(Number, Number, Immediate).Sample(
            (a, b, immediate) =>
            {
                Assert.Equal(expected((uint)a, (uint)b), Answer($"{name} r1, r2\nmov r0, r1\nexit", a, b));
                Assert.Equal(expected((uint)a, (uint)immediate), Answer($"{name} r1, {immediate}\nmov r0, r1\nexit", a, b));
            },
            iter: 400);
    }

    [Theory]
    [MemberData(nameof(UnaryNames))]
    public void Sign_extension_byte_order_and_negation(string text) =>
        Number.Sample(a => Assert.Equal(Unary[text](a), Answer($"{text}\nmov r0, r1\nexit", a, 0)), iter: 400);

    [Theory]
    [MemberData(nameof(ConditionNames))]
    public void Conditional_jumps(string name)
    {
        Func<ulong, ulong, bool> expected = Conditions[name];
        Gen.Select(Number, Number, Immediate, Gen.Int[0, 3]).Sample(
            (a, b, immediate, how) =>
            {
                // Equal operands, and operands equal in the lower half only, are too rare by themselves.
                b = how switch { 0 => a, 1 => a ^ (b << 32), _ => b };
                Assert.Equal(expected(a, b) ? 1UL : 0, Answer($"mov r0, 1\n{name} r1, r2, +1\nmov r0, 0\nexit", a, b));
                Assert.Equal(
                    expected(a, (ulong)(long)immediate) ? 1UL : 0, Answer($"mov r0, 1\n{name} r1, {immediate}, +1\nmov r0, 0\nexit", a, b));
            },
            iter: 400);
    }

    [Fact]
    public void Loads_of_each_width_and_sign()
    {
        Gen.Select(Gen.Byte.Array[16], Gen.Int[0, 8]).Sample(
            (context, at) =>
            {
                ulong Load(string mnemonic) => Run(Assembler.Assemble($"{mnemonic} r0, [r3{at:+0}]\nexit"), 0, 0, new byte[16], context).R0;
                ReadOnlySpan<byte> bytes = context.AsSpan(at);
                Assert.Equal(bytes[0], Load("ldxb"));
                Assert.Equal(BinaryPrimitives.ReadUInt16LittleEndian(bytes), Load("ldxh"));
                Assert.Equal(BinaryPrimitives.ReadUInt32LittleEndian(bytes), Load("ldxw"));
                Assert.Equal(BinaryPrimitives.ReadUInt64LittleEndian(bytes), Load("ldxdw"));
                Assert.Equal((ulong)(sbyte)bytes[0], Load("ldxsb"));
                Assert.Equal((ulong)BinaryPrimitives.ReadInt16LittleEndian(bytes), Load("ldxsh"));
                Assert.Equal((ulong)BinaryPrimitives.ReadInt32LittleEndian(bytes), Load("ldxsw"));
            },
            iter: 500);
    }

    [Fact]
    public void Stores_of_each_width_from_register_and_immediate()
    {
        string[] widths = ["b", "h", "w", "dw"];
        Gen.Select(Number, Immediate, Gen.Int[0, 8], Gen.Int[0, 3]).Sample(
            (value, immediate, at, log) =>
            {
                byte[] expected = new byte[8];
                BinaryPrimitives.WriteUInt64LittleEndian(expected, value);
                byte[] memory = new byte[16];
                Run(Assembler.Assemble($"stx{widths[log]} [r4{at:+0}], r1\nmov r0, 0\nexit"), value, 0, memory, new byte[16]);
                Assert.Equal([.. new byte[at], .. expected[..(1 << log)], .. new byte[16 - at - (1 << log)]], memory);

                BinaryPrimitives.WriteInt64LittleEndian(expected, immediate);
                memory = new byte[16];
                Run(Assembler.Assemble($"st{widths[log]} [r4{at:+0}], {immediate}\nmov r0, 0\nexit"), value, 0, memory, new byte[16]);
                Assert.Equal([.. new byte[at], .. expected[..(1 << log)], .. new byte[16 - at - (1 << log)]], memory);

                // The stack keeps what is put there, too.
                string text = $"stdw [r10-16], 0\nstdw [r10-8], 0\nstx{widths[log]} [r10-{16 - at}], r1\nldx{widths[log]} r0, [r10-{16 - at}]\nexit";
                Assert.Equal(value & (ulong.MaxValue >> (64 - (8 << log))), Answer(text, value, 0));
            },
            iter: 1000);
    }

    [Fact]
    public void Wide_immediates_and_jumps() =>
        Number.Sample(
            value =>
            {
                Assert.Equal(value, Answer($"lddw r0, 0x{value:x}\nexit", 0, 0));
                Assert.Equal(value, Answer($"lddw r0, 0x{value:x}\nja32 +1\nmov r0, 0\nja +0\nexit", 0, 0));
            },
            iter: 200);
}
