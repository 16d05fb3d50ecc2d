// SPDX-License-Identifier: MIT
namespace Exo.Core.Blocks;

/// <summary>The counters of one device. Whoever finishes requests adds them up first, so that the shared words are touched once per batch.</summary>
internal sealed class DeviceTally
{
    private Sum _total;
    private long _systemCalls;

    public void Add(ReadOnlySpan<BlockRequest> batch)
    {
        Sum sum = default;
        foreach (ref readonly BlockRequest request in batch)
        {
            sum.Add(in request);
        }

        Add(in sum);
    }

    public void Add(in Sum sum)
    {
        AddTo(ref _total.Reads, sum.Reads);
        AddTo(ref _total.Writes, sum.Writes);
        AddTo(ref _total.Flushes, sum.Flushes);
        AddTo(ref _total.BlocksRead, sum.BlocksRead);
        AddTo(ref _total.BlocksWritten, sum.BlocksWritten);
        AddTo(ref _total.Failures, sum.Failures);
    }

    public void AddSystemCalls(long count) => AddTo(ref _systemCalls, count);

    public BlockDeviceCounters Snapshot() => new(
        Volatile.Read(ref _total.Reads),
        Volatile.Read(ref _total.Writes),
        Volatile.Read(ref _total.Flushes),
        Volatile.Read(ref _total.BlocksRead),
        Volatile.Read(ref _total.BlocksWritten),
        Volatile.Read(ref _total.Failures),
        Volatile.Read(ref _systemCalls));

    private static void AddTo(ref long counter, long count)
    {
        if (count != 0)
        {
            Interlocked.Add(ref counter, count);
        }
    }

    /// <summary>Finished requests, added up by one thread.</summary>
    public struct Sum
    {
        public long Reads;
        public long Writes;
        public long Flushes;
        public long BlocksRead;
        public long BlocksWritten;
        public long Failures;

        public void Add(in BlockRequest request)
        {
            switch (request.Operation)
            {
                case BlockOperation.Read:
                    Reads++;
                    BlocksRead += request.BlockCount;
                    break;
                case BlockOperation.Flush:
                    Flushes++;
                    break;
                default:
                    Writes++;
                    BlocksWritten += request.BlockCount;
                    break;
            }

            Failures += request.Error != 0 ? 1 : 0;
        }
    }
}
