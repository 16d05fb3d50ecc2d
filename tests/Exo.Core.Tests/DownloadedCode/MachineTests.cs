// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;
using Exo.Tests;

namespace Exo.Core.Tests.DownloadedCode;

/// <summary>Whole programs from text to answer: the machine as its users meet it.</summary>
public sealed class MachineTests
{
    private struct Emitted : IHelperCalls
    {
        public List<(ulong Start, ulong Count, ulong Child)> Extents;

        public readonly ulong Call(int helper, ulong r1, ulong r2, ulong r3, ulong r4, ulong r5)
        {
            Assert.Equal(1, helper);
            Assert.Equal(0UL, r4 | r5);
            Extents.Add((r1, r2, r3));
            return (ulong)Extents.Count;
        }
    }

    /// <summary>The shape XN's owns functions have: a packed read set, its length, the partition.</summary>
    private static readonly ProgramContract Owns = new(
        "owns",
        [ArgumentContract.MemoryPointer, ArgumentContract.MemoryLength, ArgumentContract.Scalar(0, 63)],
        RegionContract.Exactly(32),
        helpers: [new HelperContract(1, "emit", 3)]);

    [Fact]
    public void An_owns_function_emits_the_extents_of_its_read_set()
    {
        VerifiedProgram program = Verifier.Verify(Assembler.Assemble("""
                mov   r6, r1            # the read set survives the calls in r6
                ldxdw r1, [r6]
                jeq   r1, 0, second
                ldxdw r2, [r6+8]
                mov   r3, 0
                call  1
            second:
                ldxw  r1, [r6+16]
                ldxh  r2, [r6+20]
                mov   r3, 1
                call  1
                exit
            """), Owns).Require();
        byte[] readSet = new byte[32];
        BitConverter.TryWriteBytes(readSet, 1000UL);
        BitConverter.TryWriteBytes(readSet.AsSpan(8), 7UL);
        BitConverter.TryWriteBytes(readSet.AsSpan(16), 77);
        readSet[20] = 3;
        Emitted emitted = new() { Extents = [] };
        ExecutionResult result = Interpreter.Run(program, new ProgramInput(readSet) { R3 = 5 }, ref emitted, program.InstructionsMax);
        Assert.Equal(new ExecutionResult(ExecutionStatus.Completed, 2, 11, -1), result);
        Assert.Equal([(1000UL, 7UL, 0UL), (77UL, 3UL, 1UL)], emitted.Extents);

        readSet.AsSpan(0, 8).Clear();
        emitted.Extents.Clear();
        Assert.Equal(8, Interpreter.Run(program, new ProgramInput(readSet), ref emitted).Instructions);
        Assert.Equal([(77UL, 3UL, 1UL)], emitted.Extents);
    }

    [Fact]
    public void An_index_read_from_memory_is_usable_once_it_is_bounded()
    {
        ProgramContract acl = new(
            "acl",
            [ArgumentContract.MemoryPointer, ArgumentContract.MemoryLength, ArgumentContract.ContextPointer, ArgumentContract.ContextLength],
            RegionContract.Exactly(4096),
            RegionContract.Exactly(320));
        VerifiedProgram program = Verifier.Verify(Assembler.Assemble("""
                mov   r0, 0
                ldxw  r5, [r3+4]
                jgt   r5, 511, denied
                lsh   r5, 3
                add   r1, r5
                ldxdw r0, [r1]
            denied:
                exit
            """), acl).Require();
        byte[] block = new byte[4096];
        byte[] context = new byte[320];
        block[88] = 42;
        context[4] = 11;
        Assert.Equal(42UL, Interpreter.Run(program, new ProgramInput(block, context)).R0);
        context[6] = 1;
        Assert.Equal(0UL, Interpreter.Run(program, new ProgramInput(block, context)).R0);
    }

    [Fact]
    public void Fuel_ends_a_run_after_exactly_that_many_instructions()
    {
        VerifiedProgram program = Verifier.Verify(Assembler.Assemble("mov r0, 1\nadd r0, 1\nadd r0, 1\nexit"), new ProgramContract("none", [])).Require();
        Assert.Equal(4, program.InstructionsMax);
        Assert.Equal(new ExecutionResult(ExecutionStatus.OutOfFuel, 0, 3, 3), Interpreter.Run(program, default, 3));
        Assert.Equal(new ExecutionResult(ExecutionStatus.Completed, 3, 4, -1), Interpreter.Run(program, default, 4));
    }

    [Fact]
    public void Input_that_breaks_the_contract_is_a_programming_error()
    {
        VerifiedProgram program = Verifier.Verify(Assembler.Assemble("mov r0, 1\nexit"), Owns).Require();
        Emitted emitted = default;
        Assert.Throws<ArgumentException>(() => Interpreter.Run(program, new ProgramInput(new byte[31]), ref emitted));
        Assert.Throws<ArgumentException>(() => Interpreter.Run(program, new ProgramInput(new byte[32], new byte[1]), ref emitted));
        Assert.Throws<ArgumentException>(() => Interpreter.Run(program, new ProgramInput(new byte[32]) { R3 = 64 }, ref emitted));
        Assert.Throws<ArgumentOutOfRangeException>(() => Interpreter.Run(program, new ProgramInput(new byte[32]), ref emitted, -1));
    }

    [Fact]
    public void A_run_allocates_nothing()
    {
        VerifiedProgram program = Verifier.Verify(Assembler.Assemble("""
                stdw  [r10-8], 5
                ldxb  r2, [r1+3]
                ldxdw r0, [r10-8]
                add   r0, r2
                exit
            """), Owns).Require();
        byte[] readSet = new byte[32];
        Emitted emitted = new() { Extents = [] };
        ulong sum = 0, runs = 0;
        Run(100);
        Assert.Equal(0, Allocations.Least(() => Run(1000)));
        Assert.Equal(5 * runs, sum);

        void Run(int count)
        {
            for (int i = 0; i < count; i++, runs++)
            {
                sum += Interpreter.Run(program, new ProgramInput(readSet), ref emitted, 100).R0;
            }
        }
    }
}
