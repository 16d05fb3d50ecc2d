// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>The numbers of RFC 9669: classes, sources, operations, sizes and modes; an opcode byte is the sum of its parts.</summary>
public static class Opcodes
{
    /// <summary>Mask of the class bits.</summary>
    public const byte ClassMask = 0x07;

    /// <summary>Class: non-standard loads; only <c>lddw</c> is defined outside the legacy group.</summary>
    public const byte ClassLoad = 0x00;

    /// <summary>Class: load from memory into a register.</summary>
    public const byte ClassLoadRegister = 0x01;

    /// <summary>Class: store an immediate to memory.</summary>
    public const byte ClassStore = 0x02;

    /// <summary>Class: store a register to memory.</summary>
    public const byte ClassStoreRegister = 0x03;

    /// <summary>Class: 32-bit arithmetic; the upper half of the destination becomes zero.</summary>
    public const byte ClassAlu32 = 0x04;

    /// <summary>Class: jumps that compare 64 bits.</summary>
    public const byte ClassJump = 0x05;

    /// <summary>Class: jumps that compare the lower 32 bits.</summary>
    public const byte ClassJump32 = 0x06;

    /// <summary>Class: 64-bit arithmetic.</summary>
    public const byte ClassAlu64 = 0x07;

    /// <summary>Source bit: the operand is the source register (set) or the immediate (clear).</summary>
    public const byte SourceRegister = 0x08;

    /// <summary>Arithmetic: <c>dst += src</c>.</summary>
    public const byte Add = 0x00;

    /// <summary>Arithmetic: <c>dst -= src</c>.</summary>
    public const byte Subtract = 0x10;

    /// <summary>Arithmetic: <c>dst *= src</c>.</summary>
    public const byte Multiply = 0x20;

    /// <summary>Arithmetic: <c>dst = src == 0 ? 0 : dst / src</c>; signed when the offset field is 1.</summary>
    public const byte Divide = 0x30;

    /// <summary>Arithmetic: <c>dst |= src</c>.</summary>
    public const byte Or = 0x40;

    /// <summary>Arithmetic: <c>dst &amp;= src</c>.</summary>
    public const byte And = 0x50;

    /// <summary>Arithmetic: <c>dst &lt;&lt;= src</c>, the count masked to the width.</summary>
    public const byte ShiftLeft = 0x60;

    /// <summary>Arithmetic: logical right shift, the count masked to the width.</summary>
    public const byte ShiftRight = 0x70;

    /// <summary>Arithmetic: <c>dst = -dst</c>.</summary>
    public const byte Negate = 0x80;

    /// <summary>Arithmetic: <c>dst = src == 0 ? dst : dst % src</c>; signed when the offset field is 1.</summary>
    public const byte Modulo = 0x90;

    /// <summary>Arithmetic: <c>dst ^= src</c>.</summary>
    public const byte Xor = 0xa0;

    /// <summary>Arithmetic: <c>dst = src</c>; sign-extending from 8, 16 or 32 bits when the offset field says so.</summary>
    public const byte Move = 0xb0;

    /// <summary>Arithmetic: sign-extending right shift, the count masked to the width.</summary>
    public const byte ShiftRightArithmetic = 0xc0;

    /// <summary>Arithmetic: byte order; the immediate is the width: 16, 32 or 64.</summary>
    public const byte ByteOrder = 0xd0;

    /// <summary>Jump always; by the offset in class <see cref="ClassJump"/>, by the immediate in <see cref="ClassJump32"/>.</summary>
    public const byte JumpAlways = 0x00;

    /// <summary>Jump if equal.</summary>
    public const byte JumpEqual = 0x10;

    /// <summary>Jump if greater, unsigned.</summary>
    public const byte JumpGreater = 0x20;

    /// <summary>Jump if greater or equal, unsigned.</summary>
    public const byte JumpGreaterOrEqual = 0x30;

    /// <summary>Jump if <c>dst &amp; src</c> is not zero.</summary>
    public const byte JumpSet = 0x40;

    /// <summary>Jump if not equal.</summary>
    public const byte JumpNotEqual = 0x50;

    /// <summary>Jump if greater, signed.</summary>
    public const byte JumpSignedGreater = 0x60;

    /// <summary>Jump if greater or equal, signed.</summary>
    public const byte JumpSignedGreaterOrEqual = 0x70;

    /// <summary>Call; the source field selects helper by number (0), local function (1), helper by BTF id (2).</summary>
    public const byte Call = 0x80;

    /// <summary>Return from the program.</summary>
    public const byte Exit = 0x90;

    /// <summary>Jump if less, unsigned.</summary>
    public const byte JumpLess = 0xa0;

    /// <summary>Jump if less or equal, unsigned.</summary>
    public const byte JumpLessOrEqual = 0xb0;

    /// <summary>Jump if less, signed.</summary>
    public const byte JumpSignedLess = 0xc0;

    /// <summary>Jump if less or equal, signed.</summary>
    public const byte JumpSignedLessOrEqual = 0xd0;

    /// <summary>Mask of the operation bits of arithmetic and jumps.</summary>
    public const byte OperationMask = 0xf0;

    /// <summary>Mask of the size bits of loads and stores.</summary>
    public const byte SizeMask = 0x18;

    /// <summary>Size: four bytes.</summary>
    public const byte SizeWord = 0x00;

    /// <summary>Size: two bytes.</summary>
    public const byte SizeHalf = 0x08;

    /// <summary>Size: one byte.</summary>
    public const byte SizeByte = 0x10;

    /// <summary>Size: eight bytes.</summary>
    public const byte SizeDouble = 0x18;

    /// <summary>Mask of the mode bits of loads and stores.</summary>
    public const byte ModeMask = 0xe0;

    /// <summary>Mode: 64-bit immediate.</summary>
    public const byte ModeImmediate = 0x00;

    /// <summary>Mode: ordinary memory access.</summary>
    public const byte ModeMemory = 0x60;

    /// <summary>Mode: sign-extending load.</summary>
    public const byte ModeMemorySigned = 0x80;

    /// <summary>Mode: atomic operation.</summary>
    public const byte ModeAtomic = 0xc0;

    /// <summary>Atomic operation, in the immediate beside add, or, and, xor: the old value goes to the source register.</summary>
    public const int AtomicFetch = 0x01;

    /// <summary>Atomic operation: store the source register, fetch the old value into it.</summary>
    public const int AtomicExchange = 0xe0 | AtomicFetch;

    /// <summary>Atomic operation: store the source register if the old value equals r0; the old value goes to r0.</summary>
    public const int AtomicCompareExchange = 0xf0 | AtomicFetch;

    /// <summary>The whole opcode of <c>lddw</c>, the 64-bit immediate load.</summary>
    public const byte LoadImmediate64 = ClassLoad | ModeImmediate | SizeDouble;

    /// <summary>The width in bytes that the size bits of <paramref name="opcode"/> stand for: 1, 2, 4 or 8.</summary>
    public static int WidthBytes(byte opcode) => (opcode & SizeMask) switch
    {
        SizeWord => 4,
        SizeHalf => 2,
        SizeByte => 1,
        _ => 8,
    };
}
