// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <content>
/// Bringing home ahead: while commits go on, data that has been live for a while is written to its place, a few blocks behind each commit, so that the checkpoint, for which commits wait, finds little left to write.
/// That may happen at any time, because what is written is what the log has: a replay would write the same, or what was logged later. Only data that has not changed since is taken, and what
/// changes while it is written is written again by the checkpoint. What lived shortly is not written at all, so the youngest live blocks are left alone.
/// <code>
/// live blocks, by age:   looked at: home, or left to the checkpoint | being written: one batch | the youngest: left alone
/// </code>
/// Begun under the turn of the log, and over before a checkpoint begins: until then no block that is freed is anybody else's.
/// </content>
public sealed partial class XnVolume
{
    // A quarter of a megabyte: a commit that comes while it is written waits for it at the disk.
    private const int AheadBlocksMax = 64;

    // Under the turn: the batch that is being written. It does not fail: what was not written is left to the checkpoint.
    private Task _homeAhead = Task.CompletedTask;

    private readonly record struct AheadItem(ulong Block, ulong Version, FrameNumber Frame, LiveImage Live, int Writes);

    private void BringHomeAhead()
    {
        if (_homeAhead.IsCompleted && BeginAhead() is { Count: > 0 } items)
        {
            _homeAhead = BringHomeAsync(items);
        }
    }

    /// <summary>The next blocks to bring home, oldest first; none while there are too few that are old enough.</summary>
    private List<AheadItem>? BeginAhead()
    {
        lock (_lock)
        {
            int youngest = (int)Math.Min((ulong)_frames.FrameCount / 16, _superblock.Current.LogBlocks / 8);
            int countMax = Math.Clamp(youngest, 1, AheadBlocksMax);
            if (_live.NotLookedAt < youngest + countMax)
            {
                return null;
            }

            List<AheadItem> items = new(countMax);
            while (items.Count < countMax && _live.NotLookedAt > youngest)
            {
                ulong block = _live.NextAhead();
                LiveImage live = _live.Find(block)!;
                int index = _registry.Find(block);
                if (!live.IsDurable || live.IsOnItsWay || index < 0 || !IsAsLogged(index))
                {
                    continue;
                }

                FrameNumber frame = new(_registry[index].Frame);
                _frames.Retain(frame);
                items.Add(new AheadItem(block, _registry[index].Version, frame, live, live.Writes));
            }

            _blocksWritten += items.Count;
            return items;
        }
    }

    private bool IsAsLogged(int index)
    {
        const EntryFlags Moving = EntryFlags.Dirty | EntryFlags.Writing | EntryFlags.Reading | EntryFlags.Dropped;
        return _registry[index].Has(EntryFlags.Framed) && !_registry[index].Has(Moving) && !_registry.TemplateOf(index).IsMetadata;
    }

    private async Task BringHomeAsync(List<AheadItem> items)
    {
        BlockRequest[] requests = BlockRuns.Build(BlockOperation.Write, [.. items.Select(static item => (new BlockNumber(item.Block), item.Frame))]);
        bool isWritten = false;
        try
        {
            await _device.ExecuteAsync(requests).ConfigureAwait(false);
            isWritten = true;
        }
        catch (BlockDeviceException)
        {
            // Nothing is lost: the checkpoint writes it, and tells whoever it is that needs it.
        }
        finally
        {
            lock (_lock)
            {
                foreach (AheadItem item in items)
                {
                    // Unless it has changed while it was written, or a younger version has been logged.
                    int index = _registry.Find(item.Block);
                    item.Live.IsHome = isWritten && item.Live.Writes == item.Writes && index >= 0 && _registry[index].Version == item.Version;
                }
            }

            items.ForEach(item => _frames.Release(item.Frame));
        }
    }
}
