// SPDX-License-Identifier: MIT
using System.Text;

namespace Exo.FileSystems.CFFS.Verification;

/// <summary>
/// Decides whether an image is what docs/xn-format.md and docs/cffs-format.md say, without a line of the product: it has its own constants, parses by itself, and shares no algorithm. It is for tests: plain and whole in
/// memory, where fsck is bounded and fast. What fsck calls clean, and what the file system has written, must be sound to it.
/// </summary>
public static class ImageVerifier
{
    /// <summary>Verifies the volume in an image file.</summary>
    public static Verdict Verify(string path)
    {
        using FileStream file = File.OpenRead(path);
        return Verify(
            block =>
            {
                byte[] bytes = new byte[FormatReader.BlockBytes];
                file.Position = (long)block * FormatReader.BlockBytes;
                file.ReadExactly(bytes);
                return bytes;
            },
            (ulong)file.Length / FormatReader.BlockBytes);
    }

    /// <summary>Verifies the volume on a disk of so many blocks.</summary>
    public static Verdict Verify(BlockReader disk, ulong blockCount)
    {
        ArgumentNullException.ThrowIfNull(disk);
        Faults faults = new();
        if (XnImage.TryLoad(disk, blockCount, faults) is not { } xn)
        {
            return new Verdict(false, faults.Lines, []);
        }

        BlockOwners owners = new(xn.BlockCount, faults);
        owners.TryOwn(0, xn.DataStart, 0, "XN's part");
        bool wasUnmounted = xn.IsClean;
        bool isAllKnown = true;
        List<string> leftBehind = [];
        foreach (XnRoot root in xn.Roots)
        {
            if (xn.TemplateOf(root.Template)?.Name != "cffs.super")
            {
                // Another library operating system's: what it owns only its programs can tell.
                isAllKnown = false;
                continue;
            }

            CffsImage volume = new(xn, owners, faults, Encoding.UTF8.GetString(root.Name));
            volume.Verify(root.Block, xn.IsCounted(root.Template, "cffs.data"));
            wasUnmounted &= volume.WasUnmounted;
            leftBehind.AddRange(volume.LeftBehind);
        }

        if (isAllKnown)
        {
            xn.VerifyFreeMap(owners);
            xn.VerifyOwnerCounts(owners);
        }

        return new Verdict(wasUnmounted, faults.Lines, leftBehind);
    }
}
