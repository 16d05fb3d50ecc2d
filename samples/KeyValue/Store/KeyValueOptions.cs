// SPDX-License-Identifier: MIT
namespace KeyValue;

/// <summary>How a store is made and opened.</summary>
public sealed class KeyValueOptions
{
    /// <summary>Blocks of 4 KiB of a new store's log, 2 to 65,536: what is written goes there first, and into a table when it is full. It stays in memory. An existing store has what it was made with.</summary>
    public int LogBlocks { get; init; } = 1024;

    /// <summary>Frames of 4 KiB that the pages of tables may occupy in memory, at least 16.</summary>
    public int CacheFrames { get; init; } = 8192;
}
