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

    /// <summary>Nothing is under way.</summary>
    public abstract void Dispose();
}
