// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace Exo.Core.DownloadedCode;

/// <summary>
/// Runs verified programs. One dense switch over decoded instructions; no allocation, no lock, no state between runs: any number of
/// threads may run one program, and a helper may run another.
/// <para>
/// The machine's addresses are numbers with a region tag, never native pointers:
/// <code>
///   bit 63        34 33  32 31                 0
///       |     0     | region |     offset      |     0 none, 1 stack, 2 memory, 3 context
/// </code>
/// The stack region holds the frames of all local calls, the first one highest, each <see cref="ProgramContract.StackBytes"/> long.
/// Every access is located anew in the table of regions, whatever the verifier proved: a mistake there ends in
/// <see cref="ExecutionStatus.BadAccess"/> and not in the host's memory. The same holds for fuel. Data in memory is little-endian.
/// </para>
/// </summary>
public static unsafe class Interpreter
{
    internal const int RegionShift = 32;
    internal const int StackRegion = 1;
    internal const int MemoryRegion = 2;
    internal const int ContextRegion = 3;
    private const int RegionCount = 4;
    internal const int RegisterCount = 16;

    // A local call keeps the slot to return to and the caller's r6 to r9.
    private const int SavedPerCall = 5;

    /// <summary>Runs <paramref name="program"/> once.</summary>
    /// <param name="program">What to run.</param>
    /// <param name="input">Regions and scalars, as the contract demands them.</param>
    /// <param name="helpers">Receives the calls; its state is the caller's.</param>
    /// <param name="fuel">How many instructions may be executed; <see cref="VerifiedProgram.InstructionsMax"/> always suffices.</param>
    /// <returns>How the run ended. A verified program with enough fuel completes.</returns>
    /// <exception cref="ArgumentException"><paramref name="input"/> breaks the contract.</exception>
    public static ExecutionResult Run<THelpers>(VerifiedProgram program, in ProgramInput input, ref THelpers helpers, int fuel = int.MaxValue)
        where THelpers : struct, IHelperCalls, allows ref struct
    {
        ArgumentNullException.ThrowIfNull(program);
        ArgumentOutOfRangeException.ThrowIfNegative(fuel);
        Invariant.Check(BitConverter.IsLittleEndian);
        ulong* registers = stackalloc ulong[RegisterCount];
        SetArguments(
            program.Contract, input, new Span<ulong>(registers, RegisterCount), (ulong)MemoryRegion << RegionShift, (ulong)ContextRegion << RegionShift);
        int stackBytes = program.Program.StackBytes;
        byte* stack = stackalloc byte[stackBytes];
        ulong* saved = stackalloc ulong[SavedPerCall * (ProgramContract.CallDepthMax - 1)];
        registers[10] = ((ulong)StackRegion << RegionShift) + (ulong)stackBytes;
        Region* regions = stackalloc Region[RegionCount];

        // The pins last as long as the machine's table of regions is in use. A null base only ever goes with length 0.
        fixed (byte* memory = input.Memory)
        fixed (byte* context = input.Context)
        fixed (DecodedInstruction* code = program.Code)
        {
            regions[0] = default;
            regions[StackRegion] = new Region(stack, stackBytes, stackBytes);
            regions[MemoryRegion] = new Region(
                memory, input.Memory.Length, program.Contract.Memory is { IsWritable: true } ? input.Memory.Length : 0);
            regions[ContextRegion] = new Region(
                context, input.Context.Length, program.Contract.Context is { IsWritable: true } ? input.Context.Length : 0);
            return Execute(code, registers, regions, saved, ref helpers, fuel);
        }
    }

    /// <summary>Runs a program whose contract has no helpers.</summary>
    /// <inheritdoc cref="Run{THelpers}(VerifiedProgram, in ProgramInput, ref THelpers, int)"/>
    public static ExecutionResult Run(VerifiedProgram program, in ProgramInput input, int fuel = int.MaxValue)
    {
        NoHelpers helpers = default;
        return Run(program, input, ref helpers, fuel);
    }

    /// <summary>Checks the input against the contract and fills the argument registers; the others become zero.</summary>
    internal static void SetArguments(ProgramContract contract, in ProgramInput input, Span<ulong> registers, ulong memory, ulong context)
    {
        CheckRegion(contract.Memory, input.Memory.Length, input.MemoryIsWritable, "memory");
        CheckRegion(contract.Context, input.Context.Length, input.ContextIsWritable, "context");
        registers.Clear();
        for (int i = 0; i < contract.Arguments.Length; i++)
        {
            ref readonly ArgumentContract argument = ref contract.Arguments.ItemRef(i);
            ulong scalar = 0;
            switch (argument.Kind)
            {
                case ArgumentKind.MemoryPointer:
                    scalar = memory;
                    break;
                case ArgumentKind.MemoryLength:
                    scalar = (ulong)input.Memory.Length;
                    break;
                case ArgumentKind.ContextPointer:
                    scalar = context;
                    break;
                case ArgumentKind.ContextLength:
                    scalar = (ulong)input.Context.Length;
                    break;
                default:
                    scalar = input.Scalar(i + 1);
                    if (scalar < argument.Minimum || scalar > argument.Maximum)
                    {
                        throw new ArgumentException(
                            $"r{i + 1} is {scalar}; the contract allows {argument.Minimum} to {argument.Maximum}.", nameof(input));
                    }

                    break;
            }

            registers[i + 1] = scalar;
        }
    }

    private static void CheckRegion(RegionContract? contract, int lengthBytes, bool isWritable, string name)
    {
        if (contract is null ? lengthBytes != 0 : lengthBytes < contract.BytesMin || lengthBytes > contract.BytesMax)
        {
            throw new ArgumentException(
                $"The {name} region has {lengthBytes} bytes; the contract says {contract?.ToString() ?? "none"}.", nameof(contract));
        }

        if (contract is { IsWritable: true } && !isWritable)
        {
            throw new ArgumentException(
                $"The contract lets the program write the {name} region, which was lent for reading only.", nameof(contract));
        }
    }

    /// <summary>Where the machine's bytes are: a region's first byte, its length, and how much of it may be written.</summary>
    private readonly struct Region(byte* start, int lengthBytes, int writableBytes)
    {
        public readonly byte* Start = start;
        public readonly ulong LengthBytes = (ulong)lengthBytes;
        public readonly ulong WritableBytes = (ulong)writableBytes;
    }

    // The tag is masked to 0..3, so the table is never left. Where the bits above the tag are not zero the offset comes out at
    // 2^34 or more, past any length, and offset + width cannot wrap: the mask leaves at least 2^34 below 2^64 - or region 0, of
    // length 0. Returns null for an access that is not wholly inside.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte* Locate(Region* regions, ulong address, uint widthBytes)
    {
        ulong tag = (address >> RegionShift) & (RegionCount - 1);
        ulong offset = address - (tag << RegionShift);
        Region* region = regions + tag;
        return offset + widthBytes <= region->LengthBytes ? region->Start + offset : null;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte* LocateWritable(Region* regions, ulong address, uint widthBytes)
    {
        ulong tag = (address >> RegionShift) & (RegionCount - 1);
        ulong offset = address - (tag << RegionShift);
        Region* region = regions + tag;
        return offset + widthBytes <= region->WritableBytes ? region->Start + offset : null;
    }

    /// <summary>Operand size of an atomic operation: 32 and 64 bits alternate in the enum, 32 at even numbers.</summary>
    internal static uint AtomicWidthBytes(Operation operation) => ((int)operation & 1) == 0 ? 4u : 8u;

    // Bounds of the pointers. Saved calls: checked before a push; a pop needs a push before. Code: the decoder resolves every jump to a
    // slot inside the program and puts a trap behind the last, so `next` never leaves the array; a saved slot is one that lay behind a
    // call. Registers: the decoder refuses numbers above 10, the array has 16.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static ExecutionResult Execute<THelpers>(
        DecodedInstruction* code, ulong* r, Region* regions, ulong* saved, ref THelpers helpers, int fuel)
        where THelpers : struct, IHelperCalls, allows ref struct
    {
        int remaining = fuel;
        DecodedInstruction* next = code;
        DecodedInstruction* i;
        ulong* call = saved;
        byte* at;
        unchecked
        {
            for (; ; )
            {
                i = next++;
                if (--remaining < 0)
                {
                    return new ExecutionResult(ExecutionStatus.OutOfFuel, 0, fuel, (int)(i - code));
                }

                switch (i->Operation)
                {
                    case Operation.Add64K: r[i->Destination] += i->Immediate; continue;
                    case Operation.Add64X: r[i->Destination] += r[i->Source]; continue;
                    case Operation.Add32K: r[i->Destination] = (uint)r[i->Destination] + (uint)i->Immediate; continue;
                    case Operation.Add32X: r[i->Destination] = (uint)r[i->Destination] + (uint)r[i->Source]; continue;
                    case Operation.Subtract64K: r[i->Destination] -= i->Immediate; continue;
                    case Operation.Subtract64X: r[i->Destination] -= r[i->Source]; continue;
                    case Operation.Subtract32K: r[i->Destination] = (uint)r[i->Destination] - (uint)i->Immediate; continue;
                    case Operation.Subtract32X: r[i->Destination] = (uint)r[i->Destination] - (uint)r[i->Source]; continue;
                    case Operation.Multiply64K: r[i->Destination] *= i->Immediate; continue;
                    case Operation.Multiply64X: r[i->Destination] *= r[i->Source]; continue;
                    case Operation.Multiply32K: r[i->Destination] = (uint)r[i->Destination] * (uint)i->Immediate; continue;
                    case Operation.Multiply32X: r[i->Destination] = (uint)r[i->Destination] * (uint)r[i->Source]; continue;
                    case Operation.Or64K: r[i->Destination] |= i->Immediate; continue;
                    case Operation.Or64X: r[i->Destination] |= r[i->Source]; continue;
                    case Operation.Or32K: r[i->Destination] = (uint)r[i->Destination] | (uint)i->Immediate; continue;
                    case Operation.Or32X: r[i->Destination] = (uint)r[i->Destination] | (uint)r[i->Source]; continue;
                    case Operation.And64K: r[i->Destination] &= i->Immediate; continue;
                    case Operation.And64X: r[i->Destination] &= r[i->Source]; continue;
                    case Operation.And32K: r[i->Destination] = (uint)r[i->Destination] & (uint)i->Immediate; continue;
                    case Operation.And32X: r[i->Destination] = (uint)r[i->Destination] & (uint)r[i->Source]; continue;
                    case Operation.Xor64K: r[i->Destination] ^= i->Immediate; continue;
                    case Operation.Xor64X: r[i->Destination] ^= r[i->Source]; continue;
                    case Operation.Xor32K: r[i->Destination] = (uint)r[i->Destination] ^ (uint)i->Immediate; continue;
                    case Operation.Xor32X: r[i->Destination] = (uint)r[i->Destination] ^ (uint)r[i->Source]; continue;
                    case Operation.Move64K: r[i->Destination] = i->Immediate; continue;
                    case Operation.Move64X: r[i->Destination] = r[i->Source]; continue;
                    case Operation.Move32K: r[i->Destination] = (uint)i->Immediate; continue;
                    case Operation.Move32X: r[i->Destination] = (uint)r[i->Source]; continue;
                    case Operation.ShiftLeft64K: r[i->Destination] <<= (int)i->Immediate; continue;
                    case Operation.ShiftLeft64X: r[i->Destination] <<= (int)r[i->Source]; continue;
                    case Operation.ShiftLeft32K: r[i->Destination] = (uint)r[i->Destination] << (int)i->Immediate; continue;
                    case Operation.ShiftLeft32X: r[i->Destination] = (uint)r[i->Destination] << (int)r[i->Source]; continue;
                    case Operation.ShiftRight64K: r[i->Destination] >>= (int)i->Immediate; continue;
                    case Operation.ShiftRight64X: r[i->Destination] >>= (int)r[i->Source]; continue;
                    case Operation.ShiftRight32K: r[i->Destination] = (uint)r[i->Destination] >> (int)i->Immediate; continue;
                    case Operation.ShiftRight32X: r[i->Destination] = (uint)r[i->Destination] >> (int)r[i->Source]; continue;
                    case Operation.ShiftRightArithmetic64K:
                        r[i->Destination] = (ulong)((long)r[i->Destination] >> (int)i->Immediate);
                        continue;
                    case Operation.ShiftRightArithmetic64X:
                        r[i->Destination] = (ulong)((long)r[i->Destination] >> (int)r[i->Source]);
                        continue;
                    case Operation.ShiftRightArithmetic32K:
                        r[i->Destination] = (uint)((int)r[i->Destination] >> (int)i->Immediate);
                        continue;
                    case Operation.ShiftRightArithmetic32X:
                        r[i->Destination] = (uint)((int)r[i->Destination] >> (int)r[i->Source]);
                        continue;
                    case Operation.Negate64K: r[i->Destination] = 0 - r[i->Destination]; continue;
                    case Operation.Negate32K: r[i->Destination] = (uint)(0 - (int)r[i->Destination]); continue;
                    case Operation.Divide64K: r[i->Destination] = Arithmetic.Divide(r[i->Destination], i->Immediate); continue;
                    case Operation.Divide64X: r[i->Destination] = Arithmetic.Divide(r[i->Destination], r[i->Source]); continue;
                    case Operation.Divide32K: r[i->Destination] = Arithmetic.Divide((uint)r[i->Destination], (uint)i->Immediate); continue;
                    case Operation.Divide32X: r[i->Destination] = Arithmetic.Divide((uint)r[i->Destination], (uint)r[i->Source]); continue;
                    case Operation.Modulo64K: r[i->Destination] = Arithmetic.Modulo(r[i->Destination], i->Immediate); continue;
                    case Operation.Modulo64X: r[i->Destination] = Arithmetic.Modulo(r[i->Destination], r[i->Source]); continue;
                    case Operation.Modulo32K: r[i->Destination] = Arithmetic.Modulo((uint)r[i->Destination], (uint)i->Immediate); continue;
                    case Operation.Modulo32X: r[i->Destination] = Arithmetic.Modulo((uint)r[i->Destination], (uint)r[i->Source]); continue;
                    case Operation.SignedDivide64K:
                        r[i->Destination] = (ulong)Arithmetic.Divide((long)r[i->Destination], (long)i->Immediate);
                        continue;
                    case Operation.SignedDivide64X:
                        r[i->Destination] = (ulong)Arithmetic.Divide((long)r[i->Destination], (long)r[i->Source]);
                        continue;
                    case Operation.SignedDivide32K:
                        r[i->Destination] = (uint)Arithmetic.Divide((int)r[i->Destination], (int)i->Immediate);
                        continue;
                    case Operation.SignedDivide32X:
                        r[i->Destination] = (uint)Arithmetic.Divide((int)r[i->Destination], (int)r[i->Source]);
                        continue;
                    case Operation.SignedModulo64K:
                        r[i->Destination] = (ulong)Arithmetic.Modulo((long)r[i->Destination], (long)i->Immediate);
                        continue;
                    case Operation.SignedModulo64X:
                        r[i->Destination] = (ulong)Arithmetic.Modulo((long)r[i->Destination], (long)r[i->Source]);
                        continue;
                    case Operation.SignedModulo32K:
                        r[i->Destination] = (uint)Arithmetic.Modulo((int)r[i->Destination], (int)i->Immediate);
                        continue;
                    case Operation.SignedModulo32X:
                        r[i->Destination] = (uint)Arithmetic.Modulo((int)r[i->Destination], (int)r[i->Source]);
                        continue;

                    case Operation.MoveSigned8To64: r[i->Destination] = (ulong)(sbyte)r[i->Source]; continue;
                    case Operation.MoveSigned16To64: r[i->Destination] = (ulong)(short)r[i->Source]; continue;
                    case Operation.MoveSigned32To64: r[i->Destination] = (ulong)(int)r[i->Source]; continue;
                    case Operation.MoveSigned8To32: r[i->Destination] = (uint)(sbyte)r[i->Source]; continue;
                    case Operation.MoveSigned16To32: r[i->Destination] = (uint)(short)r[i->Source]; continue;
                    case Operation.Truncate16: r[i->Destination] = (ushort)r[i->Destination]; continue;
                    case Operation.Truncate32: r[i->Destination] = (uint)r[i->Destination]; continue;
                    case Operation.Truncate64:  continue;
                    case Operation.Swap16: r[i->Destination] = BinaryPrimitives.ReverseEndianness((ushort)r[i->Destination]); continue;
                    case Operation.Swap32: r[i->Destination] = BinaryPrimitives.ReverseEndianness((uint)r[i->Destination]); continue;
                    case Operation.Swap64: r[i->Destination] = BinaryPrimitives.ReverseEndianness(r[i->Destination]); continue;
                    case Operation.LoadImmediate64: r[i->Destination] = i->Immediate; next++; continue;

                    case Operation.Load8:
                        at = Locate(regions, r[i->Source] + (ulong)i->Offset, sizeof(byte));
                        if (at == null) { goto BadAccess; }
                        r[i->Destination] = Unsafe.ReadUnaligned<byte>(at); continue;
                    case Operation.Load16:
                        at = Locate(regions, r[i->Source] + (ulong)i->Offset, sizeof(ushort));
                        if (at == null) { goto BadAccess; }
                        r[i->Destination] = Unsafe.ReadUnaligned<ushort>(at); continue;
                    case Operation.Load32:
                        at = Locate(regions, r[i->Source] + (ulong)i->Offset, sizeof(uint));
                        if (at == null) { goto BadAccess; }
                        r[i->Destination] = Unsafe.ReadUnaligned<uint>(at); continue;
                    case Operation.Load64:
                        at = Locate(regions, r[i->Source] + (ulong)i->Offset, sizeof(ulong));
                        if (at == null) { goto BadAccess; }
                        r[i->Destination] = Unsafe.ReadUnaligned<ulong>(at); continue;
                    case Operation.LoadSigned8:
                        at = Locate(regions, r[i->Source] + (ulong)i->Offset, sizeof(sbyte));
                        if (at == null) { goto BadAccess; }
                        r[i->Destination] = (ulong)Unsafe.ReadUnaligned<sbyte>(at); continue;
                    case Operation.LoadSigned16:
                        at = Locate(regions, r[i->Source] + (ulong)i->Offset, sizeof(short));
                        if (at == null) { goto BadAccess; }
                        r[i->Destination] = (ulong)Unsafe.ReadUnaligned<short>(at); continue;
                    case Operation.LoadSigned32:
                        at = Locate(regions, r[i->Source] + (ulong)i->Offset, sizeof(int));
                        if (at == null) { goto BadAccess; }
                        r[i->Destination] = (ulong)Unsafe.ReadUnaligned<int>(at); continue;
                    case Operation.Store8X:
                        at = LocateWritable(regions, r[i->Destination] + (ulong)i->Offset, sizeof(byte));
                        if (at == null) { goto BadAccess; }
                        Unsafe.WriteUnaligned(at, (byte)r[i->Source]); continue;
                    case Operation.Store8K:
                        at = LocateWritable(regions, r[i->Destination] + (ulong)i->Offset, sizeof(byte));
                        if (at == null) { goto BadAccess; }
                        Unsafe.WriteUnaligned(at, (byte)i->Immediate); continue;
                    case Operation.Store16X:
                        at = LocateWritable(regions, r[i->Destination] + (ulong)i->Offset, sizeof(ushort));
                        if (at == null) { goto BadAccess; }
                        Unsafe.WriteUnaligned(at, (ushort)r[i->Source]); continue;
                    case Operation.Store16K:
                        at = LocateWritable(regions, r[i->Destination] + (ulong)i->Offset, sizeof(ushort));
                        if (at == null) { goto BadAccess; }
                        Unsafe.WriteUnaligned(at, (ushort)i->Immediate); continue;
                    case Operation.Store32X:
                        at = LocateWritable(regions, r[i->Destination] + (ulong)i->Offset, sizeof(uint));
                        if (at == null) { goto BadAccess; }
                        Unsafe.WriteUnaligned(at, (uint)r[i->Source]); continue;
                    case Operation.Store32K:
                        at = LocateWritable(regions, r[i->Destination] + (ulong)i->Offset, sizeof(uint));
                        if (at == null) { goto BadAccess; }
                        Unsafe.WriteUnaligned(at, (uint)i->Immediate); continue;
                    case Operation.Store64X:
                        at = LocateWritable(regions, r[i->Destination] + (ulong)i->Offset, sizeof(ulong));
                        if (at == null) { goto BadAccess; }
                        Unsafe.WriteUnaligned(at, (ulong)r[i->Source]); continue;
                    case Operation.Store64K:
                        at = LocateWritable(regions, r[i->Destination] + (ulong)i->Offset, sizeof(ulong));
                        if (at == null) { goto BadAccess; }
                        Unsafe.WriteUnaligned(at, (ulong)i->Immediate); continue;

                    // The hot switch stays small: what the atomic operations share is done outside.
                    case >= Operation.AtomicAdd32 and <= Operation.AtomicXor64:
                        at = LocateWritable(regions, r[i->Destination] + (ulong)i->Offset, AtomicWidthBytes(i->Operation));
                        if (at == null) { goto BadAccess; }
                        AtomicAccess.Update(i->Operation, at, r[i->Source]); continue;
                    case >= Operation.AtomicFetchAdd32 and <= Operation.AtomicExchange64:
                        at = LocateWritable(regions, r[i->Destination] + (ulong)i->Offset, AtomicWidthBytes(i->Operation));
                        if (at == null) { goto BadAccess; }
                        r[i->Source] = AtomicAccess.Update(i->Operation, at, r[i->Source]); continue;
                    case Operation.AtomicCompareExchange32:
                        at = LocateWritable(regions, r[i->Destination] + (ulong)i->Offset, sizeof(uint));
                        if (at == null) { goto BadAccess; }
                        r[0] = AtomicAccess.CompareExchange32(at, r[i->Source], r[0]); continue;
                    case Operation.AtomicCompareExchange64:
                        at = LocateWritable(regions, r[i->Destination] + (ulong)i->Offset, sizeof(ulong));
                        if (at == null) { goto BadAccess; }
                        r[0] = AtomicAccess.CompareExchange64(at, r[i->Source], r[0]); continue;

                    case Operation.Jump: next = code + i->Offset; continue;
                    case Operation.IfEqual64K: if (r[i->Destination] == i->Immediate) { next = code + i->Offset; } continue;
                    case Operation.IfEqual64X: if (r[i->Destination] == r[i->Source]) { next = code + i->Offset; } continue;
                    case Operation.IfEqual32K: if ((uint)r[i->Destination] == (uint)i->Immediate) { next = code + i->Offset; } continue;
                    case Operation.IfEqual32X: if ((uint)r[i->Destination] == (uint)r[i->Source]) { next = code + i->Offset; } continue;
                    case Operation.IfGreater64K: if (r[i->Destination] > i->Immediate) { next = code + i->Offset; } continue;
                    case Operation.IfGreater64X: if (r[i->Destination] > r[i->Source]) { next = code + i->Offset; } continue;
                    case Operation.IfGreater32K: if ((uint)r[i->Destination] > (uint)i->Immediate) { next = code + i->Offset; } continue;
                    case Operation.IfGreater32X: if ((uint)r[i->Destination] > (uint)r[i->Source]) { next = code + i->Offset; } continue;
                    case Operation.IfGreaterOrEqual64K: if (r[i->Destination] >= i->Immediate) { next = code + i->Offset; } continue;
                    case Operation.IfGreaterOrEqual64X: if (r[i->Destination] >= r[i->Source]) { next = code + i->Offset; } continue;
                    case Operation.IfGreaterOrEqual32K:
                        if ((uint)r[i->Destination] >= (uint)i->Immediate) { next = code + i->Offset; }
                        continue;
                    case Operation.IfGreaterOrEqual32X:
                        if ((uint)r[i->Destination] >= (uint)r[i->Source]) { next = code + i->Offset; }
                        continue;
                    case Operation.IfSet64K: if ((r[i->Destination] & i->Immediate) != 0) { next = code + i->Offset; } continue;
                    case Operation.IfSet64X: if ((r[i->Destination] & r[i->Source]) != 0) { next = code + i->Offset; } continue;
                    case Operation.IfSet32K: if (((uint)r[i->Destination] & (uint)i->Immediate) != 0) { next = code + i->Offset; } continue;
                    case Operation.IfSet32X: if (((uint)r[i->Destination] & (uint)r[i->Source]) != 0) { next = code + i->Offset; } continue;
                    case Operation.IfNotEqual64K: if (r[i->Destination] != i->Immediate) { next = code + i->Offset; } continue;
                    case Operation.IfNotEqual64X: if (r[i->Destination] != r[i->Source]) { next = code + i->Offset; } continue;
                    case Operation.IfNotEqual32K: if ((uint)r[i->Destination] != (uint)i->Immediate) { next = code + i->Offset; } continue;
                    case Operation.IfNotEqual32X: if ((uint)r[i->Destination] != (uint)r[i->Source]) { next = code + i->Offset; } continue;
                    case Operation.IfSignedGreater64K:
                        if ((long)r[i->Destination] > (long)i->Immediate) { next = code + i->Offset; }
                        continue;
                    case Operation.IfSignedGreater64X:
                        if ((long)r[i->Destination] > (long)r[i->Source]) { next = code + i->Offset; }
                        continue;
                    case Operation.IfSignedGreater32K:
                        if ((int)r[i->Destination] > (int)i->Immediate) { next = code + i->Offset; }
                        continue;
                    case Operation.IfSignedGreater32X:
                        if ((int)r[i->Destination] > (int)r[i->Source]) { next = code + i->Offset; }
                        continue;
                    case Operation.IfSignedGreaterOrEqual64K:
                        if ((long)r[i->Destination] >= (long)i->Immediate) { next = code + i->Offset; }
                        continue;
                    case Operation.IfSignedGreaterOrEqual64X:
                        if ((long)r[i->Destination] >= (long)r[i->Source]) { next = code + i->Offset; }
                        continue;
                    case Operation.IfSignedGreaterOrEqual32K:
                        if ((int)r[i->Destination] >= (int)i->Immediate) { next = code + i->Offset; }
                        continue;
                    case Operation.IfSignedGreaterOrEqual32X:
                        if ((int)r[i->Destination] >= (int)r[i->Source]) { next = code + i->Offset; }
                        continue;
                    case Operation.IfLess64K: if (r[i->Destination] < i->Immediate) { next = code + i->Offset; } continue;
                    case Operation.IfLess64X: if (r[i->Destination] < r[i->Source]) { next = code + i->Offset; } continue;
                    case Operation.IfLess32K: if ((uint)r[i->Destination] < (uint)i->Immediate) { next = code + i->Offset; } continue;
                    case Operation.IfLess32X: if ((uint)r[i->Destination] < (uint)r[i->Source]) { next = code + i->Offset; } continue;
                    case Operation.IfLessOrEqual64K: if (r[i->Destination] <= i->Immediate) { next = code + i->Offset; } continue;
                    case Operation.IfLessOrEqual64X: if (r[i->Destination] <= r[i->Source]) { next = code + i->Offset; } continue;
                    case Operation.IfLessOrEqual32K:
                        if ((uint)r[i->Destination] <= (uint)i->Immediate) { next = code + i->Offset; }
                        continue;
                    case Operation.IfLessOrEqual32X:
                        if ((uint)r[i->Destination] <= (uint)r[i->Source]) { next = code + i->Offset; }
                        continue;
                    case Operation.IfSignedLess64K: if ((long)r[i->Destination] < (long)i->Immediate) { next = code + i->Offset; } continue;
                    case Operation.IfSignedLess64X: if ((long)r[i->Destination] < (long)r[i->Source]) { next = code + i->Offset; } continue;
                    case Operation.IfSignedLess32K: if ((int)r[i->Destination] < (int)i->Immediate) { next = code + i->Offset; } continue;
                    case Operation.IfSignedLess32X: if ((int)r[i->Destination] < (int)r[i->Source]) { next = code + i->Offset; } continue;
                    case Operation.IfSignedLessOrEqual64K:
                        if ((long)r[i->Destination] <= (long)i->Immediate) { next = code + i->Offset; }
                        continue;
                    case Operation.IfSignedLessOrEqual64X:
                        if ((long)r[i->Destination] <= (long)r[i->Source]) { next = code + i->Offset; }
                        continue;
                    case Operation.IfSignedLessOrEqual32K:
                        if ((int)r[i->Destination] <= (int)i->Immediate) { next = code + i->Offset; }
                        continue;
                    case Operation.IfSignedLessOrEqual32X:
                        if ((int)r[i->Destination] <= (int)r[i->Source]) { next = code + i->Offset; }
                        continue;

                    case Operation.Call:
                        // Arguments the helper does not have are zero: a register may hold an address there, which is not for the host.
                        r[0] = helpers.Call(
                            (int)i->Immediate,
                            i->ArgumentCount > 0 ? r[1] : 0,
                            i->ArgumentCount > 1 ? r[2] : 0,
                            i->ArgumentCount > 2 ? r[3] : 0,
                            i->ArgumentCount > 3 ? r[4] : 0,
                            i->ArgumentCount > 4 ? r[5] : 0);
                        continue;
                    case Operation.CallLocal:
                        if (call == saved + (SavedPerCall * (ProgramContract.CallDepthMax - 1)))
                        {
                            return new ExecutionResult(ExecutionStatus.CallDepthExceeded, 0, fuel - remaining, (int)(i - code));
                        }

                        call[0] = (ulong)(next - code);
                        call[1] = r[6];
                        call[2] = r[7];
                        call[3] = r[8];
                        call[4] = r[9];
                        call += SavedPerCall;
                        r[10] -= ProgramContract.StackBytes;
                        next = code + i->Offset;
                        continue;
                    case Operation.Exit:
                        if (call != saved)
                        {
                            call -= SavedPerCall;
                            r[6] = call[1];
                            r[7] = call[2];
                            r[8] = call[3];
                            r[9] = call[4];
                            r[10] += ProgramContract.StackBytes;
                            next = code + call[0];
                            continue;
                        }

                        return new ExecutionResult(ExecutionStatus.Completed, r[0], fuel - remaining, -1);
                    default:
                        return new ExecutionResult(ExecutionStatus.BadInstruction, 0, fuel - remaining, (int)(i - code));
                }
            }

        BadAccess:
            return new ExecutionResult(ExecutionStatus.BadAccess, 0, fuel - remaining, (int)(i - code));
        }
    }
}
