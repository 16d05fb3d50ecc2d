// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Exo.Core.Blocks;
using Exo.Core.Blocks.Nbd;
using Exo.Core.Memory;
using Exo.Core.Tests.Blocks;

namespace Exo.Core.Tests;

/// <summary>The package page's sample is this method's text, and it runs.</summary>
public sealed class ReadmeTests
{
    [Fact]
    public async Task The_sample_does_what_it_says()
    {
        string image = TestDisk.NewPath();
        try
        {
            Assert.Matches("^42 through (io_uring|pread), direct: (True|False)$", await Sample(image));
        }
        finally
        {
            File.Delete(image);
        }
    }

    [Fact]
    public void The_sample_on_the_page_is_the_one_that_runs()
    {
        string here = ThisFile();
        string page = File.ReadAllText(Path.Combine(Path.GetDirectoryName(here)!, "../../src/Exo.Core/README.md"));
        string code = File.ReadAllText(here);
        string sample = Regex.Match(page, "```csharp\n(.*?)```", RegexOptions.Singleline).Groups[1].Value.Replace("\"disk.img\"", "image", StringComparison.Ordinal);
        string method = Regex.Match(code, "// sample\n(.*?)// end", RegexOptions.Singleline).Groups[1].Value;
        Assert.Equal(Lines(sample.Replace("Console.WriteLine(", "return ", StringComparison.Ordinal).Replace("}\");", "}\";", StringComparison.Ordinal)), Lines(method));
    }

    private static async Task<string> Sample(string image)
    {
        // sample
        using FramePool frames = FramePool.Create();
        using BlockDevice disk = BlockDevice.Open(image, frames, new BlockDeviceOptions { Create = true, CreateBytes = 64 << 20 });

        frames.TryAllocateRun(frames.RootCredential, count: 2, out FrameNumber first);
        FrameNumber[] two = [first, new FrameNumber(first.Value + 1)];
        frames.Bytes(first, 2).Fill(42);

        disk.Execute([BlockRequest.Write(new BlockNumber(7), two)]);     // on this thread, one system call
        disk.Flush();                                                    // now it is durable

        frames.Bytes(first, 2).Clear();
        await disk.ExecuteAsync(new[] { BlockRequest.Read(new BlockNumber(7), two) });
        return $"{frames.Bytes(first)[0]} through {disk.Geometry.Driver}, direct: {disk.Geometry.IsDirect}";
        // end
    }

    [Fact]
    public void The_sample_of_a_remote_disk_does_what_it_says()
    {
        string socket = Blocks.Nbd.NbdPeer.NewSocketPath();
        Assert.Equal("1024 blocks through nbd", RemoteSample(socket));
        string here = ThisFile();
        string page = File.ReadAllText(Path.Combine(Path.GetDirectoryName(here)!, "../../src/Exo.Core/README.md"));
        string sample = Regex.Matches(page, "```csharp\n(.*?)```", RegexOptions.Singleline)[1].Groups[1].Value
            .Replace("\"disk.sock\"", "socket", StringComparison.Ordinal)
            .Replace("\"nbd+unix:///?socket=disk.sock\"", "$\"nbd+unix:///?socket={socket}\"", StringComparison.Ordinal)
            .Replace("Console.WriteLine(", "return ", StringComparison.Ordinal).Replace("}\");", "}\";", StringComparison.Ordinal);
        string method = Regex.Match(File.ReadAllText(here), "// remote sample\n(.*?)// end", RegexOptions.Singleline).Groups[1].Value;
        Assert.Equal(Lines(sample), Lines(method));
    }

    private static string RemoteSample(string socket)
    {
        // remote sample
        using FramePool frames = FramePool.Create();
        using MemoryBlockDevice disk = new(frames, blockCount: 1024);
        using NbdServer server = new(disk, new NbdServerOptions { EndPoint = new UnixDomainSocketEndPoint(socket) });
        server.Start();

        using BlockDevice remote = BlockDevice.Open($"nbd+unix:///?socket={socket}", frames);
        frames.TryAllocate(frames.RootCredential, out FrameNumber frame);
        frames.Bytes(frame).Fill(42);
        remote.Execute([BlockRequest.Write(new BlockNumber(7), new[] { frame }, forceUnitAccess: true)]);
        return $"{remote.Geometry.BlockCount} blocks through {remote.Geometry.Driver}";
        // end
    }

    private static string[] Lines(string text) =>
        [.. text.Split('\n').Select(line => line.Trim()).Where(line => line.Length > 0)];

    private static string ThisFile([CallerFilePath] string path = "") => path;
}
