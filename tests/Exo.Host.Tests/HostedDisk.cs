// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;
using Exo.Storage.XN;

namespace Exo.Host.Tests;

/// <summary>A host in this process, on a disk in memory; clients attach to it as they would from another.</summary>
internal sealed class HostedDisk : IDisposable
{
    private readonly FramePool _frames;
    private readonly MemoryBlockDevice _memory;
    private readonly BlockDevice _device;

    public HostedDisk(
        int blocksPerClient = 64, int framesPerClient = 64, int clients = 4, Func<HostPeer, Capability?>? admit = null, int? clientsPerUser = null, long? diskBlocksPerUser = null, int? requestsPerSecond = null,
        Func<HostPeer, int>? diskWeight = null, long diskBytesUnderWay = 1 << 20, TimeProvider? time = null, Func<BlockDevice, BlockDevice>? through = null, int? logBlocks = null, long poolBytes = 32 << 20)
    {
        _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = poolBytes });
        _memory = new MemoryBlockDevice(_frames, blockCount: 4096);
        XnVolume.Format(_memory, new XnFormatOptions { LogBlocks = logBlocks }).Dispose();
        _device = through?.Invoke(_memory) ?? _memory;
        SocketPath = Path.Combine(Path.GetTempPath(), $"exo-host-{Guid.NewGuid():N}");
        Server = HostServer.Start(_device, new HostServerOptions
        {
            SocketPath = SocketPath,
            BlocksPerClient = blocksPerClient,
            FramesPerClient = framesPerClient,
            ClientsMax = clients,
            Admit = admit,
            ClientsPerUser = clientsPerUser,
            DiskBlocksPerUser = diskBlocksPerUser,
            RequestsPerSecond = requestsPerSecond,
            DiskWeight = diskWeight,
            DiskBytesUnderWay = diskBytesUnderWay,
            Time = time ?? TimeProvider.System,
        });
    }

    public HostServer Server { get; }

    public string SocketPath { get; }

    public FramePool Frames => _frames;

    /// <summary>16-byte entries { first block u64, count u32, in use u32 }, each a partition; items may be lists again ("list" owns "list" by in use = 2).</summary>
    public static TemplateSource[] Templates { get; } =
    [
        new TemplateSource
        {
            Name = "list",
            ReadSetBytes = 16,
            Partitions = [new PartitionGroup(0, 16, 100)],
            Children = ["items", "list"],
            Acl = Assembler.Assemble("mov r0, 1\nexit"),
            Owns = Assembler.Assemble("""
                    ldxw r3, [r1+12]
                    jeq r3, 0, done
                    ldxw r2, [r1+8]
                    ldxdw r1, [r1+0]
                    add r3, -1
                    and r3, 1
                    call 1
                done:
                    mov r0, 0
                    exit
                """),
        },
        new TemplateSource { Name = "items", Flags = TemplateFlags.InitialiseFirst },
    ];

    public HostClient Attach() => HostClient.Attach(SocketPath);

    public static byte[] Entry(BlockExtent extent, uint inUse = 1) => [.. BitConverter.GetBytes(extent.First.Value), .. BitConverter.GetBytes(extent.Count), .. BitConverter.GetBytes(inUse)];

    /// <summary>Waits until a number of clients are attached, cleaned up after included.</summary>
    public void WaitFor(int clients) =>
        Assert.True(SpinWait.SpinUntil(() => Server.Clients == clients, 30_000), $"{Server.Clients} clients are attached");

    public void Dispose()
    {
        Server.Dispose();
        _device.Dispose();
        _memory.Dispose();
        _frames.Dispose();
    }
}
