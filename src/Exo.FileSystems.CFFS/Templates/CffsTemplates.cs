// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Templates;

/// <summary>
/// What C-FFS teaches XN about its formats: eight templates whose <c>owns</c> functions follow docs/cffs-format.md, and the <c>acl</c> of the
/// superblock that guards the whole tree (blocks below have none of their own and follow their parent). What XN approves of in directories is in <see cref="SlotApproval"/>.
/// </summary>
internal static class CffsTemplates
{
    public const string SuperName = "cffs.super";
    public const string SlotsName = "cffs.slots";
    public const string FileTreeName = "cffs.file-tree";
    public const string DirectoryTreeName = "cffs.directory-tree";
    public const string DataName = "cffs.data";
    public const string IndexName = "cffs.index";
    public const string LogName = "cffs.log";
    public const string AttributesName = "cffs.attributes";

    /// <summary>
    /// A slot's read set is its first 24 bytes: kind, depth, slots, name length, count u32, start u64, attributes u64.
    /// Children: 0 data, 1 slots, 2 file tree, 3 directory tree, 4 attributes, 5 log. A packed file's depth is no tree's, and its count is 0: nothing is its own but its attributes.
    /// </summary>
    private static string SlotOwns(SlotKind last) => $"""
            mov r6, r1
            ldxb r7, [r6+0]
            jlt r7, 2, done
            jgt r7, {(int)last}, done
            jeq r7, 5, done
            jeq r7, 6, done
            ldxw r2, [r6+4]
            ldxdw r1, [r6+8]
            ldxb r8, [r6+1]
            jeq r7, 3, directory
            jeq r7, 7, log
            mov r3, 0
            jeq r8, 0, contents
            mov r3, 2
            ja contents
        log:
            mov r3, 5
            ja contents
        directory:
            mov r3, 1
            jeq r8, 0, contents
            mov r3, 3
        contents:
            call 1
            ldxdw r1, [r6+16]
            jeq r1, 0, done
            mov r2, 1
            mov r3, 4
            call 1
        done:
            mov r0, 0
            exit
        """;

    /// <summary>Entry: logical u64, start u64, count u32, kind u8. Children: 0 data, 1 self.</summary>
    private const string FileTreeOwns = """
            ldxb r7, [r1+20]
            ldxw r2, [r1+16]
            ldxdw r1, [r1+8]
            mov r3, 0
            jeq r7, 1, emit
            mov r3, 2
            jeq r7, 4, emit
            mov r3, 1
            jeq r7, 2, emit
            mov r0, 0
            exit
        emit:
            call 1
            mov r0, 0
            exit
        """;

    /// <summary>Children: 0 slots, 1 self, 2 index.</summary>
    private const string DirectoryTreeOwns = """
            ldxb r7, [r1+20]
            ldxw r2, [r1+16]
            ldxdw r1, [r1+8]
            mov r3, 0
            jeq r7, 1, emit
            mov r3, 1
            jeq r7, 2, emit
            mov r3, 2
            jeq r7, 3, emit
            mov r0, 0
            exit
        emit:
            call 1
            mov r0, 0
            exit
        """;

    /// <summary>
    /// Grants a capability whose name is a prefix of the guard name in sector 3. Context: operation, rights wanted, offset, length,
    /// capability rights, name length (all u32), name bytes. Name bytes beyond the guard are compared against zero padding after a length test.
    /// </summary>
    private static string SuperAcl()
    {
        int guard = (Superblock.GuardSector * Sector.SizeBytes) + VolumeGuard.GuardLengthOffset;
        int name = (Superblock.GuardSector * Sector.SizeBytes) + VolumeGuard.GuardNameOffset;
        System.Text.StringBuilder text = new();
        text.AppendLine($"""
                mov r6, r1
                mov r7, r3
                mov r0, 0
                ldxw r2, [r7+4]
                ldxw r3, [r7+16]
                mov r4, r2
                and r4, r3
                jne r4, r2, done
                ldxw r8, [r7+20]
                ldxw r9, [r6+{guard}]
                jgt r8, r9, done
                jgt r8, {VolumeGuard.GuardNameBytesMax}, done
            """);
        for (int i = 0; i < VolumeGuard.GuardNameBytesMax; i++)
        {
            text.AppendLine($"""
                    jle r8, {i}, grant
                    ldxb r2, [r7+{24 + i}]
                    ldxb r3, [r6+{name + i}]
                    jne r2, r3, done
                """);
        }

        text.AppendLine("""
            grant:
                mov r0, 1
            done:
                exit
            """);
        return text.ToString();
    }

    /// <summary>The <c>owns</c> function of records and packs.</summary>
    public static Program SlotOwnsWithPacks { get; } = Assembler.Assemble(SlotOwns(SlotKind.Pack));

    /// <summary>All templates, to be installed as one batch.</summary>
    /// <param name="sharesData">Whether contents may have several owners. Volumes made before there were such have the same template without the flag, for good.</param>
    /// <param name="hasPacks">Whether a sector's files may share a block of contents. As for <paramref name="sharesData"/>.</param>
    /// <param name="guardsNames">Whether XN approves of records and names. As for <paramref name="sharesData"/>.</param>
    public static TemplateSource[] Create(bool sharesData = true, bool hasPacks = true, bool guardsNames = true)
    {
        Program slotOwns = hasPacks ? SlotOwnsWithPacks : Assembler.Assemble(SlotOwns(SlotKind.Log));
        string[] slotChildren = [DataName, SlotsName, FileTreeName, DirectoryTreeName, AttributesName, LogName];
        PartitionGroup[] tree = new PartitionGroup[Sector.PerBlock];
        PartitionGroup[] slots = new PartitionGroup[Sector.PerBlock];
        for (int sector = 0; sector < Sector.PerBlock; sector++)
        {
            tree[sector] = new PartitionGroup(sector * Sector.SizeBytes, TreeEntry.SizeBytes, TreeNode.EntriesPerSector);
            slots[sector] = new PartitionGroup(sector * Sector.SizeBytes, Slot.SizeBytes, Slot.PerSector);
        }

        return
        [
            new TemplateSource
            {
                Name = SuperName,
                ReadSetBytes = Slot.ReadSetBytes,
                Partitions = [new PartitionGroup(Superblock.RecordSector * Sector.SizeBytes, Slot.SizeBytes, Slot.PerSector)],
                Owns = slotOwns,
                Acl = Assembler.Assemble(SuperAcl()),
                Children = slotChildren,
            },
            new TemplateSource
            {
                Name = SlotsName,
                ReadSetBytes = Slot.ReadSetBytes,
                Partitions = slots,
                Owns = slotOwns,
                Approve = guardsNames ? SlotApproval.Program : null,
                ApproveUnitBytes = guardsNames ? Sector.SizeBytes : 0,
                Children = slotChildren,
            },
            new TemplateSource
            {
                Name = FileTreeName,
                ReadSetBytes = TreeEntry.SizeBytes,
                Partitions = tree,
                Owns = Assembler.Assemble(FileTreeOwns),
                Children = [DataName, FileTreeName, LogName],
            },
            new TemplateSource
            {
                Name = DirectoryTreeName,
                ReadSetBytes = TreeEntry.SizeBytes,
                Partitions = tree,
                Owns = Assembler.Assemble(DirectoryTreeOwns),
                Children = [SlotsName, DirectoryTreeName, IndexName],
            },
            new TemplateSource { Name = DataName, Flags = sharesData ? TemplateFlags.InitialiseFirst | TemplateFlags.Counted : TemplateFlags.InitialiseFirst },
            new TemplateSource { Name = IndexName },
            new TemplateSource { Name = LogName },
            new TemplateSource { Name = AttributesName, Flags = TemplateFlags.InitialiseFirst },
        ];
    }
}
