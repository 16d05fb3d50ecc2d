// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Memory;

namespace Exo.Core.AddressSpaces;

/// <summary>
/// An address space: pages of 4 KiB, to each of which its library OS binds a frame, or none. The space decides nothing: what is bound where, which frame resolves a fault, what is taken away when
/// memory is short is up to whoever calls. A page goes through these states:
/// <code>
///            Bind                     write (sole holder), Protect
///  missing ───────► bound, Read ─────────────────────────────────► bound, Write, dirty ◄──┐
///     ▲  │          bound, CopyOnWrite                                 │  ClearDirty      │ write
///     │  └─────────► bound, Write, dirty                               ▼                  │ (noted, nobody is asked)
///     └── Unbind, revocation of the frame, from every state       bound, Write, clean ────┘
/// </code>
/// There are two doors to the memory. <see cref="Read"/> and <see cref="Write"/> translate by the exported table, in software, and deliver a fault on the calling thread: they work everywhere.
/// The window at <see cref="BaseAddress"/> is virtual memory: system calls and native code use it as they use any memory, and faults are delivered to the thread in <see cref="ServeFaults"/>
/// (userfaultfd).
/// </summary>
/// <remarks>
/// <para>A bound page holds its frame: it is not given to anybody else before it is unbound. When the frame's access list changes, its bindings are taken back or it is repossessed, every page it is
/// bound to becomes missing.</para>
/// <para>Managed code that dereferences a pointer into the window must know that the page is bound: a thread that faults there cannot be stopped by the garbage collector, and if the
/// thread that serves faults is stopped meanwhile, neither goes on. The software door has no such trap, and system calls have not.</para>
/// <para>All members may be called from any thread.</para>
/// </remarks>
public sealed partial class AddressSpace : IDisposable
{
    /// <summary>Bytes in a page.</summary>
    public const int PageBytes = FramePool.FrameBytes;

    private readonly Lock _lock = new();
    private readonly Translation[] _table;
    private readonly PageFaultUpcall? _upcall;
    private readonly PageWindow? _window;
    private int _boundPages;
    private bool _isDisposed;

    private AddressSpace(FramePool frames, int pageCount, PageFaultUpcall? upcall, bool withWindow)
    {
        Frames = frames;
        _table = new Translation[pageCount];
        _upcall = upcall;
        WindowNote = "not asked for";
        if (withWindow)
        {
            _window = PageWindow.TryReserve(frames, (long)pageCount * PageBytes, out string whyNot);
            WindowNote = whyNot;
        }

        frames.Attach(this);
    }

    /// <summary>Where the frames come from.</summary>
    public FramePool Frames { get; }

    /// <summary>Pages in the space.</summary>
    public int PageCount => _table.Length;

    /// <summary>Pages to which a frame is bound.</summary>
    public int BoundPages => Volatile.Read(ref _boundPages);

    /// <summary>Where page 0 is in virtual memory; 0 when there is no window.</summary>
    public nint BaseAddress => _window?.Address ?? 0;

    /// <summary>Why there is no window; empty when there is one.</summary>
    public string WindowNote { get; }

    /// <summary>Whether the window delivers faults of system calls too; if not, a system call that touches a missing page of the window fails with EFAULT.</summary>
    public bool DeliversKernelFaults => _window?.SeesKernel ?? false;

    /// <summary>The exported translation table, one entry for each page. Changes under the reader.</summary>
    public ReadOnlySpan<Translation> Translations => _table;

    /// <summary>Reserves an address space. No page has a frame.</summary>
    /// <param name="frames">The pool whose frames can be bound.</param>
    /// <param name="lengthBytes">Size, a multiple of <see cref="PageBytes"/>, at least one page.</param>
    /// <param name="upcall">Who resolves faults; null: nobody, every fault is refused.</param>
    /// <param name="withWindow">Whether the space is to be virtual memory too. Where the system does not permit that, <see cref="WindowNote"/> says why, and only the software door is there.</param>
    /// <exception cref="ArgumentOutOfRangeException">Not whole pages, none, or 2^31 or more.</exception>
    public static AddressSpace Reserve(FramePool frames, long lengthBytes, PageFaultUpcall? upcall = null, bool withWindow = true)
    {
        ArgumentNullException.ThrowIfNull(frames);
        ArgumentOutOfRangeException.ThrowIfNotEqual(lengthBytes % PageBytes, 0, nameof(lengthBytes));
        ArgumentOutOfRangeException.ThrowIfLessThan(lengthBytes, PageBytes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(lengthBytes / PageBytes, Array.MaxLength, nameof(lengthBytes));
        return new AddressSpace(frames, (int)(lengthBytes / PageBytes), upcall, withWindow);
    }

    /// <summary>
    /// Binds frames that follow one another to pages that follow one another, in place of what was bound there; whoever waits for these pages goes on. Each page holds its frame
    /// (<see cref="FramePool.Retain"/>) until it is unbound. A page bound for writing counts as dirty.
    /// </summary>
    /// <param name="credential">Whose right to the frames it is.</param>
    /// <param name="firstPage">Index of the first page.</param>
    /// <param name="firstFrame">The first frame; all are allocated.</param>
    /// <param name="access">What may be done with the pages.</param>
    /// <param name="count">How many.</param>
    /// <exception cref="AccessDeniedException">The credential lacks the right to one of the frames: to write it for <see cref="PageAccess.Write"/>, else to read it. Nothing has changed.</exception>
    /// <exception cref="IOException">The kernel refused the mapping; these pages are missing now.</exception>
    public void Bind(Credential credential, int firstPage, FrameNumber firstFrame, PageAccess access, int count = 1)
    {
        CheckRange(firstPage, count);
        lock (_lock)
        {
            ThrowIfDisposed();

            // The note first, the right second: see FramePool.EndMappings.
            for (int i = 0; i < count; i++)
            {
                Frames.NoteMapping(At(firstFrame, i));
                ThrowUnlessGranted(credential, At(firstFrame, i), access);
            }

            for (int i = 0; i < count; i++)
            {
                Frames.Retain(At(firstFrame, i));
            }

            TakeAway(firstPage, count);
            for (int i = 0; i < count; i++)
            {
                _table[firstPage + i] = new Translation(At(firstFrame, i), access, isDirty: access == PageAccess.Write);
            }

            _boundPages += count;
            Show(firstPage, count);
        }
    }

    /// <summary>Takes frames off pages: a touch of them faults from now on. Pages that are missing stay so.</summary>
    public void Unbind(int firstPage, int count = 1)
    {
        CheckRange(firstPage, count);
        lock (_lock)
        {
            TakeAway(firstPage, count);
        }
    }

    /// <summary>
    /// Takes the frame off one page and tells what the page was; after that nobody can change the frame through this page, so that a pager writes out what is dirty. The page's hold on the frame is
    /// gone: who wants it kept holds it too.
    /// </summary>
    /// <returns>False when the page was missing.</returns>
    public bool TryUnbind(int page, out Translation was)
    {
        CheckRange(page, 1);
        lock (_lock)
        {
            was = _table[page];
            TakeAway(page, 1);
            return was.IsBound;
        }
    }

    /// <summary>Changes what may be done with bound pages; missing ones stay missing. Whoever waits for a page looks again.</summary>
    /// <exception cref="AccessDeniedException">The credential lacks the right to one of the frames. Nothing has changed.</exception>
    public void Protect(Credential credential, int firstPage, PageAccess access, int count = 1)
    {
        CheckRange(firstPage, count);
        lock (_lock)
        {
            ThrowIfDisposed();
            for (int page = firstPage; page < firstPage + count; page++)
            {
                if (_table[page].IsBound)
                {
                    ThrowUnlessGranted(credential, _table[page].Frame, access);
                }
            }

            for (int page = firstPage; page < firstPage + count; page++)
            {
                if (_table[page].IsBound)
                {
                    _table[page] = _table[page].With(access, isDirty: _table[page].IsDirty || access == PageAccess.Write);
                }
            }

            Show(firstPage, count);
        }
    }

    /// <summary>Calls pages clean: the next write to each is noted in its entry again. What is clean and changes while this runs is dirty after it.</summary>
    public void ClearDirty(int firstPage, int count = 1)
    {
        CheckRange(firstPage, count);
        lock (_lock)
        {
            ThrowIfDisposed();
            for (int page = firstPage; page < firstPage + count; page++)
            {
                if (_table[page].IsBound)
                {
                    _table[page] = _table[page].With(_table[page].Access, isDirty: false);
                }
            }

            _window?.Protect(firstPage, count, takesWrites: false);
        }
    }

    /// <summary>Unbinds everything. Whoever waits for a page gets what an access to nothing gets; <see cref="ServeFaults"/> returns.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            if (_isDisposed)
            {
                return;
            }

            _isDisposed = true;
            TakeAway(0, PageCount);
        }

        // Who serves faults leaves before its descriptor goes.
        _window?.Interrupt();
        lock (_serving)
        {
            _window?.Dispose();
        }

        Frames.Detach(this);
    }

    /// <summary>The frame is no longer whose it was when it was bound: every page it is bound to becomes missing.</summary>
    internal void Revoke(FrameNumber frame)
    {
        lock (_lock)
        {
            for (int page = 0; page < _table.Length; page++)
            {
                if (_table[page].IsBound && _table[page].Frame == frame)
                {
                    TakeAway(page, 1);
                }
            }
        }
    }

    /// <summary>Missing from here on. The lock is held.</summary>
    private void TakeAway(int firstPage, int count)
    {
        int bound = 0;
        for (int page = firstPage; page < firstPage + count; page++)
        {
            bound += _table[page].IsBound ? 1 : 0;
        }

        if (bound == 0)
        {
            return;
        }

        // First nobody reaches the frames any more, then they are let go.
        _window?.Clear(firstPage, count);
        for (int page = firstPage; page < firstPage + count; page++)
        {
            Translation was = _table[page];
            _table[page] = default;
            if (was.IsBound)
            {
                Frames.Release(was.Frame);
            }
        }

        _boundPages -= bound;
    }

    /// <summary>
    /// Makes the window what the table says, in runs of frames that follow one another; with <paramref name="isLazy"/> a page's first touch is still delivered, to be answered from the table.
    /// The lock is held.
    /// </summary>
    private void Show(int firstPage, int count, bool isLazy = false)
    {
        if (_window is null)
        {
            return;
        }

        try
        {
            for (int page = firstPage; page < firstPage + count;)
            {
                Translation first = _table[page];
                if (!first.IsBound)
                {
                    page++;
                    continue;
                }

                int run = 1;
                while (page + run < firstPage + count && _table[page + run] is { IsBound: true } next
                    && next.Frame == At(first.Frame, run) && next.TakesWrites == first.TakesWrites)
                {
                    run++;
                }

                _window.Set(page, first.Frame, run, first.TakesWrites, isLazy);
                page += run;
            }
        }
        catch (IOException)
        {
            TakeAway(firstPage, count);
            throw;
        }
    }

    private void ThrowUnlessGranted(Credential credential, FrameNumber frame, PageAccess access)
    {
        Rights wanted = access == PageAccess.Write ? Rights.Write : Rights.Read;
        AccessRefusal refusal = Frames.Check(credential, frame, wanted);
        if (refusal != AccessRefusal.None)
        {
            throw new AccessDeniedException(frame.ToString(), wanted, refusal);
        }
    }

    private static FrameNumber At(FrameNumber first, int index) => new(first.Value + (uint)index);

    private void CheckRange(int firstPage, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(firstPage);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(firstPage, PageCount - count);
    }

    private void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(_isDisposed, this);
}
