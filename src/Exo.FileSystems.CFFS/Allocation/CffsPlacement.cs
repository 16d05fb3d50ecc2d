// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS;

/// <summary>
/// A run of neighbouring free blocks, set aside for files that will be read together, whichever directories they are in: a web page and what it includes. Files that are placed in it
/// (<see cref="CffsFile.PlaceIn"/>) get their blocks from it in the order in which they are written; without one, files lie with those of their directory.
/// <para>It is a promise among users of this open volume and not a fact on the disk: on a disk that is nearly full it is called off, and what does not fit goes where it would have gone.
/// Disposing gives back what has not been used. Thread-safe.</para>
/// </summary>
public sealed class CffsPlacement : IDisposable
{
    private readonly VolumeCore _core;

    // Guarded by the metadata lock.
    private AllocationWindow _window;

    internal CffsPlacement(VolumeCore core, uint blocks)
    {
        _core = core;
        lock (core.Metadata)
        {
            _window = core.Allocator.SetAside(blocks);
        }
    }

    /// <summary>Takes the next blocks of the run, fewer than wanted where it ends. Under the metadata lock. False when there are none left.</summary>
    internal bool TryTake(uint wanted, out BlockExtent extent) => _core.Allocator.TryTakeSetAside(ref _window, wanted, out extent);

    /// <summary>Gives back what has not been used. A second call does nothing.</summary>
    public void Dispose()
    {
        lock (_core.Metadata)
        {
            _core.Allocator.Close(ref _window);
        }
    }
}
