// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text.Json;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>
/// A file of 1 GiB read cold, or written and made durable, in pieces of 1 MiB through C-FFS, beside fio on the bare image file with direct I/O and eight pieces under way (S16): what is left of the disk.
/// </summary>
internal sealed class LargeFileRow(string name, bool isWrite) : IPeerRow
{
    private const long LengthBytes = 1L << 30;
    private const long ImageBytes = 2L << 30;
    private const int PieceBytes = 1 << 20;

    private readonly byte[] _piece = new byte[PieceBytes];
    private WorkFolder _folder = null!;
    private FramePool? _frames;

    public string Name => name;

    public string Work => isWrite ? "a file of 1 GiB written in pieces of 1 MiB, and made durable" : "a file of 1 GiB read in pieces of 1 MiB, cold";

    public string Peer => "fio on the image, direct=1, 8 under way";

    public string Unit => " MiB/s";

    public bool MoreIsBetter => true;

    public string? Missing() => Tool.Missing("fio");

    public void Prepare(WorkFolder folder)
    {
        _folder = folder;
        new Random(1).NextBytes(_piece);
        _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 256 << 20 });
        Tool.Allocate(folder["large.img"], ImageBytes);
        Tool.Allocate(folder["fio.img"], LengthBytes);
        using (CffsVolume volume = CffsVolume.Create(folder["large.img"], new CffsCreateOptions { SizeBytes = ImageBytes, Overwrite = true, Open = Options }))
        {
            Write(volume);
        }

        _ = RunExo();
    }

    public double RunExo()
    {
        using CffsVolume volume = CffsVolume.Open(_folder["large.img"], Options);
        return LengthBytes / (double)PieceBytes / Tool.Seconds(() =>
        {
            if (isWrite)
            {
                Write(volume);
            }
            else
            {
                Read(volume);
            }
        });
    }

    public double RunPeer()
    {
        string text = Tool.Run(
            "fio", "--name=large", $"--filename={_folder["fio.img"]}", isWrite ? "--rw=write" : "--rw=read", "--bs=1M", string.Create(CultureInfo.InvariantCulture, $"--size={LengthBytes}"), "--iodepth=8",
            "--ioengine=io_uring", "--direct=1", isWrite ? "--end_fsync=1" : "--end_fsync=0", "--output-format=json");
        using JsonDocument report = JsonDocument.Parse(text[text.IndexOf('{', StringComparison.Ordinal)..]);
        return report.RootElement.GetProperty("jobs")[0].GetProperty(isWrite ? "write" : "read").GetProperty("bw_bytes").GetDouble() / PieceBytes;
    }

    public void Dispose() => _frames?.Dispose();

    private CffsOpenOptions Options => new() { Frames = _frames };

    private void Write(CffsVolume volume)
    {
        using CffsFile file = volume.OpenFile("/large", CffsOpenMode.Write | CffsOpenMode.Create);
        for (long at = 0; at < LengthBytes; at += PieceBytes)
        {
            file.Write(at, _piece.AsMemory());
        }

        file.Sync();
    }

    private void Read(CffsVolume volume)
    {
        byte[] buffer = new byte[PieceBytes];
        using CffsFile file = volume.OpenFile("/large");
        for (long at = 0; at < LengthBytes; at += PieceBytes)
        {
            if (file.Read(at, buffer.AsSpan()) != PieceBytes || buffer[0] != _piece[0])
            {
                throw new InvalidOperationException($"wrong bytes at {at}");
            }
        }
    }
}
