// SPDX-License-Identifier: MIT
namespace Exo.Core.Blocks;

/// <summary>The counters of one device, added up per batch.</summary>
internal sealed class DeviceTally
{
    private long _reads;
    private long _writes;
    private long _flushes;
    private long _blocksRead;
    private long _blocksWritten;
    private long _failures;
    private long _systemCalls;

    public void Add(ReadOnlySpan<BlockRequest> batch)
    {
        int reads = 0, writes = 0, flushes = 0, failures = 0;
        long blocksRead = 0, blocksWritten = 0;
        foreach (ref readonly BlockRequest request in batch)
        {
            switch (request.Operation)
            {
                case BlockOperation.Read:
                    reads++;
                    blocksRead += request.BlockCount;
                    break;
                case BlockOperation.Flush:
                    flushes++;
                    break;
                default:
                    writes++;
                    blocksWritten += request.BlockCount;
                    break;
            }

            failures += request.Error != 0 ? 1 : 0;
        }

        AddTo(ref _reads, reads);
        AddTo(ref _writes, writes);
        AddTo(ref _flushes, flushes);
        AddTo(ref _blocksRead, blocksRead);
        AddTo(ref _blocksWritten, blocksWritten);
        AddTo(ref _failures, failures);
    }

    public void AddSystemCalls(long count) => AddTo(ref _systemCalls, count);

    public BlockDeviceCounters Snapshot() => new(
        Volatile.Read(ref _reads),
        Volatile.Read(ref _writes),
        Volatile.Read(ref _flushes),
        Volatile.Read(ref _blocksRead),
        Volatile.Read(ref _blocksWritten),
        Volatile.Read(ref _failures),
        Volatile.Read(ref _systemCalls));

    private static void AddTo(ref long counter, long count)
    {
        if (count != 0)
        {
            Interlocked.Add(ref counter, count);
        }
    }
}
