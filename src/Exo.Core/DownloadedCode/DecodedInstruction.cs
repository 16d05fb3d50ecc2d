// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.DownloadedCode;

/// <summary>
/// The interpreter's own opcodes: dense, one per combination of operation, width and operand kind, so that one switch decides
/// everything. Blocks of four are in the order 64-bit immediate, 64-bit register, 32-bit immediate, 32-bit register;
/// <see cref="Decoder"/> computes with that order.
/// </summary>
internal enum Operation : byte
{
    /// <summary>What is not an instruction: the second slot of <c>lddw</c>, and the slot behind the last.</summary>
    Trap = 0,

    // Arithmetic, four each.
    Add64K = 1,
    Add64X = 2,
    Add32K = 3,
    Add32X = 4,
    Subtract64K = 5,
    Subtract64X = 6,
    Subtract32K = 7,
    Subtract32X = 8,
    Multiply64K = 9,
    Multiply64X = 10,
    Multiply32K = 11,
    Multiply32X = 12,
    Divide64K = 13,
    Divide64X = 14,
    Divide32K = 15,
    Divide32X = 16,
    Or64K = 17,
    Or64X = 18,
    Or32K = 19,
    Or32X = 20,
    And64K = 21,
    And64X = 22,
    And32K = 23,
    And32X = 24,
    ShiftLeft64K = 25,
    ShiftLeft64X = 26,
    ShiftLeft32K = 27,
    ShiftLeft32X = 28,
    ShiftRight64K = 29,
    ShiftRight64X = 30,
    ShiftRight32K = 31,
    ShiftRight32X = 32,
    Negate64K = 33,
    Negate64X = 34,
    Negate32K = 35,
    Negate32X = 36,
    Modulo64K = 37,
    Modulo64X = 38,
    Modulo32K = 39,
    Modulo32X = 40,
    Xor64K = 41,
    Xor64X = 42,
    Xor32K = 43,
    Xor32X = 44,
    Move64K = 45,
    Move64X = 46,
    Move32K = 47,
    Move32X = 48,
    ShiftRightArithmetic64K = 49,
    ShiftRightArithmetic64X = 50,
    ShiftRightArithmetic32K = 51,
    ShiftRightArithmetic32X = 52,
    SignedDivide64K = 53,
    SignedDivide64X = 54,
    SignedDivide32K = 55,
    SignedDivide32X = 56,
    SignedModulo64K = 57,
    SignedModulo64X = 58,
    SignedModulo32K = 59,
    SignedModulo32X = 60,

    // Sign-extending moves and byte order.
    MoveSigned8To64 = 61,
    MoveSigned16To64 = 62,
    MoveSigned32To64 = 63,
    MoveSigned8To32 = 64,
    MoveSigned16To32 = 65,
    Truncate16 = 66,
    Truncate32 = 67,
    Truncate64 = 68,
    Swap16 = 69,
    Swap32 = 70,
    Swap64 = 71,

    // The 64-bit immediate, folded from two slots.
    LoadImmediate64 = 72,

    // Memory: loads, sign-extending loads, stores of a register, stores of the immediate.
    Load8 = 73,
    Load16 = 74,
    Load32 = 75,
    Load64 = 76,
    LoadSigned8 = 77,
    LoadSigned16 = 78,
    LoadSigned32 = 79,
    Store8X = 80,
    Store16X = 81,
    Store32X = 82,
    Store64X = 83,
    Store8K = 84,
    Store16K = 85,
    Store32K = 86,
    Store64K = 87,

    // Control.
    Jump = 88,
    Call = 89,
    Exit = 90,

    // Conditional jumps, four each.
    IfEqual64K = 91,
    IfEqual64X = 92,
    IfEqual32K = 93,
    IfEqual32X = 94,
    IfGreater64K = 95,
    IfGreater64X = 96,
    IfGreater32K = 97,
    IfGreater32X = 98,
    IfGreaterOrEqual64K = 99,
    IfGreaterOrEqual64X = 100,
    IfGreaterOrEqual32K = 101,
    IfGreaterOrEqual32X = 102,
    IfSet64K = 103,
    IfSet64X = 104,
    IfSet32K = 105,
    IfSet32X = 106,
    IfNotEqual64K = 107,
    IfNotEqual64X = 108,
    IfNotEqual32K = 109,
    IfNotEqual32X = 110,
    IfSignedGreater64K = 111,
    IfSignedGreater64X = 112,
    IfSignedGreater32K = 113,
    IfSignedGreater32X = 114,
    IfSignedGreaterOrEqual64K = 115,
    IfSignedGreaterOrEqual64X = 116,
    IfSignedGreaterOrEqual32K = 117,
    IfSignedGreaterOrEqual32X = 118,
    IfLess64K = 119,
    IfLess64X = 120,
    IfLess32K = 121,
    IfLess32X = 122,
    IfLessOrEqual64K = 123,
    IfLessOrEqual64X = 124,
    IfLessOrEqual32K = 125,
    IfLessOrEqual32X = 126,
    IfSignedLess64K = 127,
    IfSignedLess64X = 128,
    IfSignedLess32K = 129,
    IfSignedLess32X = 130,
    IfSignedLessOrEqual64K = 131,
    IfSignedLessOrEqual64X = 132,
    IfSignedLessOrEqual32K = 133,
    IfSignedLessOrEqual32X = 134,
}

/// <summary>
/// One instruction as the interpreter wants it, 16 bytes:
/// <code>
///   byte 0           1            2       3          4                8             16
///        | operation | destination | source | arguments | offset or target | immediate |
/// </code>
/// Registers are 0..10; a jump's target is the absolute index of a slot; the immediate is already sign- or zero-extended, a
/// shift count already masked.
/// </summary>
[StructLayout(LayoutKind.Sequential, Size = 16)]
internal struct DecodedInstruction
{
    public Operation Operation;
    public byte Destination;
    public byte Source;
    public byte ArgumentCount;
    public int Offset;
    public ulong Immediate;
}
