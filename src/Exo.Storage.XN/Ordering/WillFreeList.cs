// SPDX-License-Identifier: MIT
namespace Exo.Storage.XN;

/// <summary>
/// Rule two: blocks that are no longer pointed to in core, while a pointer to them may still be on the disk. A record waits for one or more blocks, each with the
/// version that no longer holds the pointer, to become durable, and for all moves that were under way when it was made, because the old image that a move leaves
/// behind may lead to it, directly or not; then its blocks are free. A pointer that goes while others to the same blocks remain leaves a record too, one that frees
/// nothing: it holds back the record of the last pointer. Guarded by the volume's lock.
/// </summary>
internal sealed class WillFreeList
{
    private readonly Dictionary<ulong, List<(ulong Version, Record Record)>> _waiting = [];
    private readonly Stack<List<(ulong Version, Record Record)>> _spare = [];

    // Records that wait for moves only. In the order in which they came here: one may wait a little longer than it must.
    private readonly Queue<Record> _behindMoves = new();

    // By block: the records of pointers to it that are gone in core, while others remain or remained.
    private readonly Dictionary<ulong, List<Record>> _holds = [];

    /// <summary>Blocks on the list.</summary>
    public ulong Blocks { get; private set; }

    internal sealed class Record
    {
        public required BlockExtent Extent { get; init; }

        /// <summary>The last move that was under way.</summary>
        public required ulong BehindMove { get; init; }

        public int WaitsFor { get; set; }

        /// <summary>The blocks have other owners: nothing is free when this is over.</summary>
        public bool IsHold { get; init; }

        /// <summary>Records that wait for this one.</summary>
        public List<Record>? Behind { get; set; }
    }

    public Record Add(in BlockExtent extent, ulong behindMove)
    {
        Blocks += extent.Count;
        return new Record { Extent = extent, BehindMove = behindMove };
    }

    /// <summary>A pointer to blocks that have other owners goes.</summary>
    public Record Hold(in BlockExtent extent, ulong behindMove)
    {
        Record record = new() { Extent = extent, BehindMove = behindMove, IsHold = true };
        for (uint i = 0; i < extent.Count; i++)
        {
            ulong block = extent.First.Value + i;
            if (!_holds.TryGetValue(block, out List<Record>? list))
            {
                list = [];
                _holds.Add(block, list);
            }

            list.Add(record);
        }

        return record;
    }

    /// <summary>Whether there is any record that frees nothing.</summary>
    public bool HasHolds => _holds.Count > 0;

    /// <summary>Whether a pointer to a block, gone in core, may still be on the disk while another leads to the block.</summary>
    public bool IsHeld(ulong block) => _holds.Count > 0 && _holds.ContainsKey(block);

    /// <summary>The last pointer to a record's blocks goes: it waits for those that went before.</summary>
    public void WaitForHolds(Record record)
    {
        for (uint i = 0; _holds.Count > 0 && i < record.Extent.Count; i++)
        {
            if (_holds.TryGetValue(record.Extent.First.Value + i, out List<Record>? list))
            {
                foreach (Record hold in list)
                {
                    hold.Behind ??= [];
                    if (!hold.Behind.Contains(record))
                    {
                        hold.Behind.Add(record);
                        record.WaitsFor++;
                    }
                }
            }
        }
    }

    /// <summary>Moves are over up to a number.</summary>
    public void MovesOver(ulong number, List<BlockExtent> freed)
    {
        while (_behindMoves.TryPeek(out Record? record) && record.BehindMove <= number)
        {
            _behindMoves.Dequeue();
            End(record, number, freed);
        }
    }

    private void CountDown(Record record, ulong movesOver, List<BlockExtent> freed)
    {
        if (--record.WaitsFor > 0)
        {
            return;
        }

        if (record.BehindMove > movesOver)
        {
            _behindMoves.Enqueue(record);
        }
        else
        {
            End(record, movesOver, freed);
        }
    }

    private void End(Record record, ulong movesOver, List<BlockExtent> freed)
    {
        if (!record.IsHold)
        {
            Blocks -= record.Extent.Count;
            freed.Add(record.Extent);
            return;
        }

        for (uint i = 0; i < record.Extent.Count; i++)
        {
            ulong block = record.Extent.First.Value + i;
            List<Record> list = _holds[block];
            list.Remove(record);
            if (list.Count == 0)
            {
                _holds.Remove(block);
            }
        }

        foreach (Record behind in record.Behind ?? [])
        {
            CountDown(behind, movesOver, freed);
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
                CountDown(record, movesOver, freed);
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
