// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Blocks.Nbd;
using Exo.Core.Memory;

namespace Exo.Core.Tests.Blocks.Nbd;

/// <summary>What names an export, and what only looks as if it did.</summary>
public sealed class NbdUriTests
{
    [Theory]
    [InlineData("nbd://host/a%20b", "host", 10809, null, "a b", false)]
    [InlineData("nbd://10.0.0.1:99", "10.0.0.1", 99, null, "", false)]
    [InlineData("nbds://[::1]:5/x/y", "::1", 5, null, "x/y", true)]
    [InlineData("nbd+unix:///?socket=/run/s", "", 10809, "/run/s", "", false)]
    [InlineData("nbds+unix:///e?socket=/a%20b", "", 10809, "/a b", "e", true)]
    public void A_URI_says_where_and_what(string text, string host, int port, string? socket, string export, bool isTls)
    {
        NbdUri uri = NbdUri.Parse(text);
        Assert.Equal((host, port, socket, export, isTls), (uri.Host, uri.Port, uri.SocketPath, uri.Export, uri.IsTls));
    }

    [Theory]
    [InlineData("nbd://")]
    [InlineData("nbd://host:99999/")]
    [InlineData("nbd://host/e?socket=/s")]
    [InlineData("nbd://host/e?tls=yes")]
    [InlineData("nbd://host/e#1")]
    [InlineData("nbd://user@host/e")]
    [InlineData("nbd+unix:///e")]
    [InlineData("nbd+unix://host/e?socket=/s")]
    [InlineData("nbd+unix:///e?socket=")]
    public void What_is_not_understood_is_refused(string text)
    {
        using FramePool pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 16 });
        Assert.Equal(22, Assert.Throws<BlockDeviceException>(() => BlockDevice.Open(text, pool)).Errno);
    }

    [Fact]
    public void Options_that_an_export_cannot_have_are_refused()
    {
        using FramePool pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 16 });
        const string uri = "nbd://127.0.0.1:1/";
        Assert.Equal(95, Assert.Throws<BlockDeviceException>(() => BlockDevice.Open(uri, pool, new BlockDeviceOptions { Partition = "1" })).Errno);
        Assert.Equal(95, Assert.Throws<BlockDeviceException>(() => BlockDevice.Open(uri, pool, new BlockDeviceOptions { Driver = BlockDriver.IoUring })).Errno);
        Assert.Throws<ArgumentException>(() => BlockDevice.Open(uri, pool, new BlockDeviceOptions { Create = true, CreateBytes = 4096 }));
        Assert.Equal(111, Assert.Throws<BlockDeviceException>(() => BlockDevice.Open(uri, pool)).Errno);
    }
}
