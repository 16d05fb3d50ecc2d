// SPDX-License-Identifier: MIT
using System.Text;

namespace Exo.Benchmarks.Peers.Machine;

/// <summary>The names of the paper's small-file work: 10,000 files of 1 KiB in 100 directories.</summary>
internal static class SmallFilePaths
{
    public const int Count = 10_000;
    public const int Folders = 100;
    public const int LengthBytes = 1024;

    public static byte[][] FoldersUnder(string root) => [.. Enumerable.Range(0, Folders).Select(i => Encode($"{root}/d{i:d3}"))];

    public static byte[][] FilesUnder(string root) => [.. Enumerable.Range(0, Count).Select(i => Encode($"{root}/d{i / (Count / Folders):d3}/file{i:d6}"))];

    /// <summary>The same work in another order, the same for each run.</summary>
    public static byte[][] Shuffled(byte[][] paths)
    {
        byte[][] shuffled = [.. paths];
        new Random(1).Shuffle(shuffled);
        return shuffled;
    }

    // With a NUL at the end, for the kernel; C-FFS gets the bytes before it.
    private static byte[] Encode(string path) => Encoding.UTF8.GetBytes(path + "\0");
}
