// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.FileSystems.CFFS;

namespace Exo.Benchmarks.Peers.Machine;

/// <summary>Small files made and removed again in one process, durably.</summary>
internal static class CreateDelete
{
    public const int Count = 100_000;
    public const int Folders = 100;
    public const int LengthBytes = 1024;

    /// <summary>Formats the image and does the work twice; seconds of the second time, when everything is compiled.</summary>
    public static double Seconds(string image)
    {
        File.Delete(image);
        using CffsVolume volume = CffsVolume.Create(image, new CffsCreateOptions { SizeBytes = 1L << 30 });
        byte[] contents = new byte[LengthBytes];
        new Random(1).NextBytes(contents);
        for (int i = 0; i < Folders; i++)
        {
            volume.CreateDirectory(Folder(i));
        }

        Round(volume, contents);
        return Tool.Seconds(() => Round(volume, contents));
    }

    private static void Round(CffsVolume volume, byte[] contents)
    {
        for (int i = 0; i < Count; i++)
        {
            volume.WriteAllBytes(Path(i), contents);
        }

        volume.Sync();
        for (int i = 0; i < Count; i++)
        {
            volume.RemoveFile(Path(i));
        }

        volume.Sync();
    }

    private static string Folder(int i) => string.Create(CultureInfo.InvariantCulture, $"/d{i}");

    private static string Path(int i) => string.Create(CultureInfo.InvariantCulture, $"/d{i / (Count / Folders)}/f{i}");
}
