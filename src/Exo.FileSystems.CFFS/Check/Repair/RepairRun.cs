// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Check;

/// <summary>
/// Check, plan, write, let the file system's own recovery rebuild what is derived (free map, counters, clean flags), check again. What one round cannot see behind the damage the next one can.
/// </summary>
internal static class RepairRun
{
    private const int RoundsMax = 4;

    public static CffsRepairReport Run(BlockDevice device, CffsRepairOptions options)
    {
        CffsCheckOptions check = new() { FindingsMax = options.FindingsMax, CancellationToken = options.CancellationToken };
        CffsCheckReport before = CffsCheck.Run(device, check, options.Progress);
        CffsRepairReport report = new(before);
        if (before.IsClean && before.WasUnmounted)
        {
            return report;
        }

        // What a crash has left is the file system's own business, and it does it better: it knows what was under way.
        if (before.IsClean && !options.DryRun && TryMount(device, options, report, "recovered", "the unfinished business of a crash was finished"))
        {
            report.After = CffsCheck.Run(device, new CffsCheckOptions { FindingsMax = options.FindingsMax }, options.Progress);
        }

        for (int round = 0; round < RoundsMax && !(report.After.IsClean && report.After.WasUnmounted); round++)
        {
            if (round == 0)
            {
                options.CancellationToken.ThrowIfCancellationRequested();
            }

            using BlockDevice? view = options.DryRun ? LogReplay.View(device) : null;
            if (!options.DryRun)
            {
                // What a repair writes, no replay may overwrite.
                LogReplay.Settle(device);
            }

            using RawBlocks blocks = new(view ?? device);
            VolumeRepair repair = new(view ?? device, blocks, options, report);
            if (!repair.Plan() || options.DryRun)
            {
                break;
            }

            report.HasWritten = true;
            repair.Write();
            TryMount(device, options, report, "free-map", "the free map, the counters and the clean flags were made anew");
            report.After = CffsCheck.Run(device, new CffsCheckOptions { FindingsMax = options.FindingsMax }, options.Progress);
        }

        return report;
    }

    /// <summary>Mounts and unmounts. False when the file system refuses: then the plan has missed something, and the check says what.</summary>
    private static bool TryMount(BlockDevice device, CffsRepairOptions options, CffsRepairReport report, string code, string message)
    {
        try
        {
            CffsVolume volume = CffsVolume.Open(device, new CffsOpenOptions());
            try
            {
                volume.Dispose();
            }
            catch
            {
                volume.Abandon();
                throw;
            }

            report.HasWritten = true;
            report.Add(new CffsFinding(CffsSeverity.Info, code, message, 0, 0), options.FindingsMax);
            return true;
        }
        catch (Exception refused) when (refused is CffsException or Storage.XN.XnException)
        {
            report.HasWritten = true;
            report.Add(new CffsFinding(CffsSeverity.Warning, "mount", $"the file system refused the volume: {refused.Message}", 0, 0), options.FindingsMax);
            return false;
        }
    }
}
