// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <content>
/// Speculation: blocks are brought in before anyone can prove that they are theirs, because the block that points to them is still on the disk itself (SOSP '97, section 4.4).
/// Such a block is not in the registry; nobody sees it until <see cref="Read"/> proves who owns it, and then it needs no input. As soon as a block enters the registry in any other way, by
/// allocation or as the target of an overwrite, what was read ahead of it is dropped: so it is never older than what the owner sees.
/// </content>
public sealed partial class XnVolume
{
    private readonly Dictionary<ulong, FrameNumber> _ahead = [];
    // By block: which request reads it. One that is late must not deliver for another that has begun since.
    private readonly Dictionary<ulong, long> _aheadUnderWay = [];
    private long _aheadRequests;

    /// <summary>Blocks that have been read ahead and not been claimed.</summary>
    public int BlocksReadAhead
    {
        get
        {
            lock (_lock)
            {
                return _ahead.Count;
            }
        }
    }

    /// <summary>Most blocks that <see cref="ReadAhead"/> keeps: a sixteenth of the frame pool.</summary>
    public int BlocksReadAheadMax => _frames.FrameCount / 16;

    /// <summary>
    /// Reads blocks whose owner nobody can name yet into frames of XN's own. Needs no right and shows nothing: a later <see cref="Read"/>, with its proof, finds them in core and gives all
    /// its frames back unused. Blocks that are in the registry, that have been read ahead, that lie outside the disk's data or for which there is no room are passed over.
    /// </summary>
    /// <param name="extents">The blocks.</param>
    /// <returns>How many blocks were read.</returns>
    /// <exception cref="BlockDeviceException">The device failed; the blocks that it failed on are forgotten.</exception>
    public int ReadAhead(ReadOnlySpan<BlockExtent> extents)
    {
        AheadPlan plan = BeginReadAhead(extents);
        try
        {
            if (plan.Requests.Length > 0)
            {
                _device.Execute(plan.Requests);
            }
        }
        finally
        {
            EndReadAhead(plan);
        }

        return plan.Blocks.Count;
    }

    /// <summary>As <see cref="ReadAhead"/>, through the device's asynchronous door.</summary>
    public async ValueTask<int> ReadAheadAsync(ReadOnlyMemory<BlockExtent> extents)
    {
        AheadPlan plan = BeginReadAhead(extents.Span);
        try
        {
            if (plan.Requests.Length > 0)
            {
                await _device.ExecuteAsync(plan.Requests, CancellationToken.None).ConfigureAwait(false);
            }
        }
        finally
        {
            EndReadAhead(plan);
        }

        return plan.Blocks.Count;
    }

    /// <summary>Gives up what was read ahead and not claimed. XN never does so by itself.</summary>
    public void DropReadAhead()
    {
        lock (_lock)
        {
            ForgetAhead();
        }
    }

    private readonly record struct AheadPlan(long Number, BlockRequest[] Requests, List<(BlockNumber Block, FrameNumber Frame)> Blocks);

    private AheadPlan BeginReadAhead(ReadOnlySpan<BlockExtent> extents)
    {
        ThrowIfClosed();
        List<(BlockNumber Block, FrameNumber Frame)> blocks = [];
        long number;
        lock (_lock)
        {
            number = ++_aheadRequests;
            foreach (BlockExtent extent in extents)
            {
                for (uint i = 0; IsInDataRegion(extent) && i < extent.Count; i++)
                {
                    BlockNumber block = extent.First + i;
                    if (_registry.Find(block.Value) >= 0 || _live.Contains(block.Value) || _ahead.ContainsKey(block.Value) || _aheadUnderWay.ContainsKey(block.Value))
                    {
                        continue;
                    }

                    if (_ahead.Count + _aheadUnderWay.Count >= BlocksReadAheadMax || !_frames.TryAllocate(_frames.RootCredential, out FrameNumber frame))
                    {
                        break;
                    }

                    _aheadUnderWay.Add(block.Value, number);
                    blocks.Add((block, frame));
                }
            }

            _blocksRead += blocks.Count;
        }

        return new AheadPlan(number, BlockRuns.Build(BlockOperation.Read, [.. blocks]), blocks);
    }

    private void EndReadAhead(in AheadPlan plan)
    {
        lock (_lock)
        {
            HashSet<ulong> failed = [];
            foreach (BlockRequest request in plan.Requests)
            {
                for (int i = 0; request.Error != 0 && i < request.BlockCount; i++)
                {
                    _ = failed.Add((request.FirstBlock + (ulong)i).Value);
                }
            }

            foreach ((BlockNumber block, FrameNumber frame) in plan.Blocks)
            {
                // Not under way any more: the block entered the registry meanwhile, and may have been changed, written and let go.
                bool isOurs = _aheadUnderWay.TryGetValue(block.Value, out long reader) && reader == plan.Number && _aheadUnderWay.Remove(block.Value);
                if (isOurs && !failed.Contains(block.Value) && !_closed)
                {
                    _ahead.Add(block.Value, frame);
                }
                else
                {
                    _frames.Release(frame);
                }
            }
        }
    }

    /// <summary>A block enters the registry.</summary>
    private void ForgetAhead(ulong block)
    {
        if (_ahead.Count + _aheadUnderWay.Count == 0)
        {
            return;
        }

        if (_ahead.Remove(block, out FrameNumber frame))
        {
            _frames.Release(frame);
        }

        _ = _aheadUnderWay.Remove(block);
    }

    private void ForgetAhead()
    {
        foreach (FrameNumber frame in _ahead.Values)
        {
            _frames.Release(frame);
        }

        _ahead.Clear();
        _aheadUnderWay.Clear();
    }
}
