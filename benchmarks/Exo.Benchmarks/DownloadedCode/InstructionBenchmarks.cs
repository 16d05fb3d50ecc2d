// SPDX-License-Identifier: MIT
using BenchmarkDotNet.Attributes;
using Exo.Core.DownloadedCode;

namespace Exo.Benchmarks.DownloadedCode;

/// <summary>Time of one instruction: a loop of arithmetic, loads and stores, 9,003 instructions a run.</summary>
public class InstructionBenchmarks
{
    private const int Instructions = 9003;

    private readonly byte[] memory = new byte[64];
    private readonly VerifiedProgram loop = Verifier.Verify(
        Assembler.Assemble("""
                mov   r0, 0
                mov   r3, 0
            next:
                ldxdw r2, [r1+8]
                add   r0, r2
                xor   r0, r3
                mul   r0, 31
                stxdw [r10-8], r0
                ldxw  r4, [r10-8]
                add   r0, r4
                add   r3, 1
                jlt   r3, 1000, next
                exit
            """),
        new ProgramContract("loop", [ArgumentContract.MemoryPointer], RegionContract.Exactly(64))).Require();

    /// <summary>The count that the figures are divided by is the one executed.</summary>
    [GlobalSetup]
    public void Count()
    {
        if (Interpreter.Run(loop, new ProgramInput(memory)).Instructions != Instructions)
        {
            throw new InvalidOperationException("The loop has another length.");
        }
    }

    /// <summary>One instruction, interpreted.</summary>
    [Benchmark(OperationsPerInvoke = Instructions)]
    public ulong Interpreted() => Interpreter.Run(loop, new ProgramInput(memory)).R0;

    /// <summary>One instruction, compiled.</summary>
    [Benchmark(OperationsPerInvoke = Instructions)]
    public ulong Compiled() => Compiler.Run(loop, new ProgramInput(memory)).R0;
}
