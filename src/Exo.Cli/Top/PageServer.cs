// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Memory;
using Exo.Net.Cheetah;

namespace Exo.Cli.Top;

/// <summary>The page on the web: a Cheetah server with a few frames of its own, so that whoever looks takes none from those that are looked at.</summary>
internal sealed class PageServer : IDisposable
{
    private const long FramesBytes = 16 << 20;
    private const int ConnectionsMax = 64;
    private readonly FramePool _frames;
    private readonly CheetahServer _server;

    private PageServer(FramePool frames, CheetahServer server)
    {
        _frames = frames;
        _server = server;
    }

    /// <summary>Where it is.</summary>
    public string Url => $"http://{_server.EndPoint}/";

    /// <summary>Serves what <paramref name="look"/> gives (<see cref="SnapshotPage"/>).</summary>
    public static PageServer Start(IPEndPoint endPoint, Func<CancellationToken, Task<byte[]>> look)
    {
        FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = FramesBytes, LargePages = false });
        CheetahServer server = new(new CheetahServerOptions { EndPoint = endPoint, ConnectionsMax = ConnectionsMax }, new SnapshotPage(look), frames);
        try
        {
            server.Start();
            return new PageServer(frames, server);
        }
        catch
        {
            frames.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        _server.StopAsync(TimeSpan.Zero).GetAwaiter().GetResult();
        _frames.Dispose();
    }
}
