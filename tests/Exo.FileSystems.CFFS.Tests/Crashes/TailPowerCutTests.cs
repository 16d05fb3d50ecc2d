// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Crashes;

/// <summary>
/// Contents reach the disk before the length that covers them. When the power fails in between they lie behind the end of the file, and must not come back from there when it is made longer by other means than writing them.
/// </summary>
public sealed class TailPowerCutTests
{
    [Theory]
    [InlineData(100, 100, 0)]
    [InlineData(500, 100, 0)]
    [InlineData(700, 100, 64)]
    [InlineData(1500, 100, 0)]
    [InlineData(3000, 500, 0)]
    [InlineData(3000, 500, 64)]
    [InlineData(9000, 500, 0)]
    public void What_a_cut_append_has_left_behind_the_end_does_not_come_back(int lengthBytes, int appendedBytes, int logBlocks)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using SimulatedBlockDevice made = new(frames, DiskContents.Zeroes(1024));
        using (CffsVolume volume = CffsVolume.Create(made, new CffsCreateOptions { Seed = 1, LogBlocks = logBlocks }))
        {
            foreach (string name in (string[])["a", "b", "c"])
            {
                volume.WriteAllBytes(name, Enumerable.Repeat((byte)1, lengthBytes).ToArray());
            }
        }

        using SimulatedBlockDevice disk = new(frames, made.Snapshot(), recorded: true);
        using (CffsVolume volume = CffsVolume.Open(disk, new CffsOpenOptions { BehindFromBytes = 4096 }))
        {
            foreach (string name in (string[])["a", "b", "c"])
            {
                using CffsFile file = volume.OpenFile(name, CffsOpenMode.Write);
                file.Append(Enumerable.Repeat((byte)2, appendedBytes).ToArray());
                volume.Sync();
            }
        }

        int cut = 0;
        foreach (CrashState state in CrashStates.EnumerateBounded(disk.Recording!, new BoundedCrashOptions { Seed = 1 }))
        {
            using FramePool few = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
            using SimulatedBlockDevice after = new(few, state.Contents);
            using CffsVolume volume = CffsVolume.Open(after);
            for (int i = 0; i < 3; i++)
            {
                string name = ((string[])["a", "b", "c"])[i];
                long length = volume.Stat(name).Size;
                cut += length == lengthBytes ? 1 : 0;
                using CffsFile file = volume.OpenFile(name, CffsOpenMode.Write);
                if (i < 2)
                {
                    file.SetLength(length + 200);
                }
                else
                {
                    file.Write(length + 199, [0]);
                }

                byte[] bytes = volume.ReadAllBytes(name);
                Assert.True(!bytes.AsSpan((int)length).ContainsAnyExcept((byte)0), $"{state.Description}: {name}, {length} bytes long, has something behind its end");
            }
        }

        Assert.True(cut > 10, $"{cut}");
    }
}
