// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;
using Exo.Storage.XN;

namespace Exo.EndToEnd.Tests;

/// <summary>The format of the samples, as in the package page of XN: a block of 16-byte entries { first block u64, count u32, in use u32 }.</summary>
internal static class ListTemplate
{
    public static TemplateSource Of(string child) => new()
    {
        Name = "list",
        ReadSetBytes = 16,
        Partitions = [new PartitionGroup(0, 16, 100)],
        Children = [child],
        Acl = Assembler.Assemble("mov r0, 1\nexit"),
        Owns = Assembler.Assemble("""
                ldxw r3, [r1+12]
                jeq r3, 0, done
                ldxw r2, [r1+8]
                ldxdw r1, [r1+0]
                mov r3, 0
                call 1
            done:
                mov r0, 0
                exit
            """),
    };
}
