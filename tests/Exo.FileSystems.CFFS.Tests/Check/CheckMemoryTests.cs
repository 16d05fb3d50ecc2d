// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Check;

/// <summary>Memory of the whole process is looked at: nothing else may run meanwhile.</summary>
[CollectionDefinition("memory of the process", DisableParallelization = true)]
public sealed class MemoryOfTheProcess;

/// <summary>A check keeps of each name what <see cref="CffsCheck"/> says, also where a directory has very many of them.</summary>
[Collection("memory of the process")]
public sealed class CheckMemoryTests
{
    private const int Names = 200_000;

    [Fact]
    public void A_directory_of_two_hundred_thousand_names_takes_the_memory_that_is_stated()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 96 << 20 });
        using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(32_768));
        using (CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 }))
        {
            volume.CreateDirectory("/many");
            for (int i = 0; i < Names; i++)
            {
                // Long names: kept, they would show.
                volume.WriteAllBytes($"/many/a name of which nobody can say that it were a short one, number {i}", ReadOnlyMemory<byte>.Empty);
            }
        }

        long before = GC.GetTotalMemory(forceFullCollection: true);
        long most = 0;
        int looks = 0;
        CffsCheckReport report = CffsCheck.Run(disk, null, new Looking(() =>
        {
            if (looks++ % 40 == 0)
            {
                most = Math.Max(most, GC.GetTotalMemory(forceFullCollection: true) - before);
            }
        }));
        Assert.True(report.IsClean, string.Join('\n', report.Findings));
        Assert.Equal(Names, report.Files);
        Assert.True(looks > 100, $"{looks} looks");

        // Inodes, names, entries of the index; twice that, since lists and sets double when they are full, and both copies are there while they do; readers, and what there is once.
        long stated = (2 * Names * (40L + 8 + 8)) + (8 << 20) + (4 << 20);
        TestContext.Current.TestOutputHelper?.WriteLine($"{most / Names} bytes a name; stated {stated}, found {most}");
        Assert.True(most < stated, $"{most} bytes, {stated} are stated");
    }

    private sealed class Looking(Action look) : IProgress<CffsCheckProgress>
    {
        public void Report(CffsCheckProgress value) => look();
    }
}
