// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Service;

/// <summary>How the volume is. Degraded when less than a twentieth is left for new contents; unhealthy when what is in core cannot be made durable.</summary>
internal sealed class VolumeHealthCheck(CffsVolume volume) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        string? trouble = volume.IsReadOnly ? "The volume is open for reading only." : await TroubleAsync(cancellationToken);
        CffsSpace space = volume.GetSpace();
        Dictionary<string, object> data = new()
        {
            ["unmountedCleanly"] = volume.Info.Recovery is null,                       // the last time; if not, it was recovered
            ["totalBytes"] = (long)space.TotalBlocks * CffsSpace.BlockBytes,
            ["availableBytes"] = (long)space.AvailableBlocks * CffsSpace.BlockBytes,
            ["dirtyBlocks"] = volume.Disk.DirtyBlocks,                                 // in core, not yet on the disk
            ["logBlocks"] = volume.Disk.BlocksInLog,                                   // durable in the log, not yet in their places
        };
        HealthStatus status = trouble is not null ? HealthStatus.Unhealthy
            : space.AvailableBlocks < space.TotalBlocks / 20 ? HealthStatus.Degraded
            : HealthStatus.Healthy;
        return new HealthCheckResult(status, trouble, data: data);
    }

    // Costs nothing where nothing has changed since the last time.
    private async Task<string?> TroubleAsync(CancellationToken cancellationToken)
    {
        try
        {
            await volume.SyncAsync(cancellationToken);
            return null;
        }
        catch (BlockDeviceException failure)
        {
            return failure.Message;
        }
    }

    /// <summary>The report as JSON.</summary>
    public static Task WriteAsync(HttpContext context, HealthReport report) =>
        context.Response.WriteAsJsonAsync(report.Entries.ToDictionary(entry => entry.Key, entry => new { status = entry.Value.Status.ToString(), entry.Value.Description, entry.Value.Data }));
}
