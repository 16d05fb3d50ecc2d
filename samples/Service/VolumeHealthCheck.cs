// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Service;

/// <summary>How the volume is. Degraded when less than a twentieth is left for new contents; unhealthy when nothing can be written.</summary>
internal sealed class VolumeHealthCheck(CffsVolume volume) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        CffsSpace space = volume.GetSpace();
        Dictionary<string, object> data = new()
        {
            ["unmountedCleanly"] = volume.Info.Recovery is null,                       // the last time; if not, it was recovered
            ["totalBytes"] = (long)space.TotalBlocks * CffsSpace.BlockBytes,
            ["availableBytes"] = (long)space.AvailableBlocks * CffsSpace.BlockBytes,
            ["dirtyBlocks"] = volume.Disk.DirtyBlocks,                                 // in core, not yet on the disk
            ["logBlocks"] = volume.Disk.BlocksInLog,                                   // durable in the log, not yet in their places
        };
        HealthStatus status = volume.IsReadOnly ? HealthStatus.Unhealthy
            : space.AvailableBlocks < space.TotalBlocks / 20 ? HealthStatus.Degraded
            : HealthStatus.Healthy;
        return Task.FromResult(new HealthCheckResult(status, data: data));
    }

    /// <summary>The report as JSON.</summary>
    public static Task WriteAsync(HttpContext context, HealthReport report) =>
        context.Response.WriteAsJsonAsync(report.Entries.ToDictionary(entry => entry.Key, entry => new { status = entry.Value.Status.ToString(), entry.Value.Data }));
}
