// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Exo.Core.DownloadedCode;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Templates;

/// <summary>
/// The <c>approve</c> function of <c>cffs.slots</c>: names are protected by XN, not only by who writes them. It judges one sector at a time, and of its records those that change.
/// What it demands is in docs/cffs-format.md, "What XN approves of":
/// the slots make records; a record's kind, mode, inode number, size and inline contents fit one another; its name is legal and its hash the name's; and if another record in the block has
/// the name, the volume is open for writing and the name sequence tells which of the two it is.
/// </summary>
internal static class SlotApproval
{
    private const int SectorMask = FrameBytes - Sector.SizeBytes;
    private const int FrameBytes = Sector.PerBlock * Sector.SizeBytes;
    private const int GuardSector = Superblock.GuardSector * Sector.SizeBytes;
    private const int FirstPiece = Slot.HeadContentBytes;
    private const int TwoPieces = Slot.HeadContentBytes + Slot.ContinuationContentBytes;

    // Where the three pieces of a name begin in a record.
    private const int SecondPlace = Slot.SizeBytes + 1;
    private const int ThirdPlace = (2 * Slot.SizeBytes) + 1;

    /// <summary>Verified by XN against <see cref="TemplateContracts.Approve"/> for units of a sector.</summary>
    public static Program Program { get; } = Assembler.Assemble(Source());

    private static string Source()
    {
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"""
                mov r6, r1
                mov r7, r3
                and r4, {SectorMask}
                stxdw [r10-8], r4
                stxdw [r10-16], r5
                # r8: whether the sector holds anything; r9: slots that must be continuations
                mov r8, 0
                mov r9, 0

            """);
        for (int slot = 0; slot < Slot.PerSector; slot++)
        {
            int at = slot * Slot.SizeBytes;
            text.Append(CultureInfo.InvariantCulture, $"""
                slot{slot}:
                    ldxb r1, [r6+{at + Slot.Kind}]
                    jeq r9, 0, begin{slot}
                    jne r1, {(int)SlotKind.Continuation}, refuse
                    add r9, -1
                    ja slot{slot + 1}
                begin{slot}:
                    jeq r1, {(int)SlotKind.Free}, slot{slot + 1}
                    mov r8, 1
                    jeq r1, {(int)SlotKind.Pack}, slot{slot + 1}
                    jlt r1, {(int)SlotKind.File}, refuse
                    jgt r1, {(int)SlotKind.ExternalLink}, refuse
                    ldxb r9, [r6+{at + Slot.Slots}]
                    add r9, -1
                    jgt r9, {Slot.PerSector - 1 - slot}, refuse
                    lddw r2, {Words(slot, 1)}
                    jeq r9, 0, head{slot}
                    lddw r2, {Words(slot, Slot.PerSector - slot)}
                head{slot}:
                    ldxdw r1, [r10-16]
                    and r1, r2
                    jeq r1, 0, slot{slot + 1}
                    mov r1, r6
                    mov r2, r7
                    ldxdw r3, [r10-8]
                    mov r4, {at}
                    call local record
                    jne r0, 0, refuse

                """);
        }

        // The owner: one for all sectors of the block that hold anything, this one's place as it was among them.
        text.Append(CultureInfo.InvariantCulture, $"""
            slot{Slot.PerSector}:
                jne r9, 0, refuse
                ldxdw r1, [r6+{Sector.Owner}]
                jne r1, 0, owned
                jne r8, 0, refuse
                ja approve
            owned:
                ldxw r2, [r6+{Sector.Magic}]
                jne r2, {(uint)SectorKind.Slots}, refuse

            """);
        for (int sector = 0; sector < Sector.PerBlock; sector++)
        {
            text.Append(CultureInfo.InvariantCulture, $"""
                    ldxdw r2, [r7+{(sector * Sector.SizeBytes) + Sector.Owner}]
                    jeq r2, 0, +1
                    jne r2, r1, refuse

                """);
        }

        text.Append("""
            approve:
                mov r0, 1
                exit
            refuse:
                mov r0, 0
                exit

            """);
        text.Append(RecordFunction());
        text.Append(TwinFunction());
        return text.ToString();
    }

    /// <summary>The 64ths of a sector that a run of slots lies in, as bits.</summary>
    private static string Words(int slot, int count)
    {
        int first = slot * Slot.SizeBytes / 8;
        int end = (((slot + count) * Slot.SizeBytes) + 7) / 8;
        ulong words = (ulong.MaxValue >> (64 - (end - first))) << first;
        return string.Create(CultureInfo.InvariantCulture, $"0x{words:x}");
    }

    /// <summary>record(sector, block, the sector's offset in the block, the slot's offset in the sector): 0 when the record is legal.</summary>
    private static string RecordFunction() => string.Create(CultureInfo.InvariantCulture, $"""
        record:
            stxdw [r10-8], r1
            ldxdw r5, [r1+{Sector.Owner}]
            mov r6, r1
            add r6, r4
            mov r7, r2
            mov r8, r3
            add r8, r4
            ldxb r9, [r6+{Slot.NameLength}]
            # as many slots as name and inline contents need: {Slot.ContinuationContentBytes} n - {Slot.ContinuationContentBytes - FirstPiece} is room for, and one slot less is not
            ldxh r1, [r6+{Slot.InlineLength}]
            mov r4, r9
            add r4, r1
            add r4, {Slot.ContinuationContentBytes - FirstPiece}
            ldxb r3, [r6+{Slot.Slots}]
            mul r3, {Slot.ContinuationContentBytes}
            jgt r4, r3, bad
            add r4, {Slot.ContinuationContentBytes}
            jle r4, r3, bad
            ldxdw r2, [r6+{Slot.Inode}]
            lddw r3, 0x{~Superblock.SnapshotInodes:x}
            and r2, r3
            jlt r2, {Superblock.FirstInode}, bad
            ldxdw r2, [r6+{Slot.Size}]
            jslt r2, 0, bad
            ldxw r3, [r6+{Slot.Count}]
            jeq r1, 0, kind
            jne r1, r2, bad
            jne r3, 0, bad
        kind:
            ldxb r4, [r6+{Slot.Kind}]
            ldxb r0, [r6+{Slot.Depth}]
            jne r0, {Pack.Depth}, whole
            # packed: contents in sectors of the pack, and in nothing else
            jne r4, {(int)SlotKind.File}, bad
            jne r3, 0, bad
            jne r1, 0, bad
            ldxdw r3, [r6+{Slot.Start}]
            jge r3, {Sector.PerBlock}, bad
            jeq r2, 0, bad
            jgt r2, {Pack.BytesMax}, bad
            mul r3, {Sector.SizeBytes}
            add r3, r2
            jgt r3, {FrameBytes}, bad
        whole:
            # r0: the types that the mode may have, a bit each
            mov r0, {TypeBit(ModeBits.File)}
            jeq r4, {(int)SlotKind.File}, type
            mov r0, {TypeBit(ModeBits.SymbolicLink)}
            jeq r4, {(int)SlotKind.SymbolicLink}, type
            jne r1, 0, bad
            mov r0, {TypeBit(ModeBits.CharacterDevice) | TypeBit(ModeBits.BlockDevice) | TypeBit(ModeBits.Fifo) | TypeBit(ModeBits.Socket)}
            jeq r4, {(int)SlotKind.Special}, type
            jeq r5, {Superblock.ExternalInode}, bad
            mov r0, {TypeBit(ModeBits.Directory)}
            jeq r4, {(int)SlotKind.Directory}, type
            ja name
        type:
            ldxh r3, [r6+{Slot.Mode}]
            rsh r3, 12
            rsh r0, r3
            and r0, 1
            jeq r0, 0, bad
        name:
            jne r5, {Superblock.ExternalInode}, named
            jne r9, 0, bad
            ja good
        named:
            jeq r9, 0, bad
            jgt r9, 2, spell
            ldxh r1, [r6+{Slot.Contents}]
            jeq r9, 2, dots
            and r1, 255
            jeq r1, {(int)'.'}, bad
        dots:
            jeq r1, {'.' | ('.' << 8)}, bad
        spell:
            mov r1, r8
            add r1, {Slot.Contents}
            mov r2, r9
            jle r2, {FirstPiece}, +1
            mov r2, {FirstPiece}
            call {ApproveHelpers.Take}
            jle r9, {FirstPiece}, spelled
            mov r1, r8
            add r1, {SecondPlace}
            mov r2, r9
            add r2, {-FirstPiece}
            jle r2, {Slot.ContinuationContentBytes}, +1
            mov r2, {Slot.ContinuationContentBytes}
            call {ApproveHelpers.Take}
            jle r9, {TwoPieces}, spelled
            mov r1, r8
            add r1, {ThirdPlace}
            mov r2, r9
            add r2, {-TwoPieces}
            call {ApproveHelpers.Take}
        spelled:
            mov r1, 0
            mov r2, {(int)'/'}
            call {ApproveHelpers.Find}
            jne r0, 0, bad
            mov r1, {GuardSector + VolumeGuard.HashSeedOffset}
            call {ApproveHelpers.Guard}
            mov r1, r0
            call {ApproveHelpers.Hash}
            lsh r0, 32
            rsh r0, 32
            ldxw r9, [r6+{Slot.NameHash}]
            jne r0, r9, bad
            # who else has the hash: in this sector as it would be
            ldxdw r4, [r10-8]
            mov r2, r8
            and r2, {SectorMask}
            stxdw [r10-16], r2
        {Candidates("own", "others")}
        others:
            # and in the block's other sectors: mostly nobody, so two at a time, and this one's place as it was among them
            mov r1, r7
            mov r2, 0
        pair:
        {Hashes()}
            add r1, {2 * Sector.SizeBytes}
            add r2, 2
            jlt r2, {Sector.PerBlock}, pair
            ja good
        somebody:
            mov r2, 0
        sector:
            ldxdw r1, [r10-16]
            jeq r1, r2, next
            ldxw r1, [r7+{Slot.NameHash}]
            jeq r1, r9, near
            ldxw r1, [r7+{Slot.SizeBytes + Slot.NameHash}]
            jeq r1, r9, near
            ldxw r1, [r7+{(2 * Slot.SizeBytes) + Slot.NameHash}]
            jeq r1, r9, near
            ldxw r1, [r7+{(3 * Slot.SizeBytes) + Slot.NameHash}]
            jeq r1, r9, near
        next:
            add r7, {Sector.SizeBytes}
            add r2, {Sector.SizeBytes}
            jlt r2, {FrameBytes}, sector
        good:
            mov r0, 0
            exit
        near:
            mov r4, r7
            stxdw [r10-24], r2
        {Candidates("near", "far")}
        far:
            ldxdw r2, [r10-24]
            ja next
        bad:
            mov r0, 1
            exit

        """);

    /// <summary>Leaves for <c>somebody</c> if one of the slots of the two sectors at r1 has the hash r9.</summary>
    private static string Hashes()
    {
        StringBuilder text = new();
        for (int slot = 0; slot < 2 * Slot.PerSector; slot++)
        {
            text.Append(CultureInfo.InvariantCulture, $"""
                    ldxw r3, [r1+{Slot.OffsetInBlock(slot) + Slot.NameHash}]
                    jeq r3, r9, somebody

                """);
        }

        return text.ToString();
    }

    /// <summary>Compares the record at r6, offset r8 in the block, with each of a sector's slots that has its hash, r9; the sector is at r4, offset r2.</summary>
    private static string Candidates(string label, string after)
    {
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"""
                stxdw [r10-32], r4
                stxdw [r10-40], r2

            """);
        for (int slot = 0; slot < Slot.PerSector; slot++)
        {
            int at = slot * Slot.SizeBytes;
            string next = slot == Slot.PerSector - 1 ? after : string.Create(CultureInfo.InvariantCulture, $"{label}{slot + 1}");
            text.Append(CultureInfo.InvariantCulture, $"""
                {label}{slot}:
                    ldxdw r4, [r10-32]
                    ldxw r1, [r4+{at + Slot.NameHash}]
                    jne r1, r9, {next}
                    add r4, {at}
                    ldxdw r2, [r10-40]
                    add r2, {at}
                    jeq r2, r8, {next}
                    mov r1, r8
                    mov r3, r6
                    call local twin
                    jne r0, 0, bad

                """);
        }

        return text.ToString();
    }

    /// <summary>
    /// twin(a record's offset in the block, another slot's, the record, the slot): 0 when that is no record of the same name, or one that may be there: only while the volume is open for
    /// writing is there a record whose name another has taken over, and then the serial order of their name sequences says which is which.
    /// </summary>
    private static string TwinFunction() => string.Create(CultureInfo.InvariantCulture, $"""
        twin:
            mov r6, r1
            mov r7, r2
            ldxb r5, [r4+{Slot.Kind}]
            jlt r5, {(int)SlotKind.File}, single
            jgt r5, {(int)SlotKind.Log}, single
            ldxb r9, [r3+{Slot.NameLength}]
            ldxb r5, [r4+{Slot.NameLength}]
            jne r5, r9, single
            ldxw r8, [r3+{Slot.NameSequence}]
            ldxw r5, [r4+{Slot.NameSequence}]
            sub32 r8, r5
            add r1, {Slot.Contents}
            add r2, {Slot.Contents}
            mov r3, r9
            jle r3, {FirstPiece}, +1
            mov r3, {FirstPiece}
            call {ApproveHelpers.Same}
            jeq r0, 0, single
            jle r9, {FirstPiece}, twins
            mov r1, r6
            add r1, {SecondPlace}
            mov r2, r7
            add r2, {SecondPlace}
            mov r3, r9
            add r3, {-FirstPiece}
            jle r3, {Slot.ContinuationContentBytes}, +1
            mov r3, {Slot.ContinuationContentBytes}
            call {ApproveHelpers.Same}
            jeq r0, 0, single
            jle r9, {TwoPieces}, twins
            mov r1, r6
            add r1, {ThirdPlace}
            mov r2, r7
            add r2, {ThirdPlace}
            mov r3, r9
            add r3, {-TwoPieces}
            call {ApproveHelpers.Same}
            jeq r0, 0, single
        twins:
            jeq r8, 0, both
            lsh r8, 1
            lsh r8, 32
            jeq r8, 0, both
            # of two states the one of the higher generation counts; 1 in its Clean: not open for writing
            mov r1, {VolumeState.GenerationOffset}
            call {ApproveHelpers.Guard}
            mov r6, r0
            mov r1, {Sector.SizeBytes + VolumeState.GenerationOffset}
            call {ApproveHelpers.Guard}
            mov r1, {VolumeState.CleanOffset}
            jle r0, r6, +1
            add r1, {Sector.SizeBytes}
            call {ApproveHelpers.Guard}
            lsh r0, 32
            jne r0, 0, both
        single:
            mov r0, 0
            exit
        both:
            mov r0, 1
            exit

        """);

    private static int TypeBit(ushort type) => 1 << (type >> 12);
}
