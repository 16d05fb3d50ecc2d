// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>
/// Somebody's share of a disk (<see cref="DiskShares"/>): the disk, with waits in which others have their turns. A batch is one turn, so who wants to be interrupted little asks for much at once, and pays for it in bytes.
/// Disposing of it leaves the disk open.
/// </summary>
public sealed class DiskShare : BlockDevice
{
    private readonly DiskShares _shares;
    private readonly DiskFlow _flow;

    internal DiskShare(DiskShares shares, int weight)
        : base(shares.Device.Frames, shares.Device.Geometry)
    {
        _shares = shares;
        _flow = new DiskFlow(weight);
    }

    /// <summary>Its part of the disk, in proportion to those of the others who want something.</summary>
    public int Weight => _flow.Weight;

    /// <summary>Bytes that it has had its turn for; what moves none counts as one block.</summary>
    public long BytesBegun => _flow.Begun;

    /// <summary>Whether something waits for its turn just now.</summary>
    internal bool IsWaiting => _flow.HeadCost >= 0;

    /// <inheritdoc/>
    protected override void ExecuteCore(Span<BlockRequest> batch)
    {
        long bytes = Cost(batch);
        ValueTask turn = _shares.EnterAsync(_flow, bytes);
        if (turn.IsCompletedSuccessfully)
        {
            turn.GetAwaiter().GetResult();
        }
        else
        {
            turn.AsTask().GetAwaiter().GetResult();
        }

        try
        {
            _shares.Device.Execute(batch);
        }
        catch (BlockDeviceException)
        {
            // The requests say what went wrong.
        }
        finally
        {
            _shares.Leave(bytes);
        }
    }

    /// <inheritdoc/>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    protected override async ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
    {
        long bytes = Cost(batch.Span);
        await _shares.EnterAsync(_flow, bytes).ConfigureAwait(false);
        try
        {
            await _shares.Device.CarryAsync(batch).ConfigureAwait(false);
        }
        finally
        {
            _shares.Leave(bytes);
        }
    }

    /// <inheritdoc/>
    protected override void DisposeCore()
    {
    }

    private static long Cost(ReadOnlySpan<BlockRequest> batch)
    {
        long blocks = 0;
        foreach (ref readonly BlockRequest request in batch)
        {
            blocks += Math.Max(1, request.Frames.Length);
        }

        return blocks * FramePool.FrameBytes;
    }
}
