// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.IO.Hashing;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Exo.Core.DownloadedCode;

namespace Exo.Storage.XN;

/// <summary>Runs <c>approve</c> functions. Not thread-safe; allocates nothing once a template's function was compiled.</summary>
internal sealed class ApproveRunner
{
    private readonly byte[] _text = new byte[ApproveHelpers.TextBytesMax];

    /// <summary>Runs, for the tests.</summary>
    public long Runs { get; private set; }

    /// <summary>Whether a template approves of what would become of a unit. A unit that does not change is not looked at.</summary>
    /// <param name="template">A template with an <c>approve</c> function.</param>
    /// <param name="unitOffset">Where the unit begins in the block.</param>
    /// <param name="unit">The unit as it would be.</param>
    /// <param name="around">The block with all other changes, and the unit as it is.</param>
    /// <param name="guard">The guarding block.</param>
    public bool Approves(Template template, int unitOffset, ReadOnlySpan<byte> unit, ReadOnlySpan<byte> around, ReadOnlySpan<byte> guard)
    {
        ulong changes = Changes(around.Slice(unitOffset, unit.Length), unit);
        if (changes == 0)
        {
            return true;
        }

        Runs++;
        ApproveCalls calls = new(unitOffset, unit, around, guard, _text);
        VerifiedProgram approve = template.Approve!;
        ExecutionResult run = approve.Run(new ProgramInput(unit, around) { R4 = (ulong)unitOffset, R5 = changes }, ref calls, approve.InstructionsMax);
        return run.Status == ExecutionStatus.Completed && run.R0 != 0 && !calls.IsBroken;
    }

    /// <summary>Which 64ths of two units differ, a bit each.</summary>
    internal static ulong Changes(ReadOnlySpan<byte> before, ReadOnlySpan<byte> after)
    {
        ulong changes = 0;
        if (after.Length == 64 * sizeof(ulong))
        {
            ref ulong old = ref Unsafe.As<byte, ulong>(ref MemoryMarshal.GetReference(before[..after.Length]));
            ref ulong next = ref Unsafe.As<byte, ulong>(ref MemoryMarshal.GetReference(after));
            if (Vector512.IsHardwareAccelerated)
            {
                for (int i = 0; i < 64; i += Vector512<ulong>.Count)
                {
                    ulong same = Vector512.Equals(Vector512.LoadUnsafe(ref old, (nuint)i), Vector512.LoadUnsafe(ref next, (nuint)i)).ExtractMostSignificantBits();
                    changes |= (same ^ 0xFF) << i;
                }

                return changes;
            }

            for (int i = 0; i < 64; i += Vector256<ulong>.Count)
            {
                uint same = Vector256.Equals(Vector256.LoadUnsafe(ref old, (nuint)i), Vector256.LoadUnsafe(ref next, (nuint)i)).ExtractMostSignificantBits();
                changes |= (ulong)(same ^ 0xF) << i;
            }

            return changes;
        }

        int grain = after.Length / 64;
        for (int i = 0; i < 64; i++)
        {
            changes |= before.Slice(i * grain, grain).SequenceEqual(after.Slice(i * grain, grain)) ? 0 : 1UL << i;
        }

        return changes;
    }

    private ref struct ApproveCalls(int unitOffset, ReadOnlySpan<byte> unit, ReadOnlySpan<byte> around, ReadOnlySpan<byte> guard, Span<byte> text) : IHelperCalls
    {
        private readonly ReadOnlySpan<byte> _unit = unit;
        private readonly ReadOnlySpan<byte> _around = around;
        private readonly ReadOnlySpan<byte> _guard = guard;
        private readonly Span<byte> _text = text;
        private int _length;

        public bool IsBroken { get; private set; }

        public ulong Call(int helper, ulong r1, ulong r2, ulong r3, ulong r4, ulong r5)
        {
            switch (helper)
            {
                case ApproveHelpers.Guard when r1 <= 4096 - sizeof(ulong):
                    return BinaryPrimitives.ReadUInt64LittleEndian(_guard[(int)r1..]);
                case ApproveHelpers.Take:
                    Take(r1, r2);
                    return 0;
                case ApproveHelpers.Find:
                    return Find(r1, r2) ? 1UL : 0;
                case ApproveHelpers.Hash:
                    ulong hash = XxHash3.HashToUInt64(_text[.._length], unchecked((long)r1));
                    _length = 0;
                    return hash;
                case ApproveHelpers.Same:
                    return IsSame(r1, r2, r3) ? 1UL : 0;
                default:
                    IsBroken = true;
                    return 0;
            }
        }

        private void Take(ulong offset, ulong length)
        {
            if (!TryRange(offset, length, out ReadOnlySpan<byte> bytes) || bytes.Length > _text.Length - _length)
            {
                IsBroken = true;
                return;
            }

            bytes.CopyTo(_text[_length..]);
            _length += bytes.Length;
        }

        /// <summary>A number that is no byte is not found.</summary>
        private readonly bool Find(ulong left, ulong right) => _text[.._length].ContainsAny((byte)left, (byte)right) && (HasByte(left) || HasByte(right));

        private bool IsSame(ulong left, ulong right, ulong length)
        {
            if (TryRange(left, length, out ReadOnlySpan<byte> one) && TryRange(right, length, out ReadOnlySpan<byte> other))
            {
                return one.SequenceEqual(other);
            }

            IsBroken = true;
            return false;
        }

        private readonly bool HasByte(ulong value) => value <= byte.MaxValue && _text[.._length].Contains((byte)value);

        /// <summary>Bytes of the block as it would be.</summary>
        private readonly bool TryRange(ulong offset, ulong length, out ReadOnlySpan<byte> bytes)
        {
            bytes = default;
            if (offset > 4096 || length > 4096 - offset)
            {
                return false;
            }

            int from = (int)offset - unitOffset;
            int to = from + (int)length;
            if (to <= 0 || from >= _unit.Length)
            {
                bytes = _around.Slice((int)offset, (int)length);
                return true;
            }

            if (from < 0 || to > _unit.Length)
            {
                return false;
            }

            bytes = _unit[from..to];
            return true;
        }
    }
}
