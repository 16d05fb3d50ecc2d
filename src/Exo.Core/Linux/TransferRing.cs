// SPDX-License-Identifier: MIT
namespace Exo.Core.Linux;

/// <summary>
/// Something that takes entries as io_uring writes them and gives its completions: io_uring itself, or the kernel's older asynchronous calls.
/// Made by one thread and used by it.
/// </summary>
internal abstract unsafe class TransferRing : IDisposable
{
    /// <summary>Submissions that fit; completions have room for at least as many.</summary>
    public int Entries { get; protected init; }

    /// <summary>No other thread than the one that made it may submit and wait.</summary>
    public bool IsBoundToThread { get; protected init; }

    /// <summary>Calls into the kernel so far.</summary>
    public long EnterCount { get; protected set; }

    /// <summary>Entries written and not yet handed over.</summary>
    public abstract uint Unsubmitted { get; }

    /// <summary>The next free entry, cleared. The caller keeps what it has in flight at or below <see cref="Entries"/>.</summary>
    public abstract UringSubmission* NextEntry();

    /// <summary>Hands over what was written; looks for no completion.</summary>
    public abstract void Submit();

    /// <summary>
    /// Hands over what was written and waits until <paramref name="minComplete"/> completions are there. May return early
    /// (a signal, a shortage in the kernel): the caller looks at what is there and comes again.
    /// </summary>
    public abstract void SubmitAndWait(uint minComplete);

    /// <summary>Takes one completion, if there is one. No call.</summary>
    public abstract bool TryComplete(out UringCompletion completion);

    /// <summary>Registers one buffer as number 0; the kernel pins its pages. False where there is no such thing.</summary>
    public virtual bool TryRegisterBuffer(nint address, long lengthBytes) => false;

    /// <summary>Registers one file as number 0: entries with IOSQE_FIXED_FILE name it without counting its users. False where there is no such thing.</summary>
    public virtual bool TryRegisterFile(int fd) => false;

    /// <summary>Takes the file back. For the thread that made the ring; others are refused.</summary>
    public virtual void UnregisterFile()
    {
    }

    /// <summary>Closes it. Nothing may be in flight: the kernel would go on using the buffers.</summary>
    public abstract void Dispose();
}
