// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using BenchmarkDotNet.Attributes;
using Exo.Core.DownloadedCode;

namespace Exo.Benchmarks.DownloadedCode;

/// <summary>
/// An <c>owns</c> function over a block of 4 KiB with 64 pointers: start u64, count u32, kind u32, at every 64 bytes. Each is emitted
/// unless its start is zero.
/// </summary>
public class OwnsBenchmarks
{
    private const int BlockBytes = 4096;
    private const int Pointers = 64;
    private const int PointerStride = BlockBytes / Pointers;

    private readonly byte[] block = new byte[BlockBytes];
    private readonly VerifiedProgram owns = Verifier.Verify(
        Assembler.Assemble("""
                mov   r6, r1
                mov   r7, 0
            next:
                ldxdw r1, [r6]
                jeq   r1, 0, skip
                ldxw  r2, [r6+8]
                ldxw  r3, [r6+12]
                call  1
            skip:
                add   r6, 64
                add   r7, 1
                jlt   r7, 64, next
                mov   r0, 0
                exit
            """),
        new ProgramContract(
            "owns", [ArgumentContract.MemoryPointer, ArgumentContract.MemoryLength], RegionContract.Exactly(BlockBytes), null,
            [new HelperContract(1, "emit", 3)])).Require();

    private Emitted emitted = new() { Extents = new (ulong, uint, uint)[Pointers] };

    /// <summary>Collects what is emitted.</summary>
    private struct Emitted : IHelperCalls
    {
        public (ulong Start, uint Count, uint Kind)[] Extents;
        public int Count;

        public ulong Call(int helper, ulong r1, ulong r2, ulong r3, ulong r4, ulong r5)
        {
            if (Count < Extents.Length)
            {
                Extents[Count++] = (r1, (uint)r2, (uint)r3);
            }

            return 0;
        }
    }

    /// <summary>Fills the block.</summary>
    [GlobalSetup]
    public void Fill()
    {
        for (int i = 0; i < Pointers; i++)
        {
            Span<byte> pointer = block.AsSpan(i * PointerStride);
            BinaryPrimitives.WriteUInt64LittleEndian(pointer, (ulong)((i * 100) + 7));
            BinaryPrimitives.WriteUInt32LittleEndian(pointer[8..], 3);
            BinaryPrimitives.WriteUInt32LittleEndian(pointer[12..], (uint)(i & 1));
        }
    }

    /// <summary>The same function as a C# programmer writes it.</summary>
    [Benchmark(Baseline = true)]
    public int HandWritten()
    {
        emitted.Count = 0;
        ReadOnlySpan<byte> bytes = block;
        for (int i = 0; i < Pointers; i++)
        {
            ReadOnlySpan<byte> pointer = bytes.Slice(i * PointerStride, 16);
            ulong start = BinaryPrimitives.ReadUInt64LittleEndian(pointer);
            if (start != 0)
            {
                emitted.Call(
                    1, start, BinaryPrimitives.ReadUInt32LittleEndian(pointer[8..]), BinaryPrimitives.ReadUInt32LittleEndian(pointer[12..]), 0, 0);
            }
        }

        return emitted.Count;
    }

    /// <summary>The downloaded function, compiled.</summary>
    [Benchmark]
    public int Compiled()
    {
        emitted.Count = 0;
        Compiler.Run(owns, new ProgramInput(block), ref emitted);
        return emitted.Count;
    }

    /// <summary>The downloaded function, interpreted: 516 instructions.</summary>
    [Benchmark]
    public int Interpreted()
    {
        emitted.Count = 0;
        Interpreter.Run(owns, new ProgramInput(block), ref emitted);
        return emitted.Count;
    }
}
