// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Verification;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests;

/// <summary>fsck and the independent verifier, asked together: they must agree whether a volume is clean.</summary>
internal static class Verified
{
    /// <summary>Checks a disk. The verifier must call sound what fsck calls clean, and only that.</summary>
    public static CffsCheckReport Check(BlockDevice disk)
    {
        CffsCheckReport report = CffsCheck.Run(disk);
        AssertAgree(report, VerdictOf(disk));
        return report;
    }

    /// <summary>Checks an image file.</summary>
    public static CffsCheckReport Check(string image)
    {
        CffsCheckReport report = CffsCheck.Run(image);
        AssertAgree(report, ImageVerifier.Verify(image));
        return report;
    }

    public static Verdict VerdictOf(BlockDevice disk)
    {
        if (disk is SimulatedBlockDevice simulated)
        {
            DiskContents contents = simulated.Snapshot();
            return ImageVerifier.Verify(block => contents[block], (ulong)contents.BlockCount);
        }

        FrameNumber[] frame = new FrameNumber[1];
        Assert.True(disk.Frames.TryAllocate(disk.Frames.RootCredential, out frame[0]));
        try
        {
            return ImageVerifier.Verify(Read, disk.Geometry.BlockCount);
        }
        finally
        {
            disk.Frames.Release(frame[0]);
        }

        ReadOnlySpan<byte> Read(ulong block)
        {
            BlockRequest[] request = [BlockRequest.Read(new BlockNumber(block), frame)];
            disk.Execute(request);
            return disk.Frames.Bytes(frame[0]).ToArray();
        }
    }

    private static void AssertAgree(CffsCheckReport report, Verdict verdict)
    {
        Assert.True(report.IsClean || !verdict.IsSound, $"fsck finds what the verifier does not:\n{string.Join('\n', report.Findings)}");
        Assert.True(!report.IsClean || verdict.IsSound, $"fsck calls clean what is not sound:\n{verdict}\nfsck: {string.Join('\n', report.Findings)}");
        Assert.True(!report.IsClean || report.WasUnmounted == verdict.WasUnmounted, "they differ in whether the volume was unmounted");
    }
}
