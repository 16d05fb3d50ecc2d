// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Observation;
using Exo.Core.Predicates;

namespace Exo.Core.Ipc;

/// <summary>
/// A pipe as POSIX has it: a stream of bytes with any number of read ends and write ends; end of file when the last write end is closed, <see cref="IpcStatus.Closed"/> to
/// writers when the last read end is; writes of up to 4,096 bytes are in one piece. It is frames of its owner's and nothing else: those who hold ends of it trust one another (SOSP'97, section 5.2), and sleep on its words by predicate.
/// <code>
///   frame 0    0 produced   64 consumed   128 write ends   192 read ends   512 + 8 i: end i sleeps until consumed is at least this
///   frame 1..  the bytes, byte n of the stream at n modulo the capacity
/// </code>
/// Its lock is that of the first frame's watch, under which sleepers lie down and are woken: who finds nothing to read sleeps, and who writes wakes, without letting it go in between.
/// The owner's end takes the frames back, and with them the pipe; let it be somebody who outlives those who use it.
/// </summary>
public sealed class Pipe
{
    /// <summary>Ends that a pipe can have at a time.</summary>
    public const int EndsMax = (FramePool.FrameBytes - SlotsAt) / 8;

    internal const int AtomicBytes = 4096;
    internal const int ProducedAt = 0;
    internal const int ConsumedAt = 64;
    internal const int WritersAt = 128;
    internal const int ReadersAt = 192;
    internal const int SlotsAt = 512;

    private readonly ExoEnvironment _owner;
    private readonly PinnedFrames _frames;
    private readonly FrameWatch _watch;
    private readonly bool[] _slots = new bool[EndsMax];
    private readonly int _capacity;

    private Pipe(ExoEnvironment owner, PinnedFrames frames)
    {
        _owner = owner;
        _frames = frames;
        _watch = frames.Pool.WatchOf(frames.First);
        _capacity = (frames.Count - 1) * FramePool.FrameBytes;
    }

    /// <summary>Bytes that it holds at most.</summary>
    public int CapacityBytes => _capacity;

    /// <summary>Under it the pipe's words are touched, and the places at its ends taken.</summary>
    internal Lock Lock => _frames.Lock;

    internal FramePool Pool => _frames.Pool;

    internal SecureBinding<Frame> Words => _frames.FirstBinding;

    /// <summary>Makes a pipe with one end of each kind.</summary>
    /// <param name="pool">Where the frames are from.</param>
    /// <param name="owner">Whose they are, and who is charged for them.</param>
    /// <param name="reader">Who reads, and sleeps.</param>
    /// <param name="writer">Who writes, and sleeps.</param>
    /// <param name="capacityBytes">How much it holds: a multiple of 4,096, a power of two, at most 1 GiB.</param>
    /// <exception cref="AccessDeniedException">The owner's capability is not of the pool's authority, or is revoked.</exception>
    /// <exception cref="InvalidOperationException">There are no such frames, or the owner may have no more.</exception>
    public static (PipeReadEnd Reader, PipeWriteEnd Writer) Create(
        FramePool pool, ExoEnvironment owner, ExoEnvironment reader, ExoEnvironment writer, int capacityBytes = 65_536)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(owner);
        ArgumentNullException.ThrowIfNull(reader);
        ArgumentNullException.ThrowIfNull(writer);
        FrameRuns.CheckCapacity(capacityBytes);
        FrameNumber first = FrameRuns.Allocate(pool, owner, 1 + capacityBytes / FramePool.FrameBytes);
        Pipe pipe = new(owner, new PinnedFrames(pool, owner.Credential, first, 1 + capacityBytes / FramePool.FrameBytes, Rights.Write, pool.WatchOf(first).Lock));
        return (new PipeReadEnd(pipe, reader), new PipeWriteEnd(pipe, writer));
    }

    internal int OpenEnd(bool writes)
    {
        lock (_frames.Lock)
        {
            int slot = Array.IndexOf(_slots, false);
            if (slot < 0)
            {
                throw new InvalidOperationException($"A pipe has {EndsMax} ends at most.");
            }

            if (_frames.IsRevoked)
            {
                throw BindingPoint.Revoked(_frames.First.ToString(), Rights.Write);
            }

            _slots[slot] = true;
            Word(writes ? WritersAt : ReadersAt)++;
            return slot;
        }
    }

    internal void CloseEnd(bool writes, int slot)
    {
        bool isUnused;
        WakeupPredicate? woken;
        lock (_frames.Lock)
        {
            _slots[slot] = false;
            isUnused = Array.IndexOf(_slots, true) < 0;
            if (_frames.IsRevoked)
            {
                return;
            }

            Word(writes ? WritersAt : ReadersAt)--;
            woken = _watch.TakeWoken();
        }

        FrameWatch.Finish(woken);

        if (isUnused)
        {
            _frames.Dispose();
            FrameRuns.Release(Pool, _owner, _frames.First, _frames.Count);
        }
    }

    internal IpcStatus TryRead(Span<byte> buffer, out int count)
    {
        IpcStatus status;
        WakeupPredicate? woken;
        lock (_frames.Lock)
        {
            status = ReadLocked(buffer, out count);
            woken = count > 0 ? _watch.TakeWoken() : null;
        }

        FrameWatch.Finish(woken);
        return status;
    }

    /// <summary><see cref="TryRead"/>, and if there is nothing, the end sleeps: <paramref name="sleeps"/>, if that can be done at once.</summary>
    internal IpcStatus ReadOrSleep(PipeReadEnd end, Memory<byte> buffer, out int count, out bool sleeps)
    {
        IpcStatus status;
        WakeupPredicate? woken;
        lock (_frames.Lock)
        {
            status = ReadLocked(buffer.Span, out count);
            woken = count > 0 ? _watch.TakeWoken() : null;
            sleeps = status == IpcStatus.WouldBlock && end.TrySleepLocked(buffer);
        }

        FrameWatch.Finish(woken);
        return status;
    }

    internal IpcStatus TryWrite(ReadOnlySpan<byte> bytes, int slot, out int count)
    {
        WakeupPredicate? woken;
        lock (_frames.Lock)
        {
            count = 0;
            if (_frames.IsRevoked)
            {
                return IpcStatus.Revoked;
            }

            if (Word(ReadersAt) == 0)
            {
                return IpcStatus.Closed;
            }

            ref ulong produced = ref Word(ProducedAt);
            int room = _capacity - (int)(produced - Word(ConsumedAt));
            int wanted = Math.Min(bytes.Length, Math.Min(AtomicBytes, _capacity));
            if (room < wanted)
            {
                // From when on the sleeper would find room: what its predicate compares with.
                Word(SlotsAt + slot * 8) = produced + (ulong)wanted - (ulong)_capacity;
                return IpcStatus.WouldBlock;
            }

            count = Math.Min(bytes.Length, room);
            Span<byte> all = Bytes;
            int at = (int)(produced & (ulong)(_capacity - 1));
            int head = Math.Min(count, _capacity - at);
            bytes[..head].CopyTo(all[at..]);
            bytes[head..count].CopyTo(all);
            Volatile.Write(ref produced, produced + (ulong)count);
            woken = _watch.TakeWoken();
        }

        FrameWatch.Finish(woken);
        return IpcStatus.Ok;
    }

    /// <summary>Bytes to read now.</summary>
    internal int Available()
    {
        lock (_frames.Lock)
        {
            return _frames.IsRevoked ? 0 : (int)(Word(ProducedAt) - Word(ConsumedAt));
        }
    }

    /// <summary><see cref="TryRead"/> under the lock; nobody is woken.</summary>
    internal IpcStatus ReadLocked(Span<byte> buffer, out int count)
    {
        count = 0;
        if (_frames.IsRevoked)
        {
            return IpcStatus.Revoked;
        }

        ref ulong produced = ref Word(ProducedAt);
        ref ulong consumed = ref Word(ConsumedAt);
        count = (int)Math.Min(produced - consumed, (ulong)buffer.Length);
        if (count == 0)
        {
            return buffer.IsEmpty ? IpcStatus.Ok : Word(WritersAt) == 0 ? IpcStatus.Closed : IpcStatus.WouldBlock;
        }

        Span<byte> bytes = Bytes;
        int at = (int)(consumed & (ulong)(_capacity - 1));
        int head = Math.Min(count, _capacity - at);
        bytes.Slice(at, head).CopyTo(buffer);
        bytes[..(count - head)].CopyTo(buffer[head..]);
        Volatile.Write(ref consumed, consumed + (ulong)count);
        return IpcStatus.Ok;
    }

    /// <summary>The pipe from one of its ends. Whoever can write its words is trusted with them, but not by those who only look: the depth is within bounds.</summary>
    internal RingSnapshot Observe(ExoEnvironment environment, bool writes)
    {
        lock (_frames.Lock)
        {
            RingSnapshot revoked = new(environment.Name.ToString(), RingKind.Pipe, writes, _frames.First.Value, 0, _capacity, 0, 0, IpcStatus.Revoked);
            if (_frames.IsRevoked)
            {
                return revoked;
            }

            ulong produced = Word(ProducedAt);
            ulong consumed = Word(ConsumedAt);
            ulong depth = produced - consumed;
            return revoked with
            {
                Depth = (long)Math.Min(depth, (ulong)_capacity),
                Passed = (long)(writes ? produced : consumed),
                Status = depth > (ulong)_capacity ? IpcStatus.Corrupt : Word(writes ? ReadersAt : WritersAt) == 0 ? IpcStatus.Closed : IpcStatus.Ok,
            };
        }
    }

    // Both under the lock, with the frames not revoked. The frames are one run, pinned.
    private unsafe ref ulong Word(int offsetBytes) => ref *(ulong*)(_frames.Address + offsetBytes);

    private unsafe Span<byte> Bytes => MemoryMarshal.CreateSpan(ref *(byte*)(_frames.Address + FramePool.FrameBytes), _capacity);
}
