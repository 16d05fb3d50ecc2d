// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Verification;

/// <summary>A block of the disk, 4,096 bytes; the span stays as it is.</summary>
public delegate ReadOnlySpan<byte> BlockReader(ulong block);

/// <summary>What is to be said of an image.</summary>
/// <param name="WasUnmounted">XN and C-FFS both say that they were closed; then everything is judged, else what a crash may leave is none of the faults.</param>
/// <param name="Faults">What contradicts the format, a line each. None: the image is what the documents say.</param>
/// <param name="LeftBehind">Packed files that have something else than zeros behind their ends. No fault: it is the format's rule for who writes, and a crash may break it; contents have no checksum.</param>
public sealed record Verdict(bool WasUnmounted, IReadOnlyList<string> Faults, IReadOnlyList<string> LeftBehind)
{
    /// <summary>Nothing contradicts the format.</summary>
    public bool IsSound => Faults.Count == 0;

    /// <inheritdoc/>
    public override string ToString() => IsSound ? "sound" : string.Join('\n', Faults);
}
