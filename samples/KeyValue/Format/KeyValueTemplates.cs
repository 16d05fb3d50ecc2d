// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;
using Exo.Storage.XN;

namespace KeyValue.Format;

/// <summary>
/// What the store teaches XN about its format. XN has to know one thing only: which blocks an entry of the manifest owns. What is in the log and in the tables is data to it.
/// </summary>
internal static class KeyValueTemplates
{
    public const string RootName = "kv.root";
    public const string LogName = "kv.log";
    public const string TableName = "kv.table";

    // An entry's first 16 bytes: start u64, count u32, kind u32. Children: 0 log, 1 table.
    private const string Owns = """
            ldxw r4, [r1+12]
            jeq r4, 0, done
            jgt r4, 3, done
            mov r3, 1
            jne r4, 1, emit
            mov r3, 0
        emit:
            ldxw r2, [r1+8]
            ldxdw r1, [r1+0]
            call 1
        done:
            mov r0, 0
            exit
        """;

    // Only who holds the root of all names, with the rights that are wanted. XN runs this once for each capability of the caller.
    private const string Acl = """
            mov r0, 0
            ldxw r2, [r3+4]
            ldxw r4, [r3+16]
            and r4, r2
            jne r4, r2, done
            ldxw r2, [r3+20]
            jne r2, 0, done
            mov r0, 1
        done:
            exit
        """;

    public static IReadOnlyList<TemplateSource> All { get; } =
    [
        new TemplateSource
        {
            Name = RootName,
            ReadSetBytes = Manifest.ReadSetBytes,
            Partitions = [new PartitionGroup(Manifest.EntriesOffset, Manifest.EntryBytes, Manifest.EntriesMax)],
            Owns = Assembler.Assemble(Owns),
            Acl = Assembler.Assemble(Acl),
            Children = [LogName, TableName],
        },
        new TemplateSource { Name = LogName },
        new TemplateSource { Name = TableName },
    ];
}
