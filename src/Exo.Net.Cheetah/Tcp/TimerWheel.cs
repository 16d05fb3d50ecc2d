// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// Deadlines of connections: a hierarchical wheel (Varghese, Lauck 1987) with a tick of about a millisecond. A deadline that moves later, as every
/// acknowledgment moves it, costs a store: the connection stays where it is and is looked at again when the hand passes.
/// <code>
/// level 0   256 slots of 1.024 ms      level 1   256 x 262 ms      level 2   256 x 67 s      level 3   the rest
/// </code>
/// </summary>
internal sealed class TimerWheel
{
    private const int TickShift = 10, SlotBits = 8, Slots = 1 << SlotBits, Levels = 4;

    private readonly TcpConnection?[] slots = new TcpConnection?[Slots * Levels];
    private readonly int[] counts = new int[Levels];
    private long tick;

    public TimerWheel(long nowUs) => tick = nowUs >> TickShift;

    /// <summary>Connections in the wheel.</summary>
    public int Count => counts[0] + counts[1] + counts[2] + counts[3];

    /// <summary>Sets a connection's deadline; long.MaxValue = none.</summary>
    public void Set(TcpConnection connection, long deadlineUs)
    {
        connection.DeadlineUs = deadlineUs;
        if (deadlineUs == long.MaxValue)
        {
            return;   // it is dropped when the hand passes
        }

        long due = Math.Max((deadlineUs >> TickShift) + 1, tick + 1);
        if (connection.WheelSlot >= 0)
        {
            if (due >= connection.WheelTick)
            {
                return;
            }

            Remove(connection);
        }

        Insert(connection, due);
    }

    public void Remove(TcpConnection connection)
    {
        if (connection.WheelSlot < 0)
        {
            return;
        }

        if (connection.WheelPrevious is { } previous)
        {
            previous.WheelNext = connection.WheelNext;
        }
        else
        {
            slots[connection.WheelSlot] = connection.WheelNext;
        }

        if (connection.WheelNext is { } next)
        {
            next.WheelPrevious = connection.WheelPrevious;
        }

        counts[connection.WheelSlot >> SlotBits]--;
        connection.WheelNext = connection.WheelPrevious = null;
        connection.WheelSlot = -1;
    }

    /// <summary>When the wheel wants to be turned next; long.MaxValue = never. Never later than the first deadline.</summary>
    public long NextUs
    {
        get
        {
            // A slot of a higher level may come before the first that is taken in a lower one.
            long first = long.MaxValue;
            for (int level = 0; level < Levels; level++)
            {
                int shift = level * SlotBits;
                long at = tick >> shift;
                for (int i = 1; counts[level] > 0 && i <= Slots && ((at + i) << shift) << TickShift < first; i++)
                {
                    if (slots[(level << SlotBits) + (int)((at + i) & (Slots - 1))] is not null)
                    {
                        first = ((at + i) << shift) << TickShift;
                    }
                }
            }

            return first;
        }
    }

    /// <summary>Turns the wheel to the present; a connection whose deadline has come is taken out and given to <paramref name="expired"/>.</summary>
    public void Advance(long nowUs, List<TcpConnection> expired)
    {
        long target = nowUs >> TickShift;
        if (Count == 0)
        {
            tick = target;
            return;
        }

        while (tick < target)
        {
            // Ticks without anything are skipped whole: simulated hours pass in no time.
            long next = NextUs;
            if (next == long.MaxValue || next >> TickShift > target)
            {
                tick = target;
                return;
            }

            tick = next >> TickShift;
            for (int level = Levels - 1; level >= 0; level--)
            {
                if ((tick & ((1L << (level * SlotBits)) - 1)) == 0)
                {
                    Empty((level << SlotBits) + (int)((tick >> (level * SlotBits)) & (Slots - 1)), nowUs, expired);
                }
            }
        }
    }

    private void Empty(int slot, long nowUs, List<TcpConnection> expired)
    {
        TcpConnection? connection = slots[slot];
        slots[slot] = null;
        while (connection is not null)
        {
            TcpConnection? next = connection.WheelNext;
            counts[slot >> SlotBits]--;
            connection.WheelNext = connection.WheelPrevious = null;
            connection.WheelSlot = -1;
            if (connection.DeadlineUs <= nowUs)
            {
                expired.Add(connection);
            }
            else if (connection.DeadlineUs != long.MaxValue)
            {
                Insert(connection, Math.Max((connection.DeadlineUs >> TickShift) + 1, tick));
            }

            connection = next;
        }
    }

    private void Insert(TcpConnection connection, long due)
    {
        int level = 0;
        while (level < Levels - 1 && (due >> (level * SlotBits)) - (tick >> (level * SlotBits)) >= Slots)
        {
            level++;
        }

        long at = Math.Min(due >> (level * SlotBits), (tick >> (level * SlotBits)) + Slots - 1);
        if (level > 0 && at == tick >> (level * SlotBits))
        {
            at++;
        }

        int slot = (level << SlotBits) + (int)(at & (Slots - 1));
        connection.WheelTick = level == 0 ? due : at << (level * SlotBits);
        connection.WheelSlot = slot;
        connection.WheelNext = slots[slot];
        connection.WheelPrevious = null;
        if (slots[slot] is { } head)
        {
            head.WheelPrevious = connection;
        }

        slots[slot] = connection;
        counts[level]++;
    }
}
