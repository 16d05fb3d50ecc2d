// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;

namespace Exo.Adapters.FileProvider.Tests;

/// <summary>A volume in memory.</summary>
internal sealed class MemoryVolume : IDisposable
{
    private readonly FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
    private readonly MemoryBlockDevice disk;

    public MemoryVolume()
    {
        disk = new MemoryBlockDevice(frames, blockCount: 8192);
        Volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
    }

    public CffsVolume Volume { get; }

    public void Write(string path, string text) => Volume.ReplaceAllBytes(path, Encoding.UTF8.GetBytes(text));

    public void Dispose()
    {
        Volume.Dispose();
        disk.Dispose();
        frames.Dispose();
    }
}
