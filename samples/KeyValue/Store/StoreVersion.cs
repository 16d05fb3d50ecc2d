// SPDX-License-Identifier: MIT
using KeyValue.Memory;
using KeyValue.Tables;

namespace KeyValue.Store;

/// <summary>
/// What the store consists of between two changes of its shape. Readers hold one while they read; a table that no version holds any more is told to the writer, who frees it.
/// </summary>
internal sealed class StoreVersion
{
    private readonly Action<Table> _unused;
    private int _holders = 1;

    /// <param name="memory">What is in the log.</param>
    /// <param name="tables">Newest first.</param>
    /// <param name="unused">Told of each table that nobody needs any more.</param>
    public StoreVersion(MemoryTable memory, Table[] tables, Action<Table> unused)
    {
        Memory = memory;
        Tables = tables;
        _unused = unused;
        foreach (Table table in tables)
        {
            table.Hold();
        }
    }

    public MemoryTable Memory { get; }

    public Table[] Tables { get; }

    /// <summary>False when this version is over; then there is a newer one.</summary>
    public bool TryHold()
    {
        int holders = Volatile.Read(ref _holders);
        while (holders > 0)
        {
            int seen = Interlocked.CompareExchange(ref _holders, holders + 1, holders);
            if (seen == holders)
            {
                return true;
            }

            holders = seen;
        }

        return false;
    }

    public void LetGo()
    {
        if (Interlocked.Decrement(ref _holders) == 0)
        {
            foreach (Table table in Tables)
            {
                if (table.LetGo())
                {
                    _unused(table);
                }
            }
        }
    }
}
