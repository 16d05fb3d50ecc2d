// SPDX-License-Identifier: MIT
namespace Exo.Storage.XN;

/// <summary>
/// Rule two: blocks that are no longer pointed to in core, while a pointer to them may still be on the disk. A record waits for one or more blocks, each with the
/// version that no longer holds the pointer, to become durable, and for all moves that were under way when it was made, because the old image that a move leaves
/// behind may lead to it, directly or not; then its blocks are free. Guarded by the volume's lock.
/// </summary>
internal sealed class WillFreeList
{
    private readonly Dictionary<ulong, List<(ulong Version, Record Record)>> _waiting = [];
    private readonly Stack<List<(ulong Version, Record Record)>> _spare = [];

    // Records that wait for moves only. In the order in which they came here: one may wait a little longer than it must.
    private readonly Queue<Record> _behindMoves = new();

    /// <summary>Blocks on the list.</summary>
    public ulong Blocks { get; private set; }

    internal sealed class Record
    {
        public required BlockExtent Extent { get; init; }

        /// <summary>The last move that was under way.</summary>
        public required ulong BehindMove { get; init; }

        public int WaitsFor { get; set; }
    }

    public Record Add(in BlockExtent extent, ulong behindMove)
    {
        Blocks += extent.Count;
        return new Record { Extent = extent, BehindMove = behindMove };
    }

    /// <summary>Moves are over up to a number.</summary>
    public void MovesOver(ulong number, List<BlockExtent> freed)
    {
        while (_behindMoves.TryPeek(out Record? record) && record.BehindMove <= number)
        {
            _behindMoves.Dequeue();
            Blocks -= record.Extent.Count;
            freed.Add(record.Extent);
        }
    }

    public void WaitFor(Record record, ulong block, ulong version)
    {
        if (!_waiting.TryGetValue(block, out List<(ulong, Record)>? list))
        {
            list = _spare.TryPop(out List<(ulong, Record)>? spare) ? spare : [];
            _waiting.Add(block, list);
        }

        list.Add((version, record));
        record.WaitsFor++;
    }

    /// <summary>A version of a block is durable; extents that waited for nothing else go to <paramref name="freed"/>.</summary>
    public void Durable(ulong block, ulong version, ulong movesOver, List<BlockExtent> freed)
    {
        if (!_waiting.TryGetValue(block, out List<(ulong Version, Record Record)>? list))
        {
            return;
        }

        for (int i = list.Count - 1; i >= 0; i--)
        {
            if (list[i].Version <= version)
            {
                Record record = list[i].Record;
                list.RemoveAt(i);
                if (--record.WaitsFor > 0)
                {
                    continue;
                }

                if (record.BehindMove > movesOver)
                {
                    _behindMoves.Enqueue(record);
                }
                else
                {
                    Blocks -= record.Extent.Count;
                    freed.Add(record.Extent);
                }
            }
        }

        if (list.Count == 0)
        {
            _waiting.Remove(block);
            _spare.Push(list);
        }
    }

    /// <summary>A block is freed before the version waited for was written: its heir's next version makes the pointers unreachable instead.</summary>
    public void Replace(ulong freedBlock, ulong heir, ulong heirVersion)
    {
        if (_waiting.Remove(freedBlock, out List<(ulong Version, Record Record)>? list))
        {
            foreach ((ulong _, Record record) in list)
            {
                record.WaitsFor--;
                WaitFor(record, heir, heirVersion);
            }

            list.Clear();
            _spare.Push(list);
        }
    }

    public bool IsWaitedFor(ulong block) => _waiting.ContainsKey(block);
}
