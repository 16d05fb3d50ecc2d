// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Inodes;

/// <summary>
/// The lock of one inode (contents, block map, directory entries). May be held over I/O of that inode only. Several are taken in the order of
/// their inode numbers.
/// </summary>
internal sealed class NodeLock : IDisposable
{
    private readonly SemaphoreSlim _gate = new(1, 1);

    public ValueTask EnterAsync(IoMode mode)
    {
        if (mode == IoMode.Sync)
        {
            _gate.Wait();
            return default;
        }

        return _gate.Wait(0) ? default : new ValueTask(_gate.WaitAsync());
    }

    public void Enter() => _gate.Wait();

    /// <summary>Enters if nobody is in.</summary>
    public bool TryEnter() => _gate.Wait(0);

    public void Exit() => _gate.Release();

    public void Dispose() => _gate.Dispose();
}
