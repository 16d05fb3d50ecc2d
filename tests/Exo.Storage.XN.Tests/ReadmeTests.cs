// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;

namespace Exo.Storage.XN.Tests;

/// <summary>The package page's sample is this method's text, and it runs.</summary>
public sealed class ReadmeTests
{
    [Fact]
    public void The_sample_does_what_it_says() => Assert.Equal((XnStatus.TypeError, XnStatus.Ok), Sample());

    [Fact]
    public void The_sample_on_the_page_is_the_one_that_runs()
    {
        string here = ThisFile();
        string page = File.ReadAllText(Path.Combine(Path.GetDirectoryName(here)!, "../../src/Exo.Storage.XN/README.md"));
        string sample = Regex.Match(page, "```csharp\n(.*?)```", RegexOptions.Singleline).Groups[1].Value;
        string method = Regex.Match(File.ReadAllText(here), "// sample\n(.*?)// end", RegexOptions.Singleline).Groups[1].Value;
        Assert.Equal(Lines(sample), Lines(method));
    }

    private static (XnStatus Lie, XnStatus Truth) Sample()
    {
        // sample
        using FramePool frames = FramePool.Create();
        using BlockDevice disk = new MemoryBlockDevice(frames, blockCount: 1024);
        using XnVolume volume = XnVolume.Format(disk);
        Credential key = frames.RootCredential;

        // A list: one block whose 16-byte entries are { first block u64, count u32, in use u32 }.
        TemplateId[] templates = volume.InstallTemplates(key,
        [
            new TemplateSource
            {
                Name = "list", ReadSetBytes = 16, Partitions = [new PartitionGroup(0, 16, 100)], Children = ["items"],
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
            },
            new TemplateSource { Name = "items", Flags = TemplateFlags.InitialiseFirst },
        ]);
        BlockNumber list = volume.CreateRoot(key, templates[0], hint: default, contents: default);

        // Entry 7 gets two blocks that we choose ourselves. The bytes say it, the claim says it, owns says it.
        BlockExtent items = new(new BlockNumber(900), 2);
        byte[] entry = [.. BitConverter.GetBytes(items.First.Value), .. BitConverter.GetBytes(items.Count), .. BitConverter.GetBytes(1)];
        XnTransaction change = new();
        change.Write(list, offsetBytes: 7 * 16, entry);
        XnStatus lie = volume.Apply(key, change);           // TypeError: a pointer came without a claim
        change.ClaimAllocate(items, templates[1], list, partition: 7);
        XnStatus truth = volume.Apply(key, change);         // Ok
        // end
        return (lie, truth);
    }

    private static string[] Lines(string text) => [.. text.Split('\n').Select(line => line.Trim()).Where(line => line.Length > 0)];

    private static string ThisFile([CallerFilePath] string path = "") => path;
}
