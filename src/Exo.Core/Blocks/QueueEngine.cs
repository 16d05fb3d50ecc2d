// SPDX-License-Identifier: MIT
namespace Exo.Core.Blocks;

/// <summary>What carries out the requests of a <see cref="BlockQueue"/>, each known by the number of its slot. Used by one thread.</summary>
internal abstract class QueueEngine : IDisposable
{
    /// <summary>Takes a request over; the memory is the engine's until the slot is taken back. Carried out by the next <see cref="Advance"/> at the latest.</summary>
    public abstract void Start(int slot, Memory<BlockRequest> request);

    /// <summary>Hands over what was started.</summary>
    public abstract void Kick();

    /// <summary>Hands over what was started and waits until so many slots can be taken, not more than are under way.</summary>
    /// <returns>Calls into the kernel since the last time, as far as the device does not count them by itself.</returns>
    public abstract long Advance(int minCount);

    /// <summary>Takes a slot that is done. <paramref name="defect"/>: what the device threw instead of reporting an error.</summary>
    public abstract bool TryTake(out int slot, out Exception? defect);

    /// <summary>
    /// The owner's thread has ended with requests under way. True: nobody else can take their completions, and the engine may be closed
    /// all the same. False: whoever closes the device can go on in the owner's place.
    /// </summary>
    public virtual bool TryAbandon() => false;

    /// <summary>Nothing is under way, or it was abandoned.</summary>
    public abstract void Dispose();
}
