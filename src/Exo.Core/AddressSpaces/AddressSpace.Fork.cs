// SPDX-License-Identifier: MIT
namespace Exo.Core.AddressSpaces;

/// <content>Copies that cost a table.</content>
public sealed partial class AddressSpace
{
    /// <summary>
    /// Makes a second space with the same contents, copy-on-write: both hold every frame; pages that could be written become <see cref="PageAccess.CopyOnWrite"/> in both, so that who writes first
    /// gets a copy. Costs a table entry and a count for each page and a few system calls for each run of frames that follow one another; nothing is copied. The first touch of a page through the new
    /// window is a fault that the space answers by itself. The new space shows one moment of this one.
    /// </summary>
    /// <param name="upcall">Who resolves the new space's faults.</param>
    /// <param name="withWindow">Whether the new space is to be virtual memory too.</param>
    public AddressSpace Fork(PageFaultUpcall? upcall = null, bool withWindow = true)
    {
        AddressSpace child = new(Frames, PageCount, upcall, withWindow);
        try
        {
            lock (_lock)
            {
                ThrowIfDisposed();

                // From here on no write goes through the window before this lock is let go: what waits then finds copy-on-write.
                _window?.Protect(0, PageCount, takesWrites: false);
                lock (child._lock)
                {
                    for (int page = 0; page < _table.Length; page++)
                    {
                        Translation entry = _table[page];
                        if (!entry.IsBound)
                        {
                            continue;
                        }

                        Frames.Retain(entry.Frame);
                        PageAccess access = entry.Access == PageAccess.Write ? PageAccess.CopyOnWrite : entry.Access;
                        _table[page] = entry.With(access, entry.IsDirty);
                        child._table[page] = entry.With(access, isDirty: false);
                        child._boundPages++;
                    }

                    child.Show(0, PageCount, isLazy: true);
                }
            }
        }
        catch
        {
            child.Dispose();
            throw;
        }

        return child;
    }
}
