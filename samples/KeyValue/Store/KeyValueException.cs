// SPDX-License-Identifier: MIT
namespace KeyValue;

/// <summary>What kind of trouble a store has.</summary>
public enum KeyValueError
{
    /// <summary>The disk has no store of this name.</summary>
    NotFound,

    /// <summary>A block does not hold what the store wrote there.</summary>
    Damaged,

    /// <summary>There is no room on the disk, in memory, or in the table of tables: nothing has changed. Closing cursors or deleting other things of the disk helps.</summary>
    Full,

    /// <summary>The disk is attached read-only.</summary>
    ReadOnly,

    /// <summary>A write has failed earlier, so that nobody knows what of it is on the disk: the store reads on, and writes again after it has been opened anew.</summary>
    Failed,
}

/// <summary>Expected trouble of a store, by kind.</summary>
public sealed class KeyValueException(KeyValueError error, string message, Exception? cause = null) : IOException(message, cause)
{
    /// <summary>What kind.</summary>
    public KeyValueError Error { get; } = error;
}
