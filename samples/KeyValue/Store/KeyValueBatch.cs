// SPDX-License-Identifier: MIT
using KeyValue.Format;

namespace KeyValue;

/// <summary>Changes that are made together: after a crash all of them are there, or none.</summary>
public sealed class KeyValueBatch
{
    private byte[] _records = new byte[512];

    /// <summary>How many changes it has.</summary>
    public int Count { get; private set; }

    /// <summary>Bytes that they take up in the log.</summary>
    public int SizeBytes { get; private set; }

    internal ReadOnlySpan<byte> Records => _records.AsSpan(0, SizeBytes);

    /// <summary>The key shall have this value. Of several changes of one key the last one counts.</summary>
    /// <param name="key">1 to <see cref="KeyValueStore.KeyBytesMax"/> bytes.</param>
    /// <param name="value">At most <see cref="KeyValueStore.ValueBytesMax"/> bytes.</param>
    public void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(value.Length, KeyValueStore.ValueBytesMax, nameof(value));
        Add(key, value, isDeleted: false);
    }

    /// <summary>The key shall be gone.</summary>
    public void Delete(ReadOnlySpan<byte> key) => Add(key, default, isDeleted: true);

    /// <summary>Empties the batch, to be used again.</summary>
    public void Clear() => (Count, SizeBytes) = (0, 0);

    private void Add(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, bool isDeleted)
    {
        ArgumentOutOfRangeException.ThrowIfZero(key.Length, nameof(key));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(key.Length, KeyValueStore.KeyBytesMax, nameof(key));
        int size = LogBatch.RecordBytes(key.Length, value.Length);
        if (SizeBytes + size > _records.Length)
        {
            Array.Resize(ref _records, Math.Max(_records.Length * 2, SizeBytes + size));
        }

        LogBatch.WriteRecord(_records.AsSpan(SizeBytes), key, value, isDeleted);
        SizeBytes += size;
        Count++;
    }
}
