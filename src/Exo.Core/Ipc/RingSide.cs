// SPDX-License-Identifier: MIT
namespace Exo.Core.Ipc;

/// <summary>
/// The words of one side of a message ring, in memory that only that side writes.
/// <code>
///   0 index: bytes produced, or consumed    8 closed: not zero when this side has closed    64 waiting: not zero while this side may be asleep    128 wanted: the index of the other side that it sleeps for
/// </code>
/// A side keeps its own index in its own memory and never reads it back; of the other side's words it believes nothing before it has compared them with that.
/// </summary>
internal static class RingSide
{
    public const int IndexAt = 0;
    public const int ClosedAt = 8;
    public const int WaitingAt = 64;
    public const int WantedAt = 128;

    /// <summary>Bytes of the length before each message; messages begin at multiples of it.</summary>
    public const int HeaderBytes = 8;

    /// <summary>In the place of a length: the rest up to the end of the memory is empty, and the next message begins at its start.</summary>
    public const uint Skip = uint.MaxValue;

    /// <summary>The largest message of a ring: whatever the indices are, it fits in one piece into an empty one.</summary>
    public static int MessageMax(int capacityBytes) => capacityBytes / 2 - HeaderBytes;

    public static int Padded(int lengthBytes) => (HeaderBytes + lengthBytes + HeaderBytes - 1) & -HeaderBytes;
}

/// <summary>
/// The writing side of a ring of messages, by address: the same whether the other side is an environment of this process or another process. Not thread-safe; whoever has it sees to it that the memory is there.
/// <code>
///   data:  | length 4 B | 0 4 B | bytes, padded to 8 | length ... |  Skip ...  |        capacity a power of two; an index counts bytes for ever, and lies at index mod capacity
/// </code>
/// </summary>
internal unsafe struct RingProducer(nint own, nint peer, nint data, int capacityBytes)
{
    private ulong _produced = 0;

    /// <summary>Bytes written so far, headers included.</summary>
    public readonly ulong Produced => _produced;

    /// <summary>Room for a message, in place, to be filled and then handed over by <see cref="Publish"/>.</summary>
    public readonly IpcStatus TryReserve(int lengthBytes, out Span<byte> bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(lengthBytes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(lengthBytes, RingSide.MessageMax(capacityBytes));
        bytes = default;
        int needed = RingSide.Padded(lengthBytes);
        int at = Place(needed, out int skipped);
        ulong used = _produced - Volatile.Read(ref *(ulong*)(peer + RingSide.IndexAt));
        if (used > (ulong)capacityBytes)
        {
            return IpcStatus.Corrupt;
        }

        if (Volatile.Read(ref *(ulong*)(peer + RingSide.ClosedAt)) != 0)
        {
            return IpcStatus.Closed;
        }

        if ((ulong)(capacityBytes - needed - skipped) < used)
        {
            // From when on there will be room: what a predicate of ours compares with.
            Volatile.Write(ref *(ulong*)(own + RingSide.WantedAt), _produced + (ulong)(needed + skipped) - (ulong)capacityBytes);
            return IpcStatus.WouldBlock;
        }

        bytes = new Span<byte>((byte*)data + at + RingSide.HeaderBytes, lengthBytes);
        return IpcStatus.Ok;
    }

    /// <summary>Hands over what was reserved with the same length.</summary>
    public void Publish(int lengthBytes)
    {
        int needed = RingSide.Padded(lengthBytes);
        int at = Place(needed, out int skipped);
        if (skipped > 0)
        {
            *(uint*)(data + (nint)(_produced & (ulong)(capacityBytes - 1))) = RingSide.Skip;
        }

        *(ulong*)(data + at) = (uint)lengthBytes;
        _produced += (ulong)(needed + skipped);
        Volatile.Write(ref *(ulong*)(own + RingSide.IndexAt), _produced);
    }

    private readonly int Place(int needed, out int skipped)
    {
        int at = (int)(_produced & (ulong)(capacityBytes - 1));
        skipped = at + needed > capacityBytes ? capacityBytes - at : 0;
        return skipped > 0 ? 0 : at;
    }
}

/// <summary>The reading side, as <see cref="RingProducer"/>. What lies in the ring is the other side's: it may change while it is looked at, and is looked at once.</summary>
internal unsafe struct RingConsumer(nint own, nint peer, nint data, int capacityBytes)
{
    private ulong _consumed = 0;

    /// <summary>Bytes read so far: what the other side's index is while there is nothing to read.</summary>
    public readonly ulong Consumed => _consumed;

    /// <summary>The next message where it lies, until <see cref="Release"/>. The other side can still write it.</summary>
    public IpcStatus TryPeek(out ReadOnlySpan<byte> bytes)
    {
        bytes = default;
        while (true)
        {
            // Closed first: what was written before closing is seen then.
            bool isClosed = Volatile.Read(ref *(ulong*)(peer + RingSide.ClosedAt)) != 0;
            ulong available = Volatile.Read(ref *(ulong*)(peer + RingSide.IndexAt)) - _consumed;
            if (available == 0)
            {
                return isClosed ? IpcStatus.Closed : IpcStatus.WouldBlock;
            }

            if (available > (ulong)capacityBytes || available % RingSide.HeaderBytes != 0)
            {
                return IpcStatus.Corrupt;
            }

            int at = (int)(_consumed & (ulong)(capacityBytes - 1));
            uint length = Volatile.Read(ref *(uint*)(data + at));
            if (length == RingSide.Skip && at > 0)
            {
                int rest = capacityBytes - at;
                if ((ulong)rest > available)
                {
                    return IpcStatus.Corrupt;
                }

                Consume(rest);
                continue;
            }

            if (length > (uint)RingSide.MessageMax(capacityBytes))
            {
                return IpcStatus.Corrupt;
            }

            int needed = RingSide.Padded((int)length);
            if ((ulong)needed > available || at + needed > capacityBytes)
            {
                return IpcStatus.Corrupt;
            }

            bytes = new ReadOnlySpan<byte>((byte*)data + at + RingSide.HeaderBytes, (int)length);
            return IpcStatus.Ok;
        }
    }

    /// <summary>Done with the message of that length that <see cref="TryPeek"/> gave.</summary>
    public void Release(int lengthBytes) => Consume(RingSide.Padded(lengthBytes));

    private void Consume(int bytes)
    {
        _consumed += (ulong)bytes;
        Volatile.Write(ref *(ulong*)(own + RingSide.IndexAt), _consumed);
    }
}
