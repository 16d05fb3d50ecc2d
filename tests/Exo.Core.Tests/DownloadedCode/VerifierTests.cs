// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;
using Exo.Tests;

namespace Exo.Core.Tests.DownloadedCode;

/// <summary>The table of what is accepted and what is refused, each rule provoked, and the effort hostile programs can cause.</summary>
public sealed class VerifierTests(ITestOutputHelper output)
{
    /// <summary>r1 = 64 writable bytes, r2 = their length, r3 = at least 32 read-only bytes, r4 = 0..100, r5 = any number.</summary>
    private static readonly ProgramContract Contract = new(
        "table",
        [ArgumentContract.MemoryPointer, ArgumentContract.MemoryLength, ArgumentContract.ContextPointer, ArgumentContract.Scalar(0, 100), ArgumentContract.Scalar()],
        RegionContract.Exactly(64, isWritable: true),
        RegionContract.AtLeast(32),
        [new HelperContract(1, "emit", 3)]);

    private static VerifyResult Verify(string text) =>
        Verifier.Verify(Assembler.Assemble(text.Replace(" / ", "\n", StringComparison.Ordinal)), Contract);

    [Theory]
    [InlineData("mov r0, 0 / exit")]
    [InlineData("ldxdw r0, [r1+56] / exit")]
    [InlineData("ldxb r0, [r3+31] / exit")]
    [InlineData("stdw [r1+56], 7 / mov r0, 0 / exit")]
    [InlineData("mov r0, r2 / exit")]

    // Bounds: by comparison of either width and sign, by mask, by remainder, by shift, by the contract.
    [InlineData("mov r0, 0 / jgt r5, 56, +2 / add r1, r5 / ldxdw r0, [r1] / exit")]
    [InlineData("mov r0, 0 / ldxw r5, [r3] / jge32 r5, 57, +2 / add r1, r5 / ldxdw r0, [r1] / exit")]
    [InlineData("mov r0, 0 / jsgt r5, 56, +3 / jslt r5, 0, +2 / add r1, r5 / ldxdw r0, [r1] / exit")]
    [InlineData("and r5, 56 / add r1, r5 / ldxdw r0, [r1] / exit")]
    [InlineData("mod r5, 57 / add r1, r5 / ldxdw r0, [r1] / exit")]
    [InlineData("rsh r5, 59 / add r1, r5 / ldxdw r0, [r1+25] / exit")]
    [InlineData("div r4, 2 / add r1, r4 / ldxdw r0, [r1+6] / exit")]
    [InlineData("ldxb r5, [r1] / rsh r5, 3 / lsh r5, 1 / add r1, r5 / ldxh r0, [r1] / exit")]
    [InlineData("ldxsb r5, [r1] / jslt r5, 0, +3 / rsh r5, 1 / add r1, r5 / ldxb r5, [r1] / mov r0, r5 / exit")]
    [InlineData("mov r0, 0 / sub r2, 8 / jgt r5, r2, +2 / add r1, r5 / ldxdw r0, [r1] / exit")]
    [InlineData("add r1, 64 / and r5, 15 / sub r1, r5 / ldxb r0, [r1-1] / exit")]
    [InlineData("mov r0, 0 / jset r5, 0xffffffc0, +2 / add r1, r5 / ldxb r0, [r1] / exit")]

    // Branches that cannot be taken are not followed.
    [InlineData("mov r0, 0 / jgt r4, 100, bad / exit / bad: ldxb r0, [r9] / exit")]
    [InlineData("mov r0, 0 / jeq r2, 64, good / ldxb r0, [r1+99] / good: exit")]

    // Stack: whole, in parts, pointers saved and restored, ranged places.
    [InlineData("stxdw [r10-8], r1 / ldxdw r6, [r10-8] / ldxb r0, [r6+63] / exit")]
    [InlineData("stw [r10-8], 1 / stw [r10-4], 1 / ldxdw r0, [r10-8] / exit")]
    [InlineData("stdw [r10-512], 1 / ldxh r0, [r10-510] / exit")]
    [InlineData("stdw [r10-8], 1 / stdw [r10-16], 1 / and r4, 8 / mov r6, r10 / sub r6, r4 / ldxdw r0, [r6-8] / exit")]
    [InlineData("stdw [r10-12], 1 / ldxw r0, [r10-12] / exit")]
    [InlineData("stxdw [r10-8], r4 / ldxdw r4, [r10-8] / rsh r4, 1 / add r1, r4 / ldxb r0, [r1] / exit")]

    // Joins keep what holds on both paths.
    [InlineData("mov r0, 0 / jeq r5, 0, +1 / mov r0, 63 / add r1, r0 / ldxb r0, [r1] / exit")]
    [InlineData("mov r6, r1 / jeq r5, 0, +1 / add r6, 8 / ldxb r0, [r6+55] / exit")]
    [InlineData("mov r1, 1 / mov r2, 2 / mov r3, 3 / call 1 / exit")]
    [InlineData("mov r6, r1 / mov r1, 1 / mov r2, 2 / mov r3, 3 / call 1 / ldxb r0, [r6] / exit")]
    [InlineData("mov r0, 0 / ja32 +1 / mov r0, r9 / exit")]
    [InlineData("lddw r0, 0xffffffffffffffff / exit")]
    [InlineData("mov r0, 0 / add r0, 1 / jlt r0, 100, -2 / exit")]
    [InlineData("mov r0, 0 / ldxb r6, [r1] / add r6, -1 / add r0, 1 / jsgt r6, 0, -3 / exit")]
    [InlineData("mov r0, 0 / ldxdw r6, [r1] / jeq r6, 0, +3 / rsh r6, 1 / add r0, 1 / jne r6, 0, -3 / exit")]
    [InlineData("mov r0, 0 / mov r6, r1 / add r6, 64 / ldxb r7, [r1] / add r0, r7 / add r1, 1 / jne r1, r6, -4 / exit")]
    [InlineData("mov r0, r1 / add r0, r5 / sub r0, r1 / exit")]
    [InlineData("mov r0, 1 / jne r1, 0, +1 / ldxb r0, [r10-600] / exit")]
    [InlineData("mov r1, r10 / call local +2 / ldxdw r0, [r10-8] / exit / stdw [r1-8], 5 / exit")]
    [InlineData("mov r6, 5 / call local +2 / mov r0, r6 / exit / mov r6, 1 / exit")]
    [InlineData("mov r6, r1 / call local +2 / ldxb r0, [r0] / exit / mov r0, r1 / exit")]
    [InlineData("mov r6, 1 / lock fetch xor [r1+8], r6 / mov r0, r6 / exit")]
    [InlineData("mov r0, 1 / lock cmpxchg32 [r1+8], r0 / exit")]
    [InlineData("mov r0, 0 / mov r2, r4 / add r2, 8 / jgt r2, 64, +2 / add r1, r4 / ldxdw r0, [r1] / exit")]
    [InlineData("mov r0, 0 / mov r6, 100 / jeq r5, 0, +1 / mov r6, 0 / jeq r5, 0, +2 / add r1, r6 / ldxb r0, [r1] / exit")]
    [InlineData("mov r0, 0 / jeq r5, 0, +1 / stdw [r10-8], 1 / jeq r5, 0, +1 / ldxdw r0, [r10-8] / exit")]
    [InlineData("mov r6, 0 / mov r7, 64 / mov r8, r6 / add r8, r7 / rsh r8, 1 / jge r6, r7, +7 / mov r9, r1 / add r9, r8 / ldxb r9, [r9] / jgt r9, 7, +2 / mov r6, r8 / ja +1 / mov r7, r8 / ja +0 / mov r0, r6 / exit")]
    [InlineData("mov r0, 0 / mov32 r2, r4 / add32 r2, 8 / jgt32 r2, 64, +2 / add r1, r4 / ldxdw r0, [r1] / exit")]
    [InlineData("mov r0, 0 / mov r6, r1 / add r6, r4 / mov r2, r6 / add r2, 8 / add r1, 64 / jgt r2, r1, +1 / ldxdw r0, [r6] / exit")]
    [InlineData("mov r0, 0 / mov r6, r1 / add r6, r4 / add r4, 4 / jgt r4, 64, +1 / ldxw r0, [r6] / exit")]
    public void Accepts(string text)
    {
        VerifyResult result = Verify(text);
        Assert.True(result.IsAccepted, result.Rejection?.ToString());
    }

    [Theory]
    [InlineData(VerifierRule.UnknownInstruction, 0, ".quad 0xff / exit")]
    [InlineData(VerifierRule.UnknownInstruction, 1, "mov r0, 0 / .quad 0x100000095")]
    [InlineData(VerifierRule.UnknownInstruction, 0, ".quad 0x0000000100000018 / exit")]
    [InlineData(VerifierRule.UnknownInstruction, 0, ".quad 0x1118 / .quad 0 / exit")]
    [InlineData(VerifierRule.UnknownInstruction, 1, "mov r0, 0 / .quad 0x18")]
    [InlineData(VerifierRule.UnknownInstruction, 0, ".quad 0x20 / exit")]
    [InlineData(VerifierRule.UnknownInstruction, 0, ".quad 0x11000000d4 / exit")]
    [InlineData(VerifierRule.NoSuchRegister, 0, ".quad 0x0bb7 / exit")]
    [InlineData(VerifierRule.NoSuchRegister, 0, ".quad 0xb0bf / exit")]
    [InlineData(VerifierRule.FramePointerIsReadOnly, 0, "add r10, 8 / mov r0, 0 / exit")]
    [InlineData(VerifierRule.FramePointerIsReadOnly, 0, "ldxdw r10, [r1] / mov r0, 0 / exit")]
    [InlineData(VerifierRule.FramePointerIsReadOnly, 0, "lddw r10, 1 / exit")]
    [InlineData(VerifierRule.JumpOutOfProgram, 0, "ja +2 / mov r0, 0 / exit")]
    [InlineData(VerifierRule.JumpOutOfProgram, 0, "ja -2 / mov r0, 0 / exit")]
    [InlineData(VerifierRule.JumpIntoWideInstruction, 0, "jeq r5, 0, +1 / lddw r0, 1 / exit")]
    [InlineData(VerifierRule.UnboundedLoop, 0, "ja -1 / exit")]
    [InlineData(VerifierRule.UnboundedLoop, 0, "jeq r5, 0, -1 / mov r0, 0 / exit")]
    [InlineData(VerifierRule.UnboundedLoop, 1, "mov r0, 0 / ldxb r6, [r1] / add r0, r6 / jlt r0, 255, -3 / exit")]
    [InlineData(VerifierRule.TooMuchWork, 2, "mov r0, 0 / add r0, 1 / jlt r0, 1000000, -2 / exit")]
    [InlineData(VerifierRule.CallDepth, 1, "mov r0, 0 / call local -2 / exit")]
    [InlineData(VerifierRule.CallDepth, 3, "call local +1 / exit / mov r0, 0 / call local -2 / exit")]
    [InlineData(VerifierRule.MissingExit, 2, "call local +2 / exit / mov r0, 0 / mov r0, 1 / exit")]
    [InlineData(VerifierRule.JumpOutOfFunction, 3, "call local +1 / exit / mov r0, 0 / jeq r1, 0, -3 / exit")]
    [InlineData(VerifierRule.JumpOutOfProgram, 0, "call local +9 / exit")]
    [InlineData(VerifierRule.JumpIntoWideInstruction, 0, "call local +2 / exit / lddw r0, 1 / exit")]
    [InlineData(VerifierRule.UninitialisedRegister, 4, "mov r6, 1 / call local +2 / mov r0, 0 / exit / mov r0, r6 / exit")]
    [InlineData(VerifierRule.UninitialisedRegister, 1, "call local +2 / add r0, r1 / exit / mov r0, 0 / exit")]
    [InlineData(VerifierRule.UninitialisedRegister, 1, "call local +1 / exit / exit")]
    [InlineData(VerifierRule.UninitialisedStack, 3, "stdw [r10-8], 1 / call local +1 / exit / ldxdw r0, [r10-8] / exit")]
    [InlineData(VerifierRule.OutOfBounds, 4, "mov r1, r10 / stdw [r10-8], 1 / call local +1 / exit / ldxdw r0, [r1] / exit")]
    [InlineData(VerifierRule.PointerLeak, 3, "call local +1 / exit / mov r0, r10 / exit")]
    [InlineData(VerifierRule.PointerLeak, 3, "mov r1, r10 / call local +1 / exit / stxdw [r1-8], r10 / mov r0, 0 / exit")]
    [InlineData(VerifierRule.PointerLeak, 2, "stdw [r10-8], 1 / mov r6, r1 / lock xchg [r10-8], r6 / mov r0, 0 / exit")]
    [InlineData(VerifierRule.UninitialisedStack, 1, "mov r6, 1 / lock add [r10-8], r6 / mov r0, 0 / exit")]
    [InlineData(VerifierRule.UninitialisedStack, 2, "stxdw [r10-8], r1 / mov r6, 1 / lock add [r10-8], r6 / mov r0, 0 / exit")]
    [InlineData(VerifierRule.ReadOnlyRegion, 1, "mov r6, 1 / lock add [r3], r6 / mov r0, 0 / exit")]
    [InlineData(VerifierRule.OutOfBounds, 1, "mov r6, 1 / lock add32 [r1+61], r6 / mov r0, 0 / exit")]
    [InlineData(VerifierRule.FramePointerIsReadOnly, 0, "lock fetch add [r1], r10 / mov r0, 0 / exit")]
    [InlineData(VerifierRule.UnknownInstruction, 0, ".quad 0x1000006100db / mov r0, 0 / exit")]
    [InlineData(VerifierRule.MissingExit, 1, "mov r0, 0 / mov r0, 1")]
    [InlineData(VerifierRule.MissingExit, 0, "lddw r0, 1")]
    [InlineData(VerifierRule.UnknownHelper, 0, "call 2 / exit")]
    [InlineData(VerifierRule.UninitialisedRegister, 0, "exit")]
    [InlineData(VerifierRule.UninitialisedRegister, 0, "mov r0, r9 / exit")]
    [InlineData(VerifierRule.UninitialisedRegister, 0, "add r0, 1 / exit")]
    [InlineData(VerifierRule.UninitialisedRegister, 2, "jeq r5, 0, +1 / mov r0, 1 / exit")]
    [InlineData(VerifierRule.UninitialisedRegister, 4, "mov r1, 0 / mov r2, 0 / mov r3, 0 / call 1 / mov r0, r4 / exit")]
    [InlineData(VerifierRule.UninitialisedRegister, 3, "mov r6, 1 / jeq r5, 0, +1 / mov r6, r1 / mov r0, r6 / exit")]
    [InlineData(VerifierRule.UninitialisedStack, 0, "ldxb r0, [r10-1] / exit")]
    [InlineData(VerifierRule.UninitialisedStack, 1, "stw [r10-8], 1 / ldxdw r0, [r10-8] / exit")]
    [InlineData(VerifierRule.UninitialisedStack, 2, "jeq r5, 0, +1 / stdw [r10-8], 1 / ldxdw r0, [r10-8] / exit")]
    [InlineData(VerifierRule.UninitialisedStack, 1, "stxdw [r10-8], r1 / ldxw r0, [r10-8] / exit")]
    [InlineData(VerifierRule.UninitialisedStack, 2, "stxdw [r10-8], r1 / stb [r10-8], 1 / ldxdw r0, [r10-8] / exit")]
    [InlineData(VerifierRule.UninitialisedStack, 4, "stdw [r10-8], 1 / and r4, 8 / mov r6, r10 / sub r6, r4 / ldxdw r0, [r6-8] / exit")]
    [InlineData(VerifierRule.UninitialisedStack, 4, "and r4, 8 / mov r6, r10 / sub r6, r4 / stdw [r6-8], 1 / ldxdw r0, [r10-8] / exit")]
    [InlineData(VerifierRule.OutOfBounds, 0, "ldxdw r0, [r1+57] / exit")]
    [InlineData(VerifierRule.OutOfBounds, 0, "ldxb r0, [r1-1] / exit")]
    [InlineData(VerifierRule.OutOfBounds, 0, "ldxb r0, [r3+32] / exit")]
    [InlineData(VerifierRule.OutOfBounds, 0, "stb [r10+0], 1 / exit")]
    [InlineData(VerifierRule.OutOfBounds, 0, "stdw [r10-513], 1 / exit")]
    [InlineData(VerifierRule.OutOfBounds, 1, "add r1, r5 / ldxb r0, [r1] / exit")]
    [InlineData(VerifierRule.OutOfBounds, 3, "mov r0, 0 / jgt r5, 57, +2 / add r1, r5 / ldxdw r0, [r1] / exit")]
    [InlineData(VerifierRule.OutOfBounds, 3, "mov r0, 0 / jsgt r5, 56, +2 / add r1, r5 / ldxdw r0, [r1] / exit")]
    [InlineData(VerifierRule.OutOfBounds, 3, "mov r0, 0 / jgt32 r5, 56, +2 / add r1, r5 / ldxdw r0, [r1] / exit")]
    [InlineData(VerifierRule.OutOfBounds, 3, "lddw r6, 0x100000000 / add r1, r6 / ldxb r0, [r1] / exit")]
    [InlineData(VerifierRule.OutOfBounds, 5, "mov r0, 0 / mov r2, r4 / add r2, 7 / jgt r2, 64, +2 / add r1, r4 / ldxdw r0, [r1] / exit")]
    [InlineData(VerifierRule.OutOfBounds, 5, "mov r0, 0 / mov r2, r5 / add r2, 8 / jgt r2, 64, +2 / add r1, r5 / ldxdw r0, [r1] / exit")]
    [InlineData(VerifierRule.NotAPointer, 0, "ldxb r0, [r5] / exit")]
    [InlineData(VerifierRule.NotAPointer, 2, "lddw r6, 0x200000000 / ldxb r0, [r6] / exit")]
    [InlineData(VerifierRule.ReadOnlyRegion, 0, "stb [r3], 1 / exit")]
    [InlineData(VerifierRule.PointerArithmetic, 0, "mul r1, 2 / exit")]
    [InlineData(VerifierRule.PointerArithmetic, 0, "add32 r1, 1 / exit")]
    [InlineData(VerifierRule.PointerArithmetic, 0, "mov32 r6, r1 / exit")]
    [InlineData(VerifierRule.PointerArithmetic, 0, "add r1, r3 / exit")]
    [InlineData(VerifierRule.PointerArithmetic, 0, "sub r1, r3 / exit")]
    [InlineData(VerifierRule.PointerArithmetic, 0, "sub r5, r1 / exit")]
    [InlineData(VerifierRule.PointerArithmetic, 0, "neg r1 / exit")]
    [InlineData(VerifierRule.PointerArithmetic, 0, "xor r1, r1 / exit")]
    [InlineData(VerifierRule.PointerArithmetic, 0, "be64 r1 / exit")]
    [InlineData(VerifierRule.PointerArithmetic, 0, "movsx3264 r0, r1 / exit")]
    [InlineData(VerifierRule.PointerComparison, 0, "jeq r1, 1, +0 / exit")]
    [InlineData(VerifierRule.PointerComparison, 0, "jgt r1, 0, +0 / exit")]
    [InlineData(VerifierRule.PointerComparison, 0, "jeq r1, r3, +0 / exit")]
    [InlineData(VerifierRule.PointerComparison, 0, "jsgt r1, r1, +0 / exit")]
    [InlineData(VerifierRule.PointerComparison, 1, "sub r1, 8 / jgt r1, r1, +0 / exit")]
    [InlineData(VerifierRule.PointerComparison, 0, "jgt r5, r1, +0 / exit")]
    [InlineData(VerifierRule.PointerComparison, 0, "jset32 r10, r10, +0 / exit")]
    [InlineData(VerifierRule.PointerLeak, 1, "mov r0, r1 / exit")]
    [InlineData(VerifierRule.PointerLeak, 0, "stxdw [r1], r1 / exit")]
    [InlineData(VerifierRule.PointerLeak, 0, "stxw [r10-8], r1 / exit")]
    [InlineData(VerifierRule.PointerLeak, 0, "stxdw [r10-12], r1 / exit")]
    [InlineData(VerifierRule.PointerLeak, 2, "mov r3, 0 / mov r2, 0 / call 1 / exit")]
    public void Refuses(VerifierRule rule, int instruction, string text)
    {
        VerifyResult result = Verify(text);
        Assert.False(result.IsAccepted);
        Assert.True((rule, instruction) == (result.Rejection.Rule, result.Rejection.Instruction), result.Rejection.ToString());
        Assert.NotEmpty(result.Rejection.Reason);
        Assert.NotEmpty(result.Rejection.Disassembly);
        Assert.Null(result.Program);
        Assert.Same(result.Rejection, Assert.Throws<ProgramRejectedException>(() => result.Require()).Rejection);
    }

    [Fact]
    public void Refusals_read_like_this()
    {
        string[] programs =
        [
            "mov r0, 0 / jgt r5, 60, +2 / add r1, r5 / ldxdw r0, [r1+1] / exit",
            "stxdw [r10-8], r1 / stw [r10-16], 1 / jeq r4, 0, +1 / mov r0, 1 / exit",
            "mov r0, 0 / ldxh r6, [r3+40] / exit",
            "mov r6, r10 / and r5, 24 / sub r6, r5 / stxb [r6], r5 / exit",
            "mov r1, 1 / call 9 / exit",
            "lsh r5, 4 / jslt r5, 0, +0 / jeq r1, r5, -2 / exit",
            "mov r0, 0 / ldxb r6, [r1] / add r0, r6 / jlt r0, 255, -3 / exit",
            "mov r0, 0 / mov r6, 0 / add r6, 1 / jlt r6, 1000000, -2 / exit",
            "stdw [r10-8], 7 / mov r1, r10 / call local +1 / exit / ldxdw r0, [r1-8] / stxb [r10-1], r0 / ldxh r0, [r10-2] / exit",
            "mov r0, 0 / jeq r5, 0, +1 / call local -3 / exit",
            "or r5, 1 / arsh r4, 1 / stxdw [r3], r4 / exit",
        ];
        Snapshot.Verify(string.Join("\n", programs.Select(text => $"{text}\n{Verify(text).Rejection}\n")));
    }

    [Theory]
    [InlineData("mov r0, 0 / exit", 2)]
    [InlineData("lddw r0, 1 / exit", 2)]
    [InlineData("mov r0, 0 / jeq r5, 1, +3 / mov r0, 1 / mov r0, 2 / mov r0, 3 / exit", 6)]
    [InlineData("mov r0, 0 / jeq r5, 1, +1 / exit / mov r0, 2 / mov r0, 3 / exit", 5)]
    [InlineData("mov r0, 0 / add r0, 1 / jlt r0, 10, -2 / exit", 22)]
    [InlineData("mov r6, 1 / call local +1 / exit / mov r0, 0 / add r0, 1 / jlt r0, 10, -2 / exit", 25)]
    [InlineData("mov r0, 0 / jeq r5, 0, +1 / stdw [r10-8], 1 / jeq r5, 0, +2 / ldxdw r0, [r10-8] / mov r0, 1 / exit", 7)]
    public void The_longest_path_is_known(string text, int instructions) => Assert.Equal(
        instructions, Verify(text).Require().InstructionsMax);

    /// <summary>Steps per slot that no program may exceed: a transfer and a join of all registers and all stack slots for each
    /// jump.</summary>
    private const int StepsPerSlotMax = 1 + AbstractState.RegisterCount + AbstractStack.SlotCount;

    /// <summary>Bytes allocated per slot that no program may exceed: a copy of every register and stack slot for each jump.</summary>
    private const int BytesPerSlotMax = 128 * (AbstractState.RegisterCount + AbstractStack.SlotCount);

    public static TheoryData<string> HostileShapes => ["ladder", "far", "one target", "stack", "two floods"];

    [Theory]
    [MemberData(nameof(HostileShapes))]
    public void Hostile_programs_cost_no_more_than_their_length(string shape)
    {
        List<Instruction> slots = [new Instruction(Opcodes.ClassAlu64 | Opcodes.Move, 0)];
        byte jump = Opcodes.ClassJump | Opcodes.JumpEqual; // not taken teaches nothing: both ways stay open
        const int last = Program.InstructionsLimit - 1;
        if (shape is "two floods")
        {
            // Two stacks that differ in all 64 slots meet at thousands of places.
            for (int flood = 0; flood < 2; flood++)
            {
                for (int slot = 1; slot <= 64; slot++)
                {
                    slots.Add(new Instruction(
                        Opcodes.ClassStore | Opcodes.ModeMemory | Opcodes.SizeDouble, 10, 0, (short)(-8 * slot), flood + slot));
                }

                int start = slots.Count;
                for (int i = 0; i < 16_000; i++)
                {
                    slots.Add(new Instruction(jump, 5, 0, (short)(flood == 0 ? 32_600 : 16_536), i + (flood * 100_000)));
                }
            }
        }

        while (slots.Count < last)
        {
            int at = slots.Count;
            slots.Add(shape switch
            {
                "ladder" => new Instruction(jump, 5, 0, (short)(at % 2 == 0 ? 1 : 2), at),
                "far" or "two floods" => new Instruction(jump, 5, 0, (short)Math.Min(last - at - 1, 32_767), at),
                "one target" => new Instruction(jump, 5, 0, (short)Math.Clamp((at | 8191) - at, 0, last - at - 1), at),
                _ when at % 2 == 0 => new Instruction(Opcodes.ClassStore | Opcodes.ModeMemory | Opcodes.SizeByte, 10, 0, (short)(-1 - (at * 7 % 512)), at),
                _ => new Instruction(jump, 5, 0, (short)Math.Min(last - at - 1, 300), at),
            });
        }

        slots.Add(new Instruction(Opcodes.ClassJump | Opcodes.Exit));
        for (int i = 0; i < slots.Count; i++)
        {
            if (slots[i].Opcode == jump && i + 1 + slots[i].Offset > last)
            {
                slots[i] = new Instruction(jump, 5, 0, (short)(last - i - 1), slots[i].Immediate);
            }
        }

        Assert.Equal(Program.InstructionsLimit, slots.Count);
        Program program = new(slots.ToArray());
        long before = GC.GetAllocatedBytesForCurrentThread();
        VerifyResult result = Verifier.Verify(program, Contract);
        long allocatedBytes = GC.GetAllocatedBytesForCurrentThread() - before;
        output.WriteLine($"{shape}: {result.Steps} steps, {allocatedBytes >> 10} KiB allocated in all");
        Assert.True(result.IsAccepted, result.Rejection?.ToString());
        Assert.InRange(allocatedBytes, 1, (long)slots.Count * BytesPerSlotMax);
        Assert.InRange(result.Steps, slots.Count, (long)slots.Count * StepsPerSlotMax);
    }

    [Fact]
    public void Contracts_that_do_not_fit_together_are_refused()
    {
        Assert.Throws<ArgumentException>(() => new ProgramContract("x", [ArgumentContract.MemoryPointer]));
        Assert.Throws<ArgumentException>(() => new ProgramContract("x", [ArgumentContract.ContextLength], RegionContract.Exactly(1)));
        Assert.Throws<ArgumentException>(() => new ProgramContract("x", [ArgumentContract.Scalar(2, 1)]));
        Assert.Throws<ArgumentException>(() => new ProgramContract("x", new ArgumentContract[6]));
        Assert.Throws<ArgumentException>(() => new ProgramContract("x", [], new RegionContract(5, 4)));
        Assert.Throws<ArgumentException>(() => new ProgramContract("x", [], helpers: [new HelperContract(1, "a", 6)]));
        Assert.Throws<ArgumentException>(() => new ProgramContract("x", [], helpers: [new HelperContract(1, "a", 1), new HelperContract(1, "b", 1)]));
    }
}
