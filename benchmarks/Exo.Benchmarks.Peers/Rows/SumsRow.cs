// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Text;
using Exo.Benchmarks.Peers.Measuring;
using Exo.FileSystems.CFFS;
using Exo.Net.Cheetah;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>
/// The checksums of a document that has just been read from the disk: taken, as Cheetah does where its device computes none, beside reading them from where they would be kept with the file (an extended attribute of so many
/// bytes, everything else of the file at hand, O_DIRECT).
/// </summary>
internal sealed class SumsRow(string name, int lengthBytes) : IPeerRow
{
    private const int Files = 300;

    private string _image = "";

    public string Name => name;

    public string Work => $"the checksums of {lengthBytes} bytes just read, for each 128 of them, taken";

    public string Peer => "their reading from an attribute of the file, cold";

    public string Unit => "µs";

    public bool MoreIsBetter => false;

    public string? Missing() => null;

    public void Prepare(Machine.WorkFolder folder)
    {
        _image = folder[$"{name}.img"];
        using (FileStream image = File.Create(_image))
        {
            image.SetLength(Math.Max(64L << 20, 3L * Files * lengthBytes));
        }

        byte[] contents = new byte[lengthBytes], sums = new byte[2 * ((lengthBytes / Document.SumBytes) + 1)];
        new Random(1).NextBytes(contents);
        using CffsVolume volume = CffsVolume.Create(_image, new CffsCreateOptions());
        for (int i = 0; i < Files; i++)
        {
            volume.WriteAllBytes(Path(i), contents, 0x1A4);
            volume.SetExtendedAttribute(Path(i), "user.sums"u8.ToArray(), sums);
        }

        volume.Sync();
    }

    public double RunExo() => Median((volume, path, document) => document.PrefixSums.Length);

    public double RunPeer() => Median((volume, path, document) => volume.GetExtendedAttribute(path, "user.sums"u8.ToArray())!.Length);

    public void Dispose()
    {
    }

    private static byte[] Path(int index) => Encoding.ASCII.GetBytes($"/{index}.css");

    private double Median(Func<CffsVolume, byte[], Document, int> act)
    {
        using CffsVolume volume = CffsVolume.Open(_image, new CffsOpenOptions { ReadOnly = true, CacheBytes = (64L << 20) + (2L * Files * lengthBytes) });
        var source = new CffsDocumentSource(volume);
        double[] times = new double[Files];
        for (int i = 0; i < Files; i++)
        {
            byte[] path = Path(i);
            DocumentLookup found = source.FindAsync(path, CancellationToken.None).AsTask().GetAwaiter().GetResult();
            Document document = Document.TryCreate(volume.Frames, path, found.Content!, DocumentTraits.None)!;
            long begun = Stopwatch.GetTimestamp();
            _ = act(volume, path, document);
            times[i] = Stopwatch.GetElapsedTime(begun).TotalMicroseconds;
            document.Release();
        }

        Array.Sort(times);
        return times[Files / 2];
    }
}
