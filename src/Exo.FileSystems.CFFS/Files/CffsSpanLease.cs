// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.FileSystems.CFFS;

/// <summary>
/// Bytes of a file as they lie in the cache, lent until it is disposed of: nothing is copied and nothing allocated. They do not change meanwhile: a write to the file goes to new frames.
/// Dispose of it once, before the volume is closed.
/// </summary>
public readonly ref struct CffsSpanLease : IDisposable
{
    private readonly FramePool? _pool;
    private readonly FrameNumber _first;
    private readonly int _frames;

    internal CffsSpanLease(FramePool pool, FrameNumber first, int frames, ReadOnlySpan<byte> bytes)
    {
        _pool = pool;
        _first = first;
        _frames = frames;
        Bytes = bytes;
    }

    /// <summary>The bytes; fewer than asked for only at the end of the file.</summary>
    public ReadOnlySpan<byte> Bytes { get; }

    /// <summary>Ends the lease.</summary>
    public void Dispose()
    {
        for (int i = 0; i < _frames; i++)
        {
            _pool!.Release(new FrameNumber(_first.Value + (uint)i));
        }
    }
}
