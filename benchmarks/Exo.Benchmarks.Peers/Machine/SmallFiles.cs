// SPDX-License-Identifier: MIT
namespace Exo.Benchmarks.Peers.Machine;

/// <summary>Many small files in directories of a hundred, the same for one seed.</summary>
internal static class SmallFiles
{
    public const int Count = 50_000;
    public const int LengthBytes = 1024;
    private const int PerDirectory = 100;

    public static string Make(string folder)
    {
        Random random = new(1);
        byte[] contents = new byte[LengthBytes];
        for (int i = 0; i < Count; i++)
        {
            string directory = Path.Combine(folder, $"d{i / PerDirectory:d4}");
            if (i % PerDirectory == 0)
            {
                Directory.CreateDirectory(directory);
            }

            random.NextBytes(contents);
            File.WriteAllBytes(Path.Combine(directory, $"file-{i:d6}.dat"), contents);
        }

        return folder;
    }
}
