// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using BenchmarkDotNet.Attributes;
using Exo.Core.DownloadedCode;

namespace Exo.Benchmarks.DownloadedCode;

/// <summary>An <c>owns</c> function over a 4 KiB block of 64 pointers: interpreted, compiled, and the same written by hand in C#.</summary>
public class OwnsOverABlock
{
    private const int Pointers = 64;
    private readonly byte[] _block = new byte[4096];
    private VerifiedProgram _program = null!;
    private Sum _sum;

    /// <summary>Takes what is emitted.</summary>
    private struct Sum : IHelperCalls
    {
        public ulong Total;

        public ulong Call(int helper, ulong r1, ulong r2, ulong r3, ulong r4, ulong r5)
        {
            Total += r1 + r2;
            return 0;
        }
    }

    [GlobalSetup]
    public void Setup()
    {
        StringBuilder text = new("mov r6, r1\n");
        for (int i = 0; i < Pointers; i++)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(_block.AsSpan(i * 64), (ulong)i + 1000);
            BinaryPrimitives.WriteUInt32LittleEndian(_block.AsSpan((i * 64) + 8), 1);
            text.Append(System.Globalization.CultureInfo.InvariantCulture, $"""
                ldxw r2, [r6+{(i * 64) + 8}]
                jeq r2, 0, skip{i}
                ldxdw r1, [r6+{i * 64}]
                mov r3, 0
                call 1
                skip{i}:

                """);
        }

        text.Append("mov r0, 0\nexit\n");
        ProgramContract contract = new(
            "owns", [ArgumentContract.MemoryPointer, ArgumentContract.MemoryLength], RegionContract.Exactly(4096), null, [new HelperContract(1, "emit", 3)]);
        VerifyResult result = Verifier.Verify(Assembler.Assemble(text.ToString()), contract);
        _program = result.Program ?? throw new InvalidOperationException(result.ToString());
    }

    [Benchmark(Baseline = true)]
    public ulong By_hand()
    {
        Sum sum = default;
        ReadOnlySpan<byte> block = _block;
        for (int i = 0; i < Pointers; i++)
        {
            uint count = BinaryPrimitives.ReadUInt32LittleEndian(block[((i * 64) + 8)..]);
            if (count != 0)
            {
                sum.Call(1, BinaryPrimitives.ReadUInt64LittleEndian(block[(i * 64)..]), count, 0, 0, 0);
            }
        }

        return sum.Total;
    }

    [Benchmark]
    public ulong Compiled()
    {
        _sum = default;
        Compiler.Run(_program, new ProgramInput(_block), ref _sum);
        return _sum.Total;
    }

    [Benchmark]
    public ulong Interpreted()
    {
        _sum = default;
        Interpreter.Run(_program, new ProgramInput(_block), ref _sum);
        return _sum.Total;
    }
}
