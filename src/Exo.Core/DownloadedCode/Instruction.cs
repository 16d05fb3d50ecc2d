// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.DownloadedCode;

/// <summary>
/// One 64-bit eBPF instruction as RFC 9669, section 3 lays it out (little-endian). A 128-bit instruction (<c>lddw</c>) takes
/// two consecutive ones.
/// <code>
///   bit 0        8    12   16               32                              64
///       | opcode | dst | src | offset (s16)  | immediate (s32)               |
/// </code>
/// </summary>
[StructLayout(LayoutKind.Sequential, Pack = 1, Size = SizeBytes)]
public readonly record struct Instruction
{
    /// <summary>Size of one encoded instruction slot, in bytes.</summary>
    public const int SizeBytes = 8;

    private readonly byte opcode;
    private readonly byte registers;
    private readonly short offset;
    private readonly int immediate;

    /// <summary>Makes an instruction from its fields; no field is judged here, that is the verifier's part.</summary>
    /// <param name="opcode">Operation, source bit and class in one byte; see <see cref="Opcodes"/>.</param>
    /// <param name="destination">Destination register, 0..15 (only 0..10 exist).</param>
    /// <param name="source">Source register, 0..15, or the sub-kind of a call or of <c>lddw</c>.</param>
    /// <param name="offset">Memory offset in bytes, or jump distance in instruction slots, or operation variant.</param>
    /// <param name="immediate">Immediate operand.</param>
    public Instruction(byte opcode, int destination = 0, int source = 0, short offset = 0, int immediate = 0)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)destination, 15u, nameof(destination));
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)source, 15u, nameof(source));
        this.opcode = opcode;
        registers = (byte)(destination | (source << 4));
        this.offset = offset;
        this.immediate = immediate;
    }

    /// <summary>The opcode byte: three bits of class, then operation or mode and size.</summary>
    public byte Opcode => opcode;

    /// <summary>Destination register field, 0..15.</summary>
    public int Destination => registers & 15;

    /// <summary>Source register field, 0..15.</summary>
    public int Source => registers >> 4;

    /// <summary>Signed 16-bit offset field.</summary>
    public short Offset => offset;

    /// <summary>Signed 32-bit immediate field.</summary>
    public int Immediate => immediate;

    /// <summary>The class bits of the opcode (RFC 9669, section 3.3).</summary>
    public int Class => opcode & Opcodes.ClassMask;

    /// <summary>True when this is the first slot of a 128-bit instruction.</summary>
    public bool IsWide => opcode == Opcodes.LoadImmediate64;

    /// <summary>The textual form, as <see cref="Disassembler"/> prints one slot.</summary>
    public override string ToString() => Disassembler.Format(this, default, -1);
}
