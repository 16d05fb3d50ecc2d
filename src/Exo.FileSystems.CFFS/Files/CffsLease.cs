// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.FileSystems.CFFS;

/// <summary>Adjacent frames.</summary>
/// <param name="First">The first frame.</param>
/// <param name="Count">How many.</param>
public readonly record struct CffsFrameRun(FrameNumber First, int Count);

/// <summary>
/// Frames lent by the cache: they hold a range of a file and do not change until the lease ends. Not thread-safe itself; the frames may be read by anybody meanwhile.
/// </summary>
public sealed class CffsLease : IDisposable
{
    private readonly FramePool _pool;
    private List<FrameNumber>? _frames;

    internal CffsLease(FramePool pool, List<FrameNumber> frames, int firstByteOffset, int lengthBytes, bool isCopy, long version)
    {
        _pool = pool;
        _frames = frames;
        FirstByteOffset = firstByteOffset;
        LengthBytes = lengthBytes;
        IsCopy = isCopy;
        Version = version;
        List<CffsFrameRun> runs = [];
        foreach (FrameNumber frame in frames)
        {
            if (runs.Count > 0 && runs[^1].First.Value + (uint)runs[^1].Count == frame.Value)
            {
                runs[^1] = runs[^1] with { Count = runs[^1].Count + 1 };
            }
            else
            {
                runs.Add(new CffsFrameRun(frame, 1));
            }
        }

        Runs = runs;
    }

    /// <summary>The frames in the order of the file.</summary>
    public IReadOnlyList<CffsFrameRun> Runs { get; }

    /// <summary>Where in the first frame the range begins.</summary>
    public int FirstByteOffset { get; }

    /// <summary>Length of the range; shorter than asked for at the end of the file.</summary>
    public int LengthBytes { get; }

    /// <summary>The contents lay inside a directory sector and were copied once.</summary>
    public bool IsCopy { get; }

    /// <summary>The file's <see cref="CffsStat.Version"/> when the lease was taken.</summary>
    public long Version { get; }

    /// <summary>Ends the lease.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _frames, null) is { } frames)
        {
            foreach (FrameNumber frame in frames)
            {
                _pool.Release(frame);
            }
        }
    }
}
