// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Memory;

namespace Exo.Core.AddressSpaces;

/// <content>Faults: delivered, resolved or refused; and the software door.</content>
public sealed partial class AddressSpace
{
    private const int PagesAround = 16;

    // Order of locks: _serving, _faulting, _lock. The upcall runs under _faulting only.
    private readonly Lock _serving = new();
    private readonly Lock _faulting = new();
    private long _faults;
    private long _refused;

    /// <summary>Faults that were delivered to the upcall.</summary>
    public long FaultsDelivered => Interlocked.Read(ref _faults);

    /// <summary>Accesses that were refused.</summary>
    public long FaultsRefused => Interlocked.Read(ref _refused);

    /// <summary>
    /// Delivers the faults of the window on the calling thread until the space is disposed or the token is cancelled. One thread at a time serves. Whatever the upcall throws ends this call, after the
    /// access was refused.
    /// </summary>
    /// <exception cref="InvalidOperationException">The space has no window.</exception>
    public void ServeFaults(CancellationToken cancellationToken = default)
    {
        PageWindow window = _window ?? throw new InvalidOperationException($"The address space has no window: {WindowNote}.");
        using CancellationTokenRegistration registration = cancellationToken.Register(window.Interrupt);
        lock (_serving)
        {
            while (!cancellationToken.IsCancellationRequested && !Volatile.Read(ref _isDisposed))
            {
                if (window.TryReceive(out int page, out bool isWrite))
                {
                    Serve(window, page, isWrite);
                }
                else
                {
                    window.Wait(timeoutMs: -1);
                }
            }
        }
    }

    /// <summary>Copies bytes out, faulting on this thread for pages that are missing.</summary>
    /// <param name="offsetBytes">Where in the space.</param>
    /// <param name="into">Takes the bytes; how many decides how many are read.</param>
    /// <exception cref="PageFaultException">A fault was not resolved. Bytes of pages before it have been copied.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the space.</exception>
    public void Read(long offsetBytes, Span<byte> into)
    {
        CheckBytes(offsetBytes, into.Length);
        while (into.Length > 0)
        {
            int page = (int)(offsetBytes / PageBytes);
            int at = (int)(offsetBytes % PageBytes);
            int count = Math.Min(PageBytes - at, into.Length);
            while (!TryCopyOut(page, at, into[..count]))
            {
                Fault(page, isWrite: false);
            }

            into = into[count..];
            offsetBytes += count;
        }
    }

    /// <summary>Copies bytes in, faulting on this thread for pages that cannot be written as they are.</summary>
    /// <param name="offsetBytes">Where in the space.</param>
    /// <param name="bytes">What.</param>
    /// <exception cref="PageFaultException">A fault was not resolved. Pages before it have been written.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the space.</exception>
    public void Write(long offsetBytes, ReadOnlySpan<byte> bytes)
    {
        CheckBytes(offsetBytes, bytes.Length);
        while (bytes.Length > 0)
        {
            int page = (int)(offsetBytes / PageBytes);
            int at = (int)(offsetBytes % PageBytes);
            int count = Math.Min(PageBytes - at, bytes.Length);
            while (!TryCopyIn(page, at, bytes[..count]))
            {
                Fault(page, isWrite: true);
            }

            bytes = bytes[count..];
            offsetBytes += count;
        }
    }

    /// <summary>
    /// Resolves a copy-on-write fault: copies the page into a fresh frame and binds that for writing, whoever else holds the old one keeps it. The page holds the fresh frame.
    /// </summary>
    /// <param name="credential">Whose right to write the fresh frame it is.</param>
    /// <param name="page">Index of the page; it is bound.</param>
    /// <param name="fresh">An allocated frame that nobody else uses.</param>
    /// <exception cref="InvalidOperationException">The page is missing.</exception>
    /// <exception cref="AccessDeniedException">The credential may not write the frame.</exception>
    public void CopyPage(Credential credential, int page, FrameNumber fresh)
    {
        CheckRange(page, 1);
        lock (_lock)
        {
            ThrowIfDisposed();
            Translation was = _table[page];
            if (!was.IsBound)
            {
                throw new InvalidOperationException($"Page {page} is missing: there is nothing to copy.");
            }

            Frames.Bytes(was.Frame).CopyTo(Frames.Bytes(fresh));
            Bind(credential, page, fresh, PageAccess.Write);
        }
    }

    private bool TryCopyOut(int page, int at, Span<byte> into)
    {
        lock (_lock)
        {
            ThrowIfDisposed();
            Translation entry = _table[page];
            if (!entry.IsBound)
            {
                return false;
            }

            Frames.Bytes(entry.Frame).Slice(at, into.Length).CopyTo(into);
            return true;
        }
    }

    private bool TryCopyIn(int page, int at, ReadOnlySpan<byte> bytes)
    {
        lock (_lock)
        {
            ThrowIfDisposed();
            if (!Admits(page, isWrite: true))
            {
                return false;
            }

            bytes.CopyTo(Frames.Bytes(_table[page].Frame)[at..]);
            return true;
        }
    }

    /// <summary>A fault of the window: nobody is told when the table permits the access already, or after no more than a note in it.</summary>
    private void Serve(PageWindow window, int page, bool isWrite)
    {
        try
        {
            if (Deliver(page, isWrite) is null)
            {
                lock (_lock)
                {
                    ShowAround(page);
                    window.Wake(page, 1);
                }

                return;
            }
        }
        catch
        {
            Refuse(window, page);
            throw;
        }

        Refuse(window, page);
    }

    /// <summary>What lies around a page that is shown is likely to be touched next, and costs less now than a fault each. The lock is held.</summary>
    private void ShowAround(int page)
    {
        Translation entry = _table[page];
        int last = Math.Min(_table.Length, (page / PagesAround + 1) * PagesAround);
        int count = 1;
        while (page + count < last && _table[page + count] is { IsBound: true } next && next.Frame == At(entry.Frame, count) && next.TakesWrites == entry.TakesWrites)
        {
            count++;
        }

        Show(page, count);
    }

    private void Refuse(PageWindow window, int page)
    {
        lock (_lock)
        {
            if (!_isDisposed)
            {
                window.Refuse(page, _table[page].IsBound);
            }
        }
    }

    private void Fault(int page, bool isWrite)
    {
        if (Deliver(page, isWrite) is { } refused)
        {
            throw new PageFaultException(refused);
        }
    }

    /// <summary>Null when the access is possible now.</summary>
    private PageFault? Deliver(int page, bool isWrite)
    {
        lock (_faulting)
        {
            PageFault fault;
            lock (_lock)
            {
                if (_isDisposed || Admits(page, isWrite))
                {
                    return null;
                }

                Translation entry = _table[page];
                fault = new PageFault(this, page,
                    !entry.IsBound ? PageFaultKind.Missing : entry.Access == PageAccess.Read ? PageFaultKind.WriteProtected : PageFaultKind.CopyOnWrite, isWrite);
            }

            Interlocked.Increment(ref _faults);
            if (_upcall is not null && _upcall(fault))
            {
                lock (_lock)
                {
                    if (_isDisposed || Admits(page, isWrite))
                    {
                        return null;
                    }
                }
            }

            Interlocked.Increment(ref _refused);
            return fault;
        }
    }

    /// <summary>
    /// Whether the table lets this access through, after what the space does by itself: notes a first write, and lets the sole holder of a copy-on-write frame write it. The lock is held.
    /// </summary>
    private bool Admits(int page, bool isWrite)
    {
        Translation entry = _table[page];
        if (!entry.IsBound || !isWrite || entry.TakesWrites)
        {
            return entry.IsBound;
        }

        // Of a frame with one holder that holder is this page: who else would come to hold it would have to be told of it by this space, under its lock.
        if (entry.Access == PageAccess.Read || (entry.Access == PageAccess.CopyOnWrite && Frames.ReferenceCount(entry.Frame) > 1))
        {
            return false;
        }

        _table[page] = entry.With(PageAccess.Write, isDirty: true);
        _window?.Protect(page, 1, takesWrites: true);
        return true;
    }

    private void CheckBytes(long offsetBytes, int lengthBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offsetBytes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offsetBytes, (long)PageCount * PageBytes - lengthBytes);
    }
}
