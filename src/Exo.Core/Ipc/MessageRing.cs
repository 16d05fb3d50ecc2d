// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Observation;
using Exo.Core.Predicates;

namespace Exo.Core.Ipc;

/// <summary>Whether the reader of a ring trusts its writer.</summary>
public enum PeerTrust : byte
{
    /// <summary>
    /// Not: a message is copied out once and only then looked at, so that the writer cannot change it under the reader's eyes. The writer cannot harm the reader whatever it writes.
    /// </summary>
    Distrusted = 0,

    /// <summary>It does: it may also read messages where they lie (<see cref="MessageReader.TryPeek"/>). Indices and lengths are checked all the same.</summary>
    Trusted = 1,
}

/// <summary>
/// A ring of messages from one environment to another, over shared frames. Each side writes its own frames and can only read the other's: the frames' access-control lists say so.
/// <code>
///   the writer's:  | words | data ...        |     words: index, closed, wanted        the reader may read them
///   the reader's:  | words |                                                              the writer may read them
/// </code>
/// The levels of trust of the paper (SOSP'97, section 5.2), from the writer's and the reader's side: <i>mutual</i>: messages are written and read in place; <i>one-way</i>: in place by the side that trusts, copied by the other;
/// <i>none</i>: copied on both sides. For a conversation make two rings.
/// </summary>
public static class MessageRing
{
    /// <summary>Makes a ring and opens both ends.</summary>
    /// <param name="pool">Where the frames are from.</param>
    /// <param name="writer">Who writes; owns and pays for the data frames and its words.</param>
    /// <param name="reader">Who reads; owns and pays for one frame.</param>
    /// <param name="trust">Whether the reader trusts the writer.</param>
    /// <param name="capacityBytes">Bytes of messages and their headers: a power of two from 4,096 to 2^30. A message has at most half of that less eight bytes.</param>
    /// <exception cref="AccessDeniedException">A capability is not of the pool's authority, or is revoked.</exception>
    /// <exception cref="InvalidOperationException">There are no such frames, or one of the two may have no more.</exception>
    public static (MessageWriter Writer, MessageReader Reader) Create(
        FramePool pool, ExoEnvironment writer, ExoEnvironment reader, PeerTrust trust = PeerTrust.Distrusted, int capacityBytes = 16_384)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(writer);
        ArgumentNullException.ThrowIfNull(reader);
        FrameRuns.CheckCapacity(capacityBytes);
        int written = 1 + capacityBytes / FramePool.FrameBytes;
        FrameNumber writers = FrameRuns.Allocate(pool, writer, written);
        FrameNumber readers;
        try
        {
            readers = FrameRuns.Allocate(pool, reader, 1);
        }
        catch
        {
            FrameRuns.Release(pool, writer, writers, written);
            throw;
        }

        for (uint i = 0; i < (uint)written; i++)
        {
            Grant(pool, writer, new FrameNumber(writers.Value + i), reader);
        }

        Grant(pool, reader, readers, writer);
        PinnedFrames writersOwn = new(pool, writer.Credential, writers, written, Rights.Write);
        PinnedFrames readersOwn = new(pool, reader.Credential, readers, 1, Rights.Write);
        return (
            new MessageWriter(writersOwn, new PinnedFrames(pool, writer.Credential, readers, 1, Rights.Read, writersOwn.Lock), writer, capacityBytes),
            new MessageReader(readersOwn, new PinnedFrames(pool, reader.Credential, writers, written, Rights.Read, readersOwn.Lock), reader, trust, capacityBytes));
    }

    private static void Grant(FramePool pool, ExoEnvironment owner, FrameNumber frame, ExoEnvironment to)
    {
        bool granted = pool.TryModifyAcl(owner.Credential, frame, 1, new AclEntry(to.Name, Rights.Read), out AccessRefusal refusal);
        if (!granted)
        {
            throw new AccessDeniedException(frame.ToString(), Rights.ModifyAcl, refusal);
        }
    }
}

/// <summary>One end of a <see cref="MessageRing"/>: what both have in common.</summary>
public abstract class MessageEnd : IDisposable, IObservableRing
{
    private readonly WakeupPredicate _ready;
    private int _isClosed;

    private protected MessageEnd(PinnedFrames own, PinnedFrames peers, ExoEnvironment environment, int capacityBytes)
    {
        Own = own;
        Peers = peers;
        Environment = environment;
        CapacityBytes = capacityBytes;
        _ready = WakeupPredicate.Bind([ReadyWhen(1), ClosedWhen(2)]);
        environment.AddRing(this);
    }

    /// <summary>Whose end it is: it is this environment that sleeps.</summary>
    public ExoEnvironment Environment { get; }

    /// <summary>Whether this end was closed.</summary>
    public bool IsClosed => Volatile.Read(ref _isClosed) != 0;

    internal PinnedFrames Own { get; }

    internal PinnedFrames Peers { get; }

    /// <summary>Whether the frames are all there; under the lock of both.</summary>
    private protected bool IsRevoked => Own.IsRevoked || Peers.IsRevoked;

    /// <summary>Holds when the other side has closed: for a predicate of the library OS's own that waits for several things.</summary>
    /// <param name="tag">The tag of the product; not zero.</param>
    public PredicateProduct ClosedWhen(ulong tag) => new(tag, PredicateValue.Word(Peers.FirstBinding, RingSide.ClosedAt).NotEqualTo(0));

    /// <summary>Holds when there is a message to read; at the writing end, when there is room for the message that there was none for last.</summary>
    /// <param name="tag">The tag of the product; not zero.</param>
    public abstract PredicateProduct ReadyWhen(ulong tag);

    /// <summary>
    /// Closes the end and gives its frames back, so that nobody can keep them from their owner. What a writer has written and nobody has read goes with them: <see cref="MessageWriter.Complete"/> first, and wait, where that matters.
    /// </summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isClosed, 1) == 0)
        {
            Environment.RemoveRing(this);
            SetClosed();
            _ready.Dispose();
            Peers.Dispose();
            Own.Dispose();
            FrameRuns.Release(Own.Pool, Environment, Own.First, Own.Count);
        }

        GC.SuppressFinalize(this);
    }

    RingSnapshot IObservableRing.Observe()
    {
        lock (Own.Lock)
        {
            RingSnapshot revoked = new(Environment.Name.ToString(), RingKind.Messages, Writes, (Writes ? Own : Peers).First.Value, 0, CapacityBytes, (long)Passed, 0, IpcStatus.Revoked);
            return IsRevoked ? revoked : Observe(revoked);
        }
    }

    /// <summary>Whether it is the end that is written to.</summary>
    private protected abstract bool Writes { get; }

    /// <summary>Bytes that have gone through, by this end's own count; under the lock.</summary>
    private protected abstract ulong Passed { get; }

    private protected int CapacityBytes { get; }

    private protected RetriedWait<T> WaitFor<T>(RetriedWait<T>.Attempt attempt) => new(Environment, _ready, attempt);

    private protected void ThrowIfClosed() => ObjectDisposedException.ThrowIf(IsClosed, this);

    // Under the lock, with the frames there. The other side's words are read once and believed within bounds.
    private unsafe RingSnapshot Observe(RingSnapshot ring)
    {
        ulong theirs = Volatile.Read(ref *(ulong*)(Peers.Address + RingSide.IndexAt));
        bool isClosed = Volatile.Read(ref *(ulong*)(Peers.Address + RingSide.ClosedAt)) != 0;
        ulong depth = Writes ? Passed - theirs : theirs - Passed;
        return ring with
        {
            Depth = (long)Math.Min(depth, (ulong)CapacityBytes),
            Status = depth > (ulong)CapacityBytes ? IpcStatus.Corrupt : isClosed ? IpcStatus.Closed : IpcStatus.Ok,
        };
    }

    private protected unsafe void SetClosed()
    {
        lock (Own.Lock)
        {
            if (!Own.IsRevoked)
            {
                Volatile.Write(ref *(ulong*)(Own.Address + RingSide.ClosedAt), 1);
            }
        }

        Own.Pool.Ring(Own.First);
    }
}
