// SPDX-License-Identifier: MIT
using System.Net;
using System.Text;
using Exo.Core.Net;
using Exo.Net.Cheetah.Tests.Ranges;
using Exo.Tests;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>curl, on the kernel's TCP, gets a file of a folder that is larger than the frame pool, over every kind of raw device. With EXO_TCP_MIB set also one of more than 4 GiB, whole, so that sequence numbers begin anew.</summary>
public sealed class LargeDocumentTests : IDisposable
{
    private const long LengthBytes = 80_000_001, SparseBytes = (5L << 30) + 100;

    private readonly string _folder = Directory.CreateTempSubdirectory("exo-large-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [InlineData(false, XdpMode.Driver)]
    public async Task Curl_gets_it_whole_several_times_at_once_and_in_ranges(bool overVeth, XdpMode? xdp = null)
    {
        Requires.Program("curl");
        using var network = new KernelNetwork(overVeth: overVeth, xdp: xdp);
        string site = Directory.CreateDirectory(Path.Combine(_folder, "site")).FullName;
        byte[] bytes = new byte[LengthBytes];
        for (int i = 0; i < bytes.Length; i++)
        {
            bytes[i] = LargeSource.At(i);
        }

        File.WriteAllBytes(Path.Combine(site, "file"), bytes);
        using (FileStream sparse = File.Create(Path.Combine(site, "sparse")))
        {
            sparse.SetLength(SparseBytes);
            sparse.Position = SparseBytes - 100;
            sparse.Write(bytes.AsSpan(0, 100));
        }

        using var source = new FolderDocumentSource(site, network.Frames);
        await using var server = new CheetahServer(
            new CheetahServerOptions { Device = network.Device, Network = Polled.Options, EndPoint = new IPEndPoint(IPAddress.IPv6Any, 80) }, source, network.Frames);
        server.Start();
        string[] urls = ["http://10.9.0.2/file", "http://[fd09::2]/file"];
        network.Run("curl", ["-sS", "-g", "--fail", "--max-time", "100", "-Z", .. urls.SelectMany((url, i) => (string[])["-o", Path.Combine(_folder, $"{i}"), url])]);
        for (int i = 0; i < urls.Length; i++)
        {
            Assert.True(bytes.AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(_folder, $"{i}"))), urls[i]);
        }

        byte[] end = network.Run("curl", "-sS", "--fail", "--max-time", "20", "-r", $"{SparseBytes - 100}-", "http://10.9.0.2/sparse");
        Assert.Equal(bytes[..100], end);
        byte[] middle = network.Run("curl", "-sS", "--fail", "--max-time", "20", "-r", "4294967290-4294967299", "http://10.9.0.2/sparse");
        Assert.Equal(new byte[10], middle);
        if (Environment.GetEnvironmentVariable("EXO_TCP_MIB") is not null)
        {
            byte[] size = network.Run("curl", "-sS", "--fail", "--max-time", "600", "-o", "/dev/null", "-w", "%{size_download}", "http://10.9.0.2/sparse");
            Assert.Equal($"{SparseBytes}", Encoding.ASCII.GetString(size));
        }

        Assert.InRange(server.Cache.Windows.HeldBytesMax, 1, 4 << 20);   // two windows, of 64 MiB
        Assert.Equal(0, server.Counters.PayloadBytesCopied);
        if (!overVeth)
        {
            Assert.Equal(0, server.Counters.BytesCopied);
        }

        await server.StopAsync(TimeSpan.FromSeconds(10));
        Assert.Equal(0, server.Counters.WindowBytes);
    }
}
