// SPDX-License-Identifier: MIT
namespace KeyValue.Tables;

/// <summary>Something that gives entries in the order of their keys, each key once. What <see cref="Key"/> and <see cref="Value"/> show holds until the next step.</summary>
internal abstract class SortedSource
{
    public abstract ReadOnlySpan<byte> Key { get; }

    public abstract ReadOnlySpan<byte> Value { get; }

    public abstract bool IsDeleted { get; }

    /// <summary>The next <see cref="MoveNext"/> goes to the first key that is not below this one.</summary>
    public abstract void Seek(ReadOnlySpan<byte> key);

    public abstract bool MoveNext();
}
