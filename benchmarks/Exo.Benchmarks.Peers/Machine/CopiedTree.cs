// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Exo.Benchmarks.Peers.Machine;

/// <summary>What a tree that is copied is made of: the lengths of its files, and where they are.</summary>
internal sealed record CopiedTree(string Description, IReadOnlyList<int> LengthsBytes, int FilesPerDirectory, long ImageBytes, long PoolBytes, int WarmupRounds)
{
    /// <summary>The directory at the top.</summary>
    public const string Root = "tree";

    private const int DirectoriesPerDirectory = 20;

    /// <summary>4,000 files, half of them below 4 KiB, half of up to 200 kB.</summary>
    public static CopiedTree Small()
    {
        Random random = new(1);
        int[] lengths = [.. Enumerable.Range(0, 4000).Select(i => i % 2 == 0 ? random.Next(4096) : random.Next(200_000))];
        return new CopiedTree("4000 files of up to 200 kB, half of them below 4 KiB (some 200 MB)", lengths, 40, 2L << 30, 768L << 20, WarmupRounds: 8);
    }

    /// <summary>
    /// 2 GiB to the byte in 20,000 files. Lengths are drawn from a log-normal distribution, as those of real file systems are found to be (Agrawal et al., FAST '07): a median of 8 KiB, and most bytes in a few large files, which are cut at 32 MiB.
    /// </summary>
    public static CopiedTree Large()
    {
        const int Files = 20_000;
        const long TotalBytes = 2L << 30;
        const int LargestBytes = 32 << 20;
        Random random = new(1);
        double[] drawn = new double[Files];
        for (int i = 0; i < Files; i++)
        {
            double normal = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
            drawn[i] = Math.Min(8192 * Math.Exp(2.28 * normal), LargestBytes);
        }

        // What is missing to the exact sum is taken from all in proportion, and the last bytes from one.
        double scale = TotalBytes / drawn.Sum();
        int[] lengths = [.. drawn.Select(length => (int)(length * scale))];
        lengths[Array.IndexOf(lengths, lengths.Max())] += (int)(TotalBytes - lengths.Sum(length => (long)length));
        return new CopiedTree("20,000 files, 2 GiB", lengths, 40, 6L << 30, 5L << 30, WarmupRounds: 1);
    }

    /// <summary>The directory that a file is in.</summary>
    public string Directory(int file)
    {
        int directory = file / FilesPerDirectory;
        return string.Create(CultureInfo.InvariantCulture, $"{Root}/d{directory / DirectoriesPerDirectory:d2}/d{directory % DirectoriesPerDirectory:d2}");
    }
}
