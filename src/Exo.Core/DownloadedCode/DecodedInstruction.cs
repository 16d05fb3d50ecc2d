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

    // Atomic read-modify-write: without and with the old value fetched into the source register; 32 bits, then 64.
    AtomicAdd32 = 88,
    AtomicAdd64 = 89,
    AtomicOr32 = 90,
    AtomicOr64 = 91,
    AtomicAnd32 = 92,
    AtomicAnd64 = 93,
    AtomicXor32 = 94,
    AtomicXor64 = 95,
    AtomicFetchAdd32 = 96,
    AtomicFetchAdd64 = 97,
    AtomicFetchOr32 = 98,
    AtomicFetchOr64 = 99,
    AtomicFetchAnd32 = 100,
    AtomicFetchAnd64 = 101,
    AtomicFetchXor32 = 102,
    AtomicFetchXor64 = 103,
    AtomicExchange32 = 104,
    AtomicExchange64 = 105,
    AtomicCompareExchange32 = 106,
    AtomicCompareExchange64 = 107,

    // Control.
    Jump = 108,
    Call = 109,
    CallLocal = 110,
    Exit = 111,

    // Conditional jumps, four each.
    IfEqual64K = 112,
    IfEqual64X = 113,
    IfEqual32K = 114,
    IfEqual32X = 115,
    IfGreater64K = 116,
    IfGreater64X = 117,
    IfGreater32K = 118,
    IfGreater32X = 119,
    IfGreaterOrEqual64K = 120,
    IfGreaterOrEqual64X = 121,
    IfGreaterOrEqual32K = 122,
    IfGreaterOrEqual32X = 123,
    IfSet64K = 124,
    IfSet64X = 125,
    IfSet32K = 126,
    IfSet32X = 127,
    IfNotEqual64K = 128,
    IfNotEqual64X = 129,
    IfNotEqual32K = 130,
    IfNotEqual32X = 131,
    IfSignedGreater64K = 132,
    IfSignedGreater64X = 133,
    IfSignedGreater32K = 134,
    IfSignedGreater32X = 135,
    IfSignedGreaterOrEqual64K = 136,
    IfSignedGreaterOrEqual64X = 137,
    IfSignedGreaterOrEqual32K = 138,
    IfSignedGreaterOrEqual32X = 139,
    IfLess64K = 140,
    IfLess64X = 141,
    IfLess32K = 142,
    IfLess32X = 143,
    IfLessOrEqual64K = 144,
    IfLessOrEqual64X = 145,
    IfLessOrEqual32K = 146,
    IfLessOrEqual32X = 147,
    IfSignedLess64K = 148,
    IfSignedLess64X = 149,
    IfSignedLess32K = 150,
    IfSignedLess32X = 151,
    IfSignedLessOrEqual64K = 152,
    IfSignedLessOrEqual64X = 153,
    IfSignedLessOrEqual32K = 154,
    IfSignedLessOrEqual32X = 155,
}

/// <summary>
/// One instruction as the interpreter wants it, 16 bytes:
/// <code>
///   byte 0           1            2       3          4                8             16
///        | operation | destination | source | arguments | offset or target | immediate |
/// </code>
/// Registers are 0..10; the target of a jump or local call is the absolute index of a slot; the immediate is already sign- or zero-extended, a
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
