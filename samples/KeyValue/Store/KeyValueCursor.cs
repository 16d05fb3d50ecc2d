// SPDX-License-Identifier: MIT
using KeyValue.Store;
using KeyValue.Tables;

namespace KeyValue;

/// <summary>
/// Goes through a range of keys in their order, as they were when it was opened, whatever is written meanwhile. While it is open the disk keeps what it may still come to; dispose of it. One thread at a time.
/// </summary>
public sealed class KeyValueCursor : IDisposable
{
    private readonly StoreVersion _version;
    private readonly SortedSource _entries;
    private readonly byte[]? _end;
    private bool _isDisposed;

    internal KeyValueCursor(StoreVersion version, SortedSource entries, ReadOnlySpan<byte> start, byte[]? end)
    {
        _version = version;
        _entries = entries;
        _end = end;
        entries.Seek(start);
    }

    /// <summary>The present key, until the next step.</summary>
    public ReadOnlySpan<byte> Key => _entries.Key;

    /// <summary>Its value, until the next step.</summary>
    public ReadOnlySpan<byte> Value => _entries.Value;

    /// <summary>Goes to the next key; false at the end of the range.</summary>
    /// <exception cref="KeyValueException">Damaged.</exception>
    public bool MoveNext()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        while (_entries.MoveNext())
        {
            if (_end is not null && _entries.Key.SequenceCompareTo(_end) >= 0)
            {
                return false;
            }

            if (!_entries.IsDeleted)
            {
                return true;
            }
        }

        return false;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_isDisposed)
        {
            _isDisposed = true;
            _version.LetGo();
        }
    }
}
