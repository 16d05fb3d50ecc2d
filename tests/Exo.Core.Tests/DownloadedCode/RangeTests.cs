// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.DownloadedCode;

namespace Exo.Core.Tests.DownloadedCode;

/// <summary>Each operation on ranges contains what the operation does to their members.</summary>
public sealed class RangeTests
{
    private static readonly ProgramContract TwoNumbers = new("two", [ArgumentContract.Scalar(), ArgumentContract.Scalar()]);

    private static readonly Gen<ulong> Number = Gen.OneOf(
        Gen.ULong, Gen.ULong[0, 300], Gen.UInt.Select(x => (ulong)x), Gen.Int.Select(x => (ulong)x), Gen.Int[0, 63].Select(x => 1UL << x),
        Gen.Int[0, 63].Select(x => (1UL << x) - 1), Gen.Int[0, 63].Select(x => 0 - (1UL << x)));

    /// <summary>A number and a range around it, from bounds of either reading and bits, alone and together.</summary>
    private static readonly Gen<(ulong Member, ScalarRange Range)> Member = Gen.Select(Number, Number, Number, Number, Gen.Int[0, 15]).Select((x, y, z, mask, how) =>
    {
        ScalarRange range = how == 0 ? ScalarRange.Constant(x) : ScalarRange.Unknown;
        bool isMade = true;
        if ((how & 1) != 0)
        {
            isMade &= range.TryMeet(ScalarRange.Unsigned(Math.Min(x, y), Math.Max(x, y)), out range);
        }

        if ((how & 2) != 0)
        {
            isMade &= range.TryMeet(ScalarRange.Signed(Math.Min((long)x, (long)z), Math.Max((long)x, (long)z)), out range);
        }

        if ((how & 4) != 0)
        {
            isMade &= range.TryMeet(ScalarRange.Make(
                0, ulong.MaxValue, long.MinValue, long.MaxValue, new KnownBits(x & ~mask, mask)), out range);
        }

        if ((how & 8) != 0)
        {
            isMade &= range.TryMeet(ScalarRange.Unsigned(x - Math.Min(x, y & 0xff), x + Math.Min(ulong.MaxValue - x, z & 0xff)), out range);
        }

        Assert.True(isMade);
        return (x, range);
    });

    /// <summary>The answer of the oracle for <c>r1 op r2</c>.</summary>
    private static ulong Concrete(string text, ulong a, ulong b)
    {
        NoHelpers helpers = default;
        ExecutionResult result = CheckingInterpreter.Run(
            Assembler.Assemble(text), TwoNumbers, new ProgramInput(default) { R1 = a, R2 = b }, ref helpers, 100);
        Assert.Equal(ExecutionStatus.Completed, result.Status);
        return result.R0;
    }

    [Fact]
    public void Ranges_contain_their_members_through_meet_join_and_narrowing()
    {
        Gen.Select(Member, Member).Sample(
            (a, b) =>
            {
                Assert.True(a.Range.Contains(a.Member));
                ScalarRange joined = a.Range.Join(b.Range);
                Assert.True(joined.Contains(a.Member) && joined.Contains(b.Member));
                Assert.Equal(a.Range, a.Range.Join(a.Range));
                foreach (int width in (int[])[8, 16, 32])
                {
                    int unused = 64 - width;
                    Assert.True(RangeArithmetic.Truncate(a.Range, width).Contains(a.Member << unused >> unused));
                    Assert.True(RangeArithmetic.SignExtend(a.Range, width).Contains((ulong)((long)(a.Member << unused) >> unused)));
                }
            },
            iter: 100_000);
    }

    public static TheoryData<string> ArithmeticNames =>
        ["add", "sub", "mul", "div", "or", "and", "lsh", "rsh", "neg", "mod", "xor", "mov", "arsh", "sdiv", "smod"];

    [Theory]
    [MemberData(nameof(ArithmeticNames))]
    public void Arithmetic_on_ranges_contains_arithmetic_on_members(string name)
    {
        Operation block = name switch
        {
            "sdiv" => Operation.SignedDivide64K,
            "smod" => Operation.SignedModulo64K,
            _ => (Operation)((int)Operation.Add64K + (4 * Array.IndexOf(Disassembler.ArithmeticNames, name))),
        };
        string operand = name == "neg" ? "" : ", r2";
        Program wide = Assembler.Assemble($"{name} r1{operand}\nmov r0, r1\nexit");
        Program narrow = Assembler.Assemble($"{name}32 r1{operand}\nmov r0, r1\nexit");
        Gen.Select(Member, Member, Gen.Bool).Sample(
            (a, b, is32) =>
            {
                NoHelpers helpers = default;
                ProgramInput input = new(default) { R1 = a.Member, R2 = b.Member };
                ulong result = CheckingInterpreter.Run(is32 ? narrow : wide, TwoNumbers, input, ref helpers, 100).R0;
                ScalarRange range = RangeArithmetic.Apply(block, is32, a.Range, b.Range);
                Assert.True(
                    range.Contains(result), $"{a.Member:x} {name} {b.Member:x} = {result:x} is not in {range}; {a.Range}; {b.Range}");
                if (a.Range.IsConstant && b.Range.IsConstant)
                {
                    Assert.True(range.IsConstant, $"{a.Member} {name} {b.Member}: constants give {range}");
                }
            },
            iter: 20_000);
    }

    public static TheoryData<string> ConditionNames =>
        ["jeq", "jgt", "jge", "jset", "jne", "jsgt", "jsge", "jlt", "jle", "jslt", "jsle"];

    [Theory]
    [MemberData(nameof(ConditionNames))]
    public void Both_branches_keep_the_members_that_take_them(string name)
    {
        int position = Array.IndexOf(Disassembler.JumpNames, name);
        Operation block = (Operation)((int)Operation.IfEqual64K + (4 * (position - (position > 9 ? 3 : 1))));
        Program wide = Assembler.Assemble($"mov r0, 1\n{name} r1, r2, +1\nmov r0, 0\nexit");
        Program narrow = Assembler.Assemble($"mov r0, 1\n{name}32 r1, r2, +1\nmov r0, 0\nexit");
        Gen.Select(Member, Member, Gen.Bool, Gen.Int[0, 5]).Sample(
            (a, b, is32, same) =>
            {
                b = same == 0 ? a : b;
                NoHelpers helpers = default;
                ProgramInput input = new(default) { R1 = a.Member, R2 = b.Member };
                bool outcome = CheckingInterpreter.Run(is32 ? narrow : wide, TwoNumbers, input, ref helpers, 100).R0 == 1;
                ScalarRange left = a.Range;
                ScalarRange right = b.Range;
                Assert.True(
                    RangeComparison.TryRefine(block, is32, outcome, ref left, ref right), $"{a} {name} {b}: the branch taken is called impossible");
                Assert.True(left.Contains(a.Member) && right.Contains(b.Member), $"{a} {name} {b}: {left}, {right}");
                if (a.Range.IsConstant && b.Range.IsConstant)
                {
                    (left, right) = (a.Range, b.Range);
                    Assert.False(
                        RangeComparison.TryRefine(block, is32, !outcome, ref left, ref right), $"{a} {name} {b}: the other branch is called possible");
                }
            },
            iter: 20_000);
    }

    [Fact]
    public void Byte_order_on_ranges_contains_byte_order_on_members()
    {
        Gen.Select(Member, Gen.Int[1, 3].Select(x => 8 << x)).Sample(
            (a, width) => Assert.True(
                RangeArithmetic.Swap(a.Range, width).Contains(Concrete($"swap{width} r1\nmov r0, r1\nexit", a.Member, 0))),
            iter: 5_000);
    }

    [Theory]
    [InlineData("jgt", 10, 0, 10)]
    [InlineData("jge", 10, 0, 9)]
    [InlineData("jne", 10, 10, 10)]
    [InlineData("jsgt", 10, long.MinValue, 10)]
    public void The_branch_not_taken_has_the_bounds_one_expects(string name, ulong limit, long least, long greatest)
    {
        int position = Array.IndexOf(Disassembler.JumpNames, name);
        Operation block = (Operation)((int)Operation.IfEqual64K + (4 * (position - 1)));
        ScalarRange range = ScalarRange.Unknown;
        ScalarRange bound = ScalarRange.Constant(limit);
        Assert.True(RangeComparison.TryRefine(block, false, false, ref range, ref bound));
        Assert.Equal((least, greatest), (range.SignedMinimum, range.SignedMaximum));
    }
}
