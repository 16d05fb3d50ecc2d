// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Cli.Output;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Transfer;

/// <summary>
/// Makes a volume durable every so many files and only then writes their names down: a name in the report is a promise that
/// survives a crash. Each batch is one write at the end of the report, so a reader sees whole lines.
/// </summary>
internal sealed class SyncReport : IDisposable
{
    private readonly CffsVolume _volume;
    private readonly FileStream? _report;
    private readonly int _everyFiles;
    private readonly StringBuilder _pending = new();
    private int _pendingFiles;

    /// <param name="volume">The volume.</param>
    /// <param name="reportPath">File to append to, or null.</param>
    /// <param name="everyFiles">Files between two syncs; 0 = only at <see cref="Finish"/>.</param>
    public SyncReport(CffsVolume volume, string? reportPath, int everyFiles)
    {
        _volume = volume;
        _everyFiles = everyFiles;
        _report = reportPath is null ? null : new FileStream(reportPath, FileMode.Append, FileAccess.Write, FileShare.Read, bufferSize: 0);
    }

    /// <summary>A file is complete in the volume, though not yet durable.</summary>
    public void Add(ReadOnlySpan<byte> path)
    {
        if (_report is not null)
        {
            _pending.Append(ByteText.Escape(path)).Append('\n');
        }

        _pendingFiles++;
        if (_everyFiles > 0 && _pendingFiles >= _everyFiles)
        {
            Finish();
        }
    }

    /// <summary>Makes everything durable and reports it.</summary>
    public void Finish()
    {
        _volume.Sync();
        _pendingFiles = 0;
        if (_report is not null && _pending.Length > 0)
        {
            _report.Write(Encoding.UTF8.GetBytes(_pending.ToString()));
            _pending.Clear();
        }
    }

    public void Dispose() => _report?.Dispose();
}
