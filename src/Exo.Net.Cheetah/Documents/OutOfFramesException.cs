// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah;

/// <summary>A document does not fit into the frame pool.</summary>
public sealed class OutOfFramesException : IOException
{
    internal OutOfFramesException(long lengthBytes, int freeFrames)
        : base($"A document of {lengthBytes} bytes does not fit: the frame pool has {freeFrames} free frames of 4096 bytes.")
    {
        LengthBytes = lengthBytes;
        FreeFrames = freeFrames;
    }

    /// <summary>Bytes of the document.</summary>
    public long LengthBytes { get; }

    /// <summary>Frames that were free.</summary>
    public int FreeFrames { get; }
}
