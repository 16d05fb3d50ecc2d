// SPDX-License-Identifier: MIT
using System.Numerics;
using Exo.Core.Memory;
using Exo.Host.Protocol;
using Exo.Storage.XN;

namespace Exo.Host;

/// <content>
/// Which of its own frames a library OS may fill.
/// <code>
///   free --TryTakeFrame--> taken --(given to XN by a call that succeeds)--> XN's --(block unbound, freed or rebound)--> free
///    ^-----ReturnFrame-------'
/// </code>
/// Here is only what the library OS keeps; whether XN has one the host knows, and is asked when nothing is left.
/// </content>
public sealed partial class HostClient
{
    private ulong[] _free = [];
    private ulong[] _takenFrames = [];
    private int _nextFreeWord;

    /// <summary>Takes a frame of its own that XN does not have.</summary>
    /// <param name="frame">Its number, for <see cref="Frame"/>.</param>
    /// <returns>False when XN has all of them, or they were taken: unbind blocks, or return frames.</returns>
    /// <exception cref="HostException">The host has gone.</exception>
    public bool TryTakeFrame(out int frame)
    {
        lock (_lock)
        {
            if (TryTakeKnown(out frame))
            {
                return true;
            }

            int words = (FrameCount + 63) / 64;
            Array.Resize(ref _takenFrames, words);
            Array.Resize(ref _free, words);
            WireWriter request = Begin(HostOperation.OwnFrames);
            WireReader results = Demand(ref request);
            for (int i = 0; i < words; i++)
            {
                _free[i] = results.U64() & ~_takenFrames[i];
            }

            _nextFreeWord = 0;
            return TryTakeKnown(out frame);
        }
    }

    /// <summary>Gives back a frame that was taken and not given to XN.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is no such frame, or it was not taken.</exception>
    public void ReturnFrame(int frame)
    {
        lock (_lock)
        {
            if ((uint)frame >= (uint)(_takenFrames.Length * 64) || (_takenFrames[frame / 64] >> (frame % 64) & 1) == 0)
            {
                throw new ArgumentOutOfRangeException(nameof(frame), frame, "It was not taken.");
            }

            _takenFrames[frame / 64] &= ~(1UL << (frame % 64));
        }
    }

    private bool TryTakeKnown(out int frame)
    {
        for (; _nextFreeWord < _free.Length; _nextFreeWord++)
        {
            ulong bits = _free[_nextFreeWord];
            if (bits != 0)
            {
                int bit = BitOperations.TrailingZeroCount(bits);
                _free[_nextFreeWord] &= ~(1UL << bit);
                _takenFrames[_nextFreeWord] |= 1UL << bit;
                frame = _nextFreeWord * 64 + bit;
                return true;
            }
        }

        frame = -1;
        return false;
    }

    private XnStatus Given(scoped ReadOnlySpan<int> frames, XnStatus status)
    {
        for (int i = 0; i < frames.Length && status == XnStatus.Ok; i++)
        {
            Given(new FrameNumber((uint)frames[i]));
        }

        return status;
    }

    private void Given(FrameNumber frame)
    {
        if (frame.Value / 64 < (uint)_takenFrames.Length)
        {
            _takenFrames[frame.Value / 64] &= ~(1UL << (int)(frame.Value % 64));
        }
    }
}
