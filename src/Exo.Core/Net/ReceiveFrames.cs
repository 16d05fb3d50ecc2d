// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Memory;

namespace Exo.Core.Net;

/// <summary>
/// The frames that a device receives into: allocated for a named owner, in a number that whoever opened the device chose, and used again and again.
/// <code>
///   spare --TryTake--> the device (empty) --> a batch (a packet) --Return--> spare     nobody else holds the frame
///                                                                \--> its holders      somebody retained it: another frame is allocated when one is needed
/// </code>
/// For the one thread that uses the device.
/// </summary>
public sealed class ReceiveFrames : IDisposable
{
    private readonly Credential _owner;
    private readonly FrameNumber[] _spare;
    private int _spareCount;
    private int _outside;
    private bool _isDisposed;

    /// <summary>Allocates the frames.</summary>
    /// <exception cref="InvalidOperationException">The pool has not so many free.</exception>
    /// <exception cref="AccessDeniedException">The credential holds no valid capability of the pool's authority.</exception>
    public ReceiveFrames(FramePool frames, Credential owner, int count)
    {
        ArgumentNullException.ThrowIfNull(frames);
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        Frames = frames;
        _owner = owner;
        _spare = new FrameNumber[count];
        while (_spareCount < count)
        {
            if (!frames.TryAllocate(owner, out FrameNumber frame))
            {
                Dispose();
                throw new InvalidOperationException($"The pool has no {count} free frames to receive into.");
            }

            _spare[_spareCount++] = frame;
        }

        // The highest number is on the bottom: frames taken one after the other tend to lie beside each other.
        _spare.AsSpan().Sort(static (a, b) => b.CompareTo(a));
    }

    /// <summary>Where they come from.</summary>
    public FramePool Frames { get; }

    /// <summary>Times that a frame was needed and the pool had none.</summary>
    public long Shortages { get; private set; }

    /// <summary>Takes a frame that nobody else holds. The caller has its only reference.</summary>
    /// <returns>False when all are outside and the pool has none free: come again later.</returns>
    public bool TryTake(out FrameNumber frame)
    {
        if (_spareCount > 0)
        {
            frame = _spare[--_spareCount];
        }
        else if (_isDisposed || _outside >= _spare.Length || !Frames.TryAllocate(_owner, out frame))
        {
            Shortages++;
            frame = default;
            return false;
        }

        _outside++;
        return true;
    }

    /// <summary>Gives back the reference that <see cref="TryTake"/> gave. If others hold the frame it stays theirs, and the device may allocate another.</summary>
    public void Return(FrameNumber frame)
    {
        Invariant.Check(_outside > 0);
        _outside--;

        // One reference is ours, and only a holder may make another: with a count of 1 nobody can come in between.
        if (_isDisposed || _spareCount == _spare.Length || Frames.ReferenceCount(frame) != 1)
        {
            Frames.Release(frame);
        }
        else
        {
            _spare[_spareCount++] = frame;
        }
    }

    /// <summary>Releases the spare frames; those outside are released when they are returned.</summary>
    public void Dispose()
    {
        _isDisposed = true;
        while (_spareCount > 0)
        {
            Frames.Release(_spare[--_spareCount]);
        }
    }
}
