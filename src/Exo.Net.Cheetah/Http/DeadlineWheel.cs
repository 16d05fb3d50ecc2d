// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Http;

/// <summary>
/// Coarse deadlines of many connections. Moving a deadline later, which every request does, is one store: the connection stays
/// in its slot and is looked at again when the hand passes.
/// <code>
/// slot   0   1   2  ...  255        one slot = TickMs; the hand turns with time
///            |-> connection &lt;-> connection &lt;-> ...
/// </code>
/// </summary>
internal sealed class DeadlineWheel
{
    /// <summary>Grain of all time-outs.</summary>
    public const int TickMs = 250;

    private const int SlotCount = 256;

    private readonly HttpConnection?[] slots = new HttpConnection?[SlotCount];
    private long handTick;

    /// <summary>Starts with the hand at <paramref name="nowMs"/>.</summary>
    public DeadlineWheel(long nowMs) => handTick = nowMs / TickMs;

    /// <summary>Sets a connection's deadline, never earlier than it says by more than a tick.</summary>
    public void Set(HttpConnection connection, long deadlineMs)
    {
        connection.DeadlineMs = deadlineMs;
        long tick = TickOf(deadlineMs);
        if (connection.WheelTick < 0)
        {
            Link(connection, tick);
        }
        else if (tick < connection.WheelTick)
        {
            Remove(connection);
            Link(connection, tick);
        }
    }

    /// <summary>Takes a connection out.</summary>
    public void Remove(HttpConnection connection)
    {
        if (connection.WheelTick < 0)
        {
            return;
        }

        if (connection.WheelPrevious is { } previous)
        {
            previous.WheelNext = connection.WheelNext;
        }
        else
        {
            slots[connection.WheelTick % SlotCount] = connection.WheelNext;
        }

        if (connection.WheelNext is { } next)
        {
            next.WheelPrevious = connection.WheelPrevious;
        }

        connection.WheelPrevious = connection.WheelNext = null;
        connection.WheelTick = -1;
    }

    /// <summary>
    /// Turns the hand to <paramref name="nowMs"/> and gives the first connection whose deadline has passed, taken out; null
    /// when there is none left. Called until it gives null.
    /// </summary>
    public HttpConnection? TakeExpired(long nowMs)
    {
        long nowTick = nowMs / TickMs;
        handTick = Math.Max(handTick, nowTick - SlotCount);   // after a long sleep one full turn sees every slot
        while (handTick < nowTick)
        {
            int slot = (int)(handTick % SlotCount);
            for (HttpConnection? at = slots[slot]; at is not null;)
            {
                HttpConnection? next = at.WheelNext;
                if (at.DeadlineMs <= nowMs)
                {
                    Remove(at);
                    return at;
                }

                if (TickOf(at.DeadlineMs) is var tick && tick != at.WheelTick)
                {
                    Remove(at);
                    Link(at, tick);
                }

                at = next;
            }

            handTick++;
        }

        return null;
    }

    // The tick whose passing shows the deadline has passed; far deadlines wait at the end of the turn and are moved on there.
    private long TickOf(long deadlineMs) => Math.Clamp(deadlineMs / TickMs, handTick, handTick + SlotCount - 1);

    private void Link(HttpConnection connection, long tick)
    {
        ref HttpConnection? head = ref slots[tick % SlotCount];
        connection.WheelTick = tick;
        connection.WheelPrevious = null;
        connection.WheelNext = head;
        if (head is not null)
        {
            head.WheelPrevious = connection;
        }

        head = connection;
    }
}
