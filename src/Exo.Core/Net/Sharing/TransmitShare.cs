// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Sharing;

namespace Exo.Core.Net;

/// <summary>
/// An environment's share of a device for sending (<see cref="TransmitShares"/>): a bounded queue of packets.
/// <code>
///   CounterFrame   word 0: packets queued | word 1: packets that have had their turn | word 2: bytes of these      to be read without a call
/// </code>
/// Of an environment that may not send everything (<see cref="SourceGuard"/>) the header is copied, looked at, and sent from the copy; payload is sent from where it lies.
/// Who finds it full sleeps until word 1 has changed (<see cref="Predicates.WakeupPredicate"/> over the frame). For any thread.
/// </summary>
public sealed class TransmitShare : IDisposable
{
    private readonly TransmitShares _shares;
    private readonly TransmitFlow _flow;
    private readonly FrameNumber _counterFrame;
    private readonly SourceGuard? _guard;
    private readonly HeaderCopies? _headers;
    private readonly long[] _refused = new long[(int)PacketRefusal.Message + 1];

    // With a guard there is room for copies.
    internal TransmitShare(TransmitShares shares, ExoEnvironment owner, TransmitFlow flow, FrameNumber counterFrame, SourceGuard? guard, HeaderCopies? headers)
    {
        _shares = shares;
        _flow = flow;
        _counterFrame = counterFrame;
        _guard = guard;
        _headers = headers;
        flow.Owner = this;
        Owner = owner;
    }

    /// <summary>Whose it is.</summary>
    public ExoEnvironment Owner { get; }

    /// <summary>Its part of what is sent, in proportion to those of the others who have something to send.</summary>
    public int Weight => _flow.Weight;

    /// <summary>The frame with the counters: its owner's, like one it had allocated itself.</summary>
    public FrameNumber CounterFrame => _counterFrame;

    /// <summary>Packets that wait.</summary>
    public int Count
    {
        get
        {
            lock (_shares.Lock)
            {
                return _flow.Count;
            }
        }
    }

    /// <summary>A packet would find room now.</summary>
    internal bool HasRoom
    {
        get
        {
            lock (_shares.Lock)
            {
                return !_flow.IsFull && _headers?.HasRoom != false;
            }
        }
    }

    /// <summary>Bytes of packets that have had their turn.</summary>
    public long BytesSent
    {
        get
        {
            lock (_shares.Lock)
            {
                return _flow.Bytes;
            }
        }
    }

    /// <summary>
    /// Queues a packet; it keeps references to the frames until the device has it. The bytes must not change before (<see cref="FramePool.ReferenceCount"/> tells). Never blocks.
    /// </summary>
    /// <param name="header">The first bytes, at least the Ethernet header.</param>
    /// <param name="payload">What follows, where it lies.</param>
    /// <param name="offload">What the device is to do to it.</param>
    /// <returns>False: the queue is full.</returns>
    /// <exception cref="ArgumentException">The device does not take such a packet.</exception>
    /// <exception cref="ObjectDisposedException">The share is closed, or its environment has ended.</exception>
    public bool TrySend(PacketSlice header, ReadOnlySpan<PacketSlice> payload = default, PacketOffload offload = default) => TrySend(header, payload, offload, out _);

    /// <summary>The same, and why the packet went nowhere although it was taken.</summary>
    internal bool TrySend(PacketSlice header, ReadOnlySpan<PacketSlice> payload, PacketOffload offload, out PacketRefusal refusal)
    {
        refusal = PacketRefusal.None;
        ObjectDisposedException.ThrowIf(Owner.HasEnded, this);
        if (payload.Length > TransmitShares.SlicesMax)
        {
            throw new ArgumentException($"{payload.Length} pieces; {TransmitShares.SlicesMax} are the most.", nameof(payload));
        }

        FramePool frames = _shares.Device.Frames;
        TransmitPacket packet = new(header, 0, payload.Length, offload);
        TransmitCheck.ThrowUnlessValid(frames, _shares.Device.Features, new ReadOnlySpan<TransmitPacket>(in packet), payload);
        lock (_shares.Lock)
        {
            ObjectDisposedException.ThrowIf(_flow.IsClosed, this);
            int source = 0;
            if (_guard is not null)
            {
                // The sender may write to his frames at any time, also from another thread or process, so nothing is decided by what lies there: the header is copied first, the copy is looked at, and
                // the copy is what the device gets (as a header that is repeated before segments too; checksums that it completes are in it). What stays in the sender's frames is payload, which says
                // nothing about who sends: how long it is stands in the slices, which are copied with the packet.
                if (_flow.IsFull)
                {
                    return false;
                }

                if (header.LengthBytes > FramePool.FrameBytes)
                {
                    refusal = PacketRefusal.Malformed;
                }
                else if (!_headers!.TryCopy(header, out PacketSlice copy))
                {
                    return false;
                }
                else
                {
                    packet = packet with { Header = copy };
                    refusal = _guard.Check(copy.Bytes(frames), TransmitLength.Of(packet, payload), offload, out source);
                }

                if (refusal != PacketRefusal.None)
                {
                    Refuse(refusal);
                    return true;
                }

                _headers!.Keep(packet.Header);
            }

            if (!_flow.TryAdd(in packet, payload, source))
            {
                return false;
            }

            TransmitFrames.Retain(frames, packet.Header, payload);
            _shares.Activate(_flow);
            Publish();
            return true;
        }
    }

    /// <summary>Closes it: what waits is dropped. Twice is once.</summary>
    public void Dispose()
    {
        FramePool frames = _shares.Device.Frames;
        lock (_shares.Lock)
        {
            if (_flow.IsClosed)
            {
                return;
            }

            _flow.IsClosed = true;
            while (_flow.HeadCost >= 0)
            {
                (PacketSlice header, PacketSlice[] payload, int count, _) = _flow.Head;
                TransmitFrames.Release(frames, header, payload.AsSpan(0, count));
                _flow.RemoveHead();
            }

            _headers?.Release();
        }

        _shares.Remove(this);
        Owner.TryReleaseFrame(frames, _counterFrame);

        // The share's own reference; the owner's was charged as a frame of his.
        frames.Release(_counterFrame);
    }

    /// <summary>Packets that went nowhere for a reason.</summary>
    internal long RefusedFor(PacketRefusal reason) => Volatile.Read(ref _refused[(int)reason]);

    /// <summary>Under the lock, in its turn: the first packet goes into the batch, with its references, unless its port is somebody else's by now. False: there is no room.</summary>
    internal bool TryTake(TransmitBatch batch)
    {
        (PacketSlice header, PacketSlice[] payload, int count, PacketOffload offload) = _flow.Head;
        long cost = _flow.HeadCost;
        if (_guard?.IsAnothers(_flow.HeadSource) == true)
        {
            TransmitFrames.Release(_shares.Device.Frames, header, payload.AsSpan(0, count));
            _flow.Taken(0);
            Refuse(PacketRefusal.Port);
            Publish();
            return true;
        }

        if (!batch.TryAdd(header, payload.AsSpan(0, count), offload))
        {
            return false;
        }

        _flow.Charge(cost);
        _flow.Taken(cost);
        Publish();
        return true;
    }

    /// <summary>Tells those who sleep on the counters; predicates of others run here.</summary>
    internal void RingCounters()
    {
        if (!_flow.IsClosed)
        {
            _shares.Device.Frames.Ring(_counterFrame);
        }
    }

    // Under the lock.
    private void Refuse(PacketRefusal reason) => Volatile.Write(ref _refused[(int)reason], _refused[(int)reason] + 1);

    // The share holds a reference to the counters' frame of its own, so it is there even when the owner lost his.
    private void Publish()
    {
        Span<long> words = MemoryMarshal.Cast<byte, long>(_shares.Device.Frames.Bytes(_counterFrame));
        Volatile.Write(ref words[0], _flow.Queued);
        Volatile.Write(ref words[1], _flow.Packets);
        Volatile.Write(ref words[2], _flow.Bytes);
    }
}
