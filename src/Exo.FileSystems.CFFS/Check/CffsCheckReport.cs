// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS;

/// <summary>How bad a finding is.</summary>
public enum CffsSeverity
{
    /// <summary>Unfinished business of a crash that the next mount finishes by itself.</summary>
    Info,

    /// <summary>Harmless, but not as it should be: a leaked block, for instance.</summary>
    Warning,

    /// <summary>Damage.</summary>
    Error,
}

/// <summary>One finding of a check.</summary>
/// <param name="Severity">How bad.</param>
/// <param name="Code">A stable code, such as <c>slot-checksum</c>.</param>
/// <param name="Message">One line for people.</param>
/// <param name="Inode">The inode concerned, or 0.</param>
/// <param name="Block">The block concerned, or 0.</param>
public sealed record CffsFinding(CffsSeverity Severity, string Code, string Message, ulong Inode, ulong Block);

/// <summary>How far a check has come.</summary>
/// <param name="Stage">What is being looked at.</param>
/// <param name="Done">Blocks looked at.</param>
/// <param name="Total">Blocks on the disk.</param>
public readonly record struct CffsCheckProgress(string Stage, long Done, long Total);

/// <summary>What to check.</summary>
public sealed class CffsCheckOptions
{
    /// <summary>The XN root of the file system.</summary>
    public string RootName { get; init; } = CffsVolume.DefaultRootName;

    /// <summary>After this many findings the check only counts.</summary>
    public int FindingsMax { get; init; } = 1000;

    /// <summary>Ends the check early.</summary>
    public CancellationToken CancellationToken { get; init; }
}

/// <summary>The result of a check.</summary>
public sealed class CffsCheckReport
{
    private readonly List<CffsFinding> _findings = [];

    /// <summary>The findings, at most <see cref="CffsCheckOptions.FindingsMax"/>.</summary>
    public IReadOnlyList<CffsFinding> Findings => _findings;

    /// <summary>All findings of severity Warning or Error, listed or not.</summary>
    public long Problems { get; private set; }

    /// <summary>Nothing worse than Info was found.</summary>
    public bool IsClean => Problems == 0;

    /// <summary>The volume was closed properly.</summary>
    public bool WasUnmounted { get; internal set; }

    /// <summary>Directories found.</summary>
    public long Directories { get; internal set; }

    /// <summary>Files found.</summary>
    public long Files { get; internal set; }

    /// <summary>Symbolic links, devices, FIFOs and sockets found.</summary>
    public long Others { get; internal set; }

    /// <summary>Blocks in use, XN's own included.</summary>
    public long BlocksInUse { get; internal set; }

    /// <summary>Blocks on the disk.</summary>
    public long BlocksTotal { get; internal set; }

    internal void Add(CffsFinding finding, int findingsMax)
    {
        if (finding.Severity != CffsSeverity.Info)
        {
            Problems++;
        }

        if (_findings.Count < findingsMax)
        {
            _findings.Add(finding);
        }
    }
}
