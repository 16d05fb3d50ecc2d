// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.Core.Net;

/// <summary>
/// A network interface at the grain of packets in frames: submit and poll. It hides no threads and decides nothing: no queueing, no addresses, no
/// protocol. What it cannot do (<see cref="Features"/>) it refuses; whoever sends knows the features.
/// <code>
///   loop:  Receive(batch) -> look at the packets, fill a TransmitBatch -> Transmit(batch) -> nothing to do? Wait
/// </code>
/// <para><b>Threads.</b> One thread at a time uses a device. <see cref="Wake"/>, <see cref="Counters"/> and <see cref="Features"/> are for any.</para>
/// <para><b>Frames of packets sent</b> are the caller's. A device that sends from the frames themselves (<see cref="NetworkDeviceFeatures.TransmitsFromFrames"/>)
/// retains every frame of a packet when it accepts it and releases it once, when the packet has left; all others are done with the frames when Transmit returns. So:
/// the bytes must not change while somebody else than the caller holds the frame (<see cref="FramePool.ReferenceCount"/>); that count, which everybody can
/// read, is the completion. Counts fall while the device is called (<see cref="Transmit(ReadOnlySpan{TransmitPacket}, ReadOnlySpan{PacketSlice})"/>, <see cref="Receive"/>, <see cref="Reap"/>).</para>
/// <para><b>Frames of packets received</b> belong to the batch: see <see cref="ReceiveBatch"/>.</para>
/// <para><b>Loss.</b> An accepted packet may still be lost, here or on the wire; the device counts what it knows about. Nothing is retried.</para>
/// </summary>
public abstract class NetworkDevice : IDisposable
{
    /// <summary>The most packets that a batch of received ones holds.</summary>
    public const int BatchPacketsMax = 64;

    /// <summary>The most pieces that a received packet comes in.</summary>
    public const int ReceiveSlicesMax = 18;

    /// <summary>Bytes of an Ethernet II header without tags.</summary>
    public const int EthernetHeaderBytes = 14;

    /// <summary>What every device has.</summary>
    /// <param name="name">For messages; the interface's name where there is one.</param>
    /// <param name="frames">The pool that all slices name frames of. It must outlive the device.</param>
    protected NetworkDevice(string name, FramePool frames)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(frames);
        Name = name;
        Frames = frames;
    }

    /// <summary>For messages; the interface's name where there is one.</summary>
    public string Name { get; }

    /// <summary>The pool that all slices name frames of.</summary>
    public FramePool Frames { get; }

    /// <summary>What it can do: the last snapshot.</summary>
    public abstract NetworkDeviceFeatures Features { get; }

    /// <summary>What it has done.</summary>
    public abstract NetworkDeviceCounters Counters { get; }

    /// <summary>Whether code can be downloaded to where packets come in: <see cref="SetHandler"/>.</summary>
    public virtual bool TakesHandlers => false;

    /// <summary>Packets accepted that are not done with yet; always 0 if the device copies.</summary>
    public virtual int TransmitsInFlight => 0;

    /// <summary>Whom a stack on this device asks for ports; null: whoever has the device has all that comes in, and nobody needs to be asked.</summary>
    public virtual IPortBinder? Ports => null;

    /// <summary>How full its rings are now. For the thread that uses the device; takes a look at each slot that waits.</summary>
    public virtual NetworkDeviceRings RingFill => default;

    /// <summary>
    /// Sends packets, in order, as many as there is room for. Never blocks. Allocates nothing.
    /// </summary>
    /// <param name="packets">The packets.</param>
    /// <param name="slices">The vector that their <see cref="TransmitPacket.FirstSlice"/> indexes.</param>
    /// <returns>How many, from the first on, were accepted. The rest is untouched: keep it, <see cref="Wait"/> for <see cref="NetworkEvents.Transmittable"/>, call again.</returns>
    /// <exception cref="ArgumentException">A packet breaks a rule of <see cref="TransmitPacket"/> or needs what the device has not; nothing was sent.</exception>
    /// <exception cref="NetworkDeviceException">The device is gone.</exception>
    public int Transmit(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        if (packets.IsEmpty)
        {
            return 0;
        }

        TransmitCheck.ThrowUnlessValid(Frames, Features, packets, slices);
        return TransmitChecked(packets, slices);
    }

    /// <summary>Sends what is in a batch and takes out what was accepted.</summary>
    /// <returns>Packets accepted.</returns>
    /// <inheritdoc cref="Transmit(ReadOnlySpan{TransmitPacket}, ReadOnlySpan{PacketSlice})" path="/exception"/>
    public int Transmit(TransmitBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        int accepted = Transmit(batch.Packets, batch.Slices);
        batch.RemoveFirst(accepted);
        return accepted;
    }

    /// <summary>Clears the batch and fills it with what has come in, as many as fit. Never blocks. Allocates nothing.</summary>
    /// <returns>Packets in the batch.</returns>
    /// <exception cref="ArgumentException">The batch is of another pool.</exception>
    /// <exception cref="NetworkDeviceException">The device is gone.</exception>
    public int Receive(ReceiveBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        if (!ReferenceEquals(batch.Frames, Frames))
        {
            throw new ArgumentException("The batch is of another pool than the device.", nameof(batch));
        }

        batch.Clear();
        return ReceiveInto(batch);
    }

    /// <summary>Blocks until one of the wanted events, <see cref="Wake"/> or the time-out. May return early.</summary>
    /// <param name="wanted"><see cref="NetworkEvents.Receivable"/>, <see cref="NetworkEvents.Transmittable"/> or both.</param>
    /// <param name="timeout">At most this long; zero looks only, <see cref="Timeout.InfiniteTimeSpan"/> is for ever.</param>
    public abstract NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout);

    /// <summary>Ends a wait, or the next one if none is under way. For any thread.</summary>
    public abstract void Wake();

    /// <summary>Releases the frames of packets that have left. The other calls do that too; for a sender that has nothing else to do.</summary>
    public virtual void Reap()
    {
    }

    /// <summary>Takes a new snapshot of the features: the MTU or the address may have changed. Filters that have changed take effect.</summary>
    /// <exception cref="NetworkDeviceException">The device is gone.</exception>
    public virtual void Refresh()
    {
    }

    /// <summary>
    /// The filters that the device was opened with have changed: from the return on they decide as they are now. Nothing for a device without. <see cref="Refresh"/> does it too. For any thread.
    /// </summary>
    /// <exception cref="NetworkDeviceException">The kernel refused; the filters decide as before.</exception>
    /// <exception cref="InvalidOperationException">The filters make a program longer than 32,767 slots; they decide as before.</exception>
    public virtual void UpdateFilters()
    {
    }

    /// <summary>
    /// Downloads code that deals with some packets where they come in; it replaces what was there. The interface is as it was when this is called with null, when the device is
    /// disposed, and when the process ends, however it ends.
    /// </summary>
    /// <exception cref="NotSupportedException">The device has no place for it: <see cref="TakesHandlers"/>.</exception>
    /// <exception cref="NetworkDeviceException">The kernel refused the code.</exception>
    public virtual void SetHandler(PacketHandler? handler) => throw new NotSupportedException($"{Name} takes no handlers.");

    /// <summary>Has the kernel run a handler's ingress part on a packet that came from nowhere and goes nowhere.</summary>
    /// <param name="handler">The handler; it need not be set.</param>
    /// <param name="packet">The packet; it becomes what the program made of it.</param>
    /// <returns>The program's verdict.</returns>
    /// <exception cref="NetworkDeviceException">The kernel refused the code.</exception>
    public int TestHandler(PacketHandler handler, Span<byte> packet)
    {
        ArgumentNullException.ThrowIfNull(handler);
        return IngressHook.Run(Name, handler.Ingress, packet);
    }

    /// <summary>
    /// Detaches from the interface, which is as it was before. Packets in flight may be lost; their frames are released.
    /// </summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Sends packets that have been checked against the pool and the features, none of them empty. Must not throw for what a packet contains.</summary>
    protected abstract int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices);

    /// <summary>Fills a batch that is empty.</summary>
    protected abstract int ReceiveInto(ReceiveBatch batch);

    /// <summary>Detaches. Called at least once; twice is once.</summary>
    protected abstract void Dispose(bool disposing);
}
