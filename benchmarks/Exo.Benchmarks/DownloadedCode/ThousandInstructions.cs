// SPDX-License-Identifier: MIT
using System.Text;
using BenchmarkDotNet.Attributes;
using Exo.Core.DownloadedCode;

namespace Exo.Benchmarks.DownloadedCode;

/// <summary>A program of a thousand instructions: verified, and interpreted (divide by a thousand for the cost of one).</summary>
public class ThousandInstructions
{
    private readonly byte[] _memory = new byte[4096];
    private Core.DownloadedCode.Program _program = null!;
    private ProgramContract _contract = null!;
    private VerifiedProgram _verified = null!;

    [GlobalSetup]
    public void Setup()
    {
        StringBuilder text = new("mov r6, r1\nmov r0, 0\n");
        for (int i = 0; i < 199; i++)
        {
            text.Append(System.Globalization.CultureInfo.InvariantCulture, $"""
                ldxdw r2, [r6+{i * 16}]
                and r2, 255
                add r0, r2
                jgt r0, 1000000, next{i}
                xor r0, 1
                next{i}:

                """);
        }

        text.Append("mov r1, r0\nmov r2, r1\nexit\n");
        _program = Assembler.Assemble(text.ToString());
        _contract = new ProgramContract("sum", [ArgumentContract.MemoryPointer, ArgumentContract.MemoryLength], RegionContract.Exactly(4096));
        _verified = Verifier.Verify(_program, _contract).Program ?? throw new InvalidOperationException();
    }

    [Benchmark]
    public bool Verify() => Verifier.Verify(_program, _contract).Program is not null;

    [Benchmark]
    public ulong Interpret() => Interpreter.Run(_verified, new ProgramInput(_memory)).R0;

    [Benchmark]
    public ulong Run_compiled() => Compiler.Run(_verified, new ProgramInput(_memory)).R0;
}
