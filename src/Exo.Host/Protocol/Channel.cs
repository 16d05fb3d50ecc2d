// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Core.Ipc;
using Exo.Core.Linux;
using Exo.Core.Observation;

namespace Exo.Host.Protocol;

/// <summary>
/// Two rings between two processes, each side's words and messages in a file that only that side writes: the client's requests, the host's replies.
/// <code>
///   page 0: words of the ring that this side writes | page 1: words of the ring that it reads | from page 2: its messages
/// </code>
/// Who waits looks for a short while, the shorter the more often it was in vain, and then sleeps on the other side's index (futex), having said so in its own words; who writes looks at those words and wakes. A side that
/// lies about its waiting costs the other a system call, or itself a tenth of a second.
/// </summary>
internal sealed unsafe class Channel
{
    /// <summary>Bytes of messages in each direction.</summary>
    public const int CapacityBytes = 256 << 10;

    /// <summary>Size of each side's file.</summary>
    public const int FileBytes = CapacityBytes + 2 * PageBytes;

    /// <summary>The largest message.</summary>
    public static readonly int MessageMax = RingSide.MessageMax(CapacityBytes);

    private const int PageBytes = 4096;
    private const int SleepMs = 100;
    private static readonly long s_spinTicksMax = Stopwatch.Frequency / 20_000; // 50 us
    private static readonly long s_spinTicksMin = Stopwatch.Frequency / 1_000_000; // 1 us

    private readonly nint _own;
    private readonly nint _peer;
    private long _spinTicks = s_spinTicksMax;
    private RingProducer _out;
    private RingConsumer _in;

    public Channel(nint own, nint peer)
    {
        _own = own;
        _peer = peer;
        _out = new RingProducer(own, peer + PageBytes, own + 2 * PageBytes, CapacityBytes);
        _in = new RingConsumer(own + PageBytes, peer, peer + 2 * PageBytes, CapacityBytes);
    }

    /// <summary>Room for a message in place.</summary>
    public IpcStatus TryReserve(int lengthBytes, out Span<byte> bytes) => _out.TryReserve(lengthBytes, out bytes);

    /// <summary>Sends what was reserved, and wakes who waits for it.</summary>
    public void Send(int lengthBytes)
    {
        _out.Publish(lengthBytes);
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref *(uint*)(_peer + PageBytes + RingSide.WaitingAt)) != 0)
        {
            Libc.FutexWake(_own + RingSide.IndexAt);
        }
    }

    /// <summary>The next message, where it lies; waits for it while <paramref name="isAlive"/> says that there is somebody to come.</summary>
    /// <returns>Ok, Corrupt, or Closed when nobody is there any more.</returns>
    public IpcStatus Receive(Func<bool> isAlive, out ReadOnlySpan<byte> bytes)
    {
        IpcStatus status = _in.TryPeek(out bytes);
        if (status != IpcStatus.WouldBlock)
        {
            return status;
        }

        long until = Stopwatch.GetTimestamp() + _spinTicks;
        do
        {
            for (int i = 0; i < 16; i++)
            {
                Thread.SpinWait(1);
                status = _in.TryPeek(out bytes);
                if (status != IpcStatus.WouldBlock)
                {
                    _spinTicks = Math.Min(_spinTicks * 2, s_spinTicksMax);
                    return status;
                }
            }
        }
        while (Stopwatch.GetTimestamp() < until);

        // In vain, perhaps because there is no processor for the other side: then looking only keeps one from it.
        _spinTicks = Math.Max(_spinTicks / 2, s_spinTicksMin);
        return Sleep(isAlive, out bytes);
    }

    /// <summary>Done with the message received.</summary>
    public void Release(int lengthBytes) => _in.Release(lengthBytes);

    /// <summary>Wakes whoever of this process waits here, to see that it is over.</summary>
    public void Interrupt() => Libc.FutexWake(_peer + RingSide.IndexAt);

    /// <summary>What the other side has sent and this one has not taken. For observers on other threads: this side's own count may be a moment old, so the depth is kept within bounds.</summary>
    public RingSnapshot ObserveIncoming(string name, RingKind kind)
    {
        ulong consumed = _in.Consumed;
        return Ring(name, kind, writes: false, Volatile.Read(ref *(ulong*)(_peer + RingSide.IndexAt)) - consumed, consumed);
    }

    /// <summary>What this side has sent and the other one has not taken, as <see cref="ObserveIncoming"/>.</summary>
    public RingSnapshot ObserveOutgoing(string name, RingKind kind)
    {
        ulong produced = _out.Produced;
        return Ring(name, kind, writes: true, produced - Volatile.Read(ref *(ulong*)(_peer + PageBytes + RingSide.IndexAt)), produced);
    }

    // A moment later there may be less than nothing in it, by this count.
    private static RingSnapshot Ring(string name, RingKind kind, bool writes, ulong depth, ulong passed) => new(
        name, kind, writes, Frame: null, (long)depth < 0 ? 0 : (long)Math.Min(depth, CapacityBytes), CapacityBytes, (long)passed, Lost: 0,
        depth > CapacityBytes && (long)depth > 0 ? IpcStatus.Corrupt : IpcStatus.Ok);

    private IpcStatus Sleep(Func<bool> isAlive, out ReadOnlySpan<byte> bytes)
    {
        ref uint waiting = ref *(uint*)(_own + PageBytes + RingSide.WaitingAt);
        try
        {
            while (true)
            {
                Volatile.Write(ref waiting, 1);
                Interlocked.MemoryBarrier();
                IpcStatus status = _in.TryPeek(out bytes);
                if (status != IpcStatus.WouldBlock)
                {
                    return status;
                }

                if (!isAlive())
                {
                    return IpcStatus.Closed;
                }

                Libc.FutexWait(_peer + RingSide.IndexAt, (uint)_in.Consumed, SleepMs);
            }
        }
        finally
        {
            Volatile.Write(ref waiting, 0);
        }
    }
}
