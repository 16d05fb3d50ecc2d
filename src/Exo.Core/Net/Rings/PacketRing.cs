// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Ipc;
using Exo.Core.Memory;
using Exo.Core.Observation;

namespace Exo.Core.Net;

/// <summary>
/// The packets that came in for one environment and were not fetched yet: a bounded queue between the thread that polls the device and one thread of the
/// environment. A full ring loses packets, its own and nobody else's.
/// <code>
///   CounterFrame   word 0: packets put in | word 1: packets taken out | word 2: packets lost      to be read without a call
/// </code>
/// An environment sleeps until word 0 has changed (<see cref="Predicates.WakeupPredicate"/> over the frame); who fills the ring rings.
/// </summary>
public sealed class PacketRing : IDisposable, IObservableRing
{
    private readonly PacketDemultiplexer _demultiplexer;
    private readonly FramePool _frames;
    private readonly Entry[] _entries;
    private readonly PacketSlice[] _slices;
    private readonly ulong _firstSlot;
    private readonly FrameNumber _counterFrame;

    // Guards the end: who fills and who fetches are in it for a moment, who closes waits for them.
    private readonly Lock _lock = new();
    private long _put;
    private long _taken;
    private long _lost;
    private int _capacity;
    private bool _isClosed;

    internal PacketRing(PacketDemultiplexer demultiplexer, ExoEnvironment owner, FramePool frames, FrameNumber counterFrame, ulong firstSlot, int slots)
    {
        _demultiplexer = demultiplexer;
        _frames = frames;
        _counterFrame = counterFrame;
        _firstSlot = firstSlot;
        _capacity = slots;
        _entries = new Entry[slots];
        _slices = new PacketSlice[slots * NetworkDevice.ReceiveSlicesMax];
        Owner = owner;
    }

    /// <summary>Whose packets these are; each slot is charged to it as <see cref="ResourceKind.RingSlots"/>.</summary>
    public ExoEnvironment Owner { get; }

    /// <summary>The frame with the counters: its owner's, like one it had allocated itself.</summary>
    public FrameNumber CounterFrame => _counterFrame;

    /// <summary>Slots that it has now: fewer than it was opened with when some were repossessed.</summary>
    public int Capacity => Volatile.Read(ref _capacity);

    /// <summary>Packets in it.</summary>
    public int Count => (int)(Volatile.Read(ref _put) - Volatile.Read(ref _taken));

    /// <summary>Packets that it had no room for.</summary>
    public long Lost => Volatile.Read(ref _lost);

    internal bool IsClosed => Volatile.Read(ref _isClosed);

    internal PacketDemultiplexer Demultiplexer => _demultiplexer;

    internal ulong FirstSlot => _firstSlot;

    internal int SlotsMax => _entries.Length;

    /// <summary>Clears the batch and moves packets into it, with their references to frames, as many as fit. Never blocks, allocates nothing.</summary>
    /// <param name="by">Who fetches: needs <see cref="Rights.Read"/> to the owner's name.</param>
    /// <param name="batch">Where to; of the device's pool.</param>
    /// <returns>Packets in the batch.</returns>
    /// <exception cref="AccessDeniedException">The credential does not dominate the owner's capability.</exception>
    /// <exception cref="ObjectDisposedException">The ring is closed, or its environment has ended.</exception>
    public int Receive(Credential by, ReceiveBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        if (!ReferenceEquals(batch.Frames, _frames))
        {
            throw new ArgumentException("The batch is of another pool than the device.", nameof(batch));
        }

        _demultiplexer.ThrowUnlessGranted(by, Owner, Rights.Read);
        batch.Clear();
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_isClosed, this);
            while (batch.Count < batch.Capacity && _taken < _put)
            {
                int at = (int)(_taken % _entries.Length);
                ref Entry entry = ref _entries[at];
                batch.Add(null, _slices.AsSpan(at * NetworkDevice.ReceiveSlicesMax, entry.SliceCount), entry.Checksum, entry.Offload);
                _taken++;
            }

            Publish();
            return batch.Count;
        }
    }

    /// <summary>Closes the ring: its filters are removed, its packets dropped, its slots given back. Twice is once.</summary>
    public void Dispose() => _demultiplexer.Close(this);

    RingSnapshot IObservableRing.Observe()
    {
        lock (_lock)
        {
            long depth = _put - _taken;
            return new RingSnapshot(
                Owner.Name.ToString(), RingKind.Packets, Writes: false, _counterFrame.Value, Math.Min(depth, _capacity), _capacity, _taken, _lost, _isClosed ? IpcStatus.Closed : IpcStatus.Ok);
        }
    }

    /// <summary>One packet more; the ring takes references of its own to its frames.</summary>
    internal bool TryPut(ReadOnlySpan<PacketSlice> slices, in ReceivedPacket packet)
    {
        lock (_lock)
        {
            if (_isClosed || _put - _taken >= _capacity)
            {
                _lost++;
                Publish();
                return false;
            }

            int at = (int)(_put % _entries.Length);
            _entries[at] = new Entry(slices.Length, packet.Checksum, packet.Offload);
            slices.CopyTo(_slices.AsSpan(at * NetworkDevice.ReceiveSlicesMax));
            foreach (PacketSlice slice in slices)
            {
                for (uint i = 0; i < (uint)slice.FrameCount; i++)
                {
                    _frames.Retain(new FrameNumber(slice.Frame.Value + i));
                }
            }

            _put++;
            Publish();
            return true;
        }
    }

    /// <summary>Tells those who sleep on the counters; once for a batch of packets, outside the lock: predicates of others run here.</summary>
    internal void Ring() => _frames.Ring(_counterFrame);

    /// <summary>One slot was taken away.</summary>
    internal void Shrink()
    {
        lock (_lock)
        {
            _capacity--;
            Invariant.Check(_capacity >= 0);
        }
    }

    /// <summary>Ends it. True for the first who does.</summary>
    internal bool TryEnd()
    {
        lock (_lock)
        {
            if (_isClosed)
            {
                return false;
            }

            _isClosed = true;
            for (; _taken < _put; _taken++)
            {
                int at = (int)(_taken % _entries.Length);
                foreach (PacketSlice slice in _slices.AsSpan(at * NetworkDevice.ReceiveSlicesMax, _entries[at].SliceCount))
                {
                    for (uint i = 0; i < (uint)slice.FrameCount; i++)
                    {
                        _frames.Release(new FrameNumber(slice.Frame.Value + i));
                    }
                }
            }
        }

        // The demultiplexer's own reference; the owner's was charged as a frame of his.
        _frames.Release(_counterFrame);
        return true;
    }

    // The ring holds a reference to the counters' frame of its own, so it is there even when the owner lost his.
    private void Publish()
    {
        Span<long> words = MemoryMarshal.Cast<byte, long>(_frames.Bytes(_counterFrame));
        Volatile.Write(ref words[0], _put);
        Volatile.Write(ref words[1], _taken);
        Volatile.Write(ref words[2], _lost);
    }

    private readonly record struct Entry(int SliceCount, ChecksumState Checksum, PacketOffload Offload);
}
