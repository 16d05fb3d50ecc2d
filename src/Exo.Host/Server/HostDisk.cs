// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Host;

/// <summary>
/// The disk as the host's XN has it: what a client's thread asks for waits for that client's share of the disk. A client has one call at a time, so what it asks for at once is cut into pieces, each a turn of its own: two that
/// ask for much have their turns one after the other, and one that asks for little waits for what is under way and a piece of each of the others, not for all that they want. Whoever acts for no client, the host itself, does not wait.
/// </summary>
internal sealed class HostDisk : BlockDevice
{
    // No turn is larger: the quantum of a share of weight 1.
    private const int PieceBlocks = 16;

    [ThreadStatic]
    private static DiskShare? t_share;

    private readonly DiskShares _shares;

    public HostDisk(BlockDevice device, long bytesUnderWayMax)
        : base(device.Frames, device.Geometry) => _shares = new DiskShares(device, bytesUnderWayMax);

    /// <summary>A share for a client; to be disposed of with it.</summary>
    public DiskShare Add(int weight) => _shares.Add(weight);

    /// <summary>From now on the calling thread asks for what a client wants; null: for what the host does.</summary>
    public static void ActFor(DiskShare? share) => t_share = share;

    /// <inheritdoc/>
    protected override void ExecuteCore(Span<BlockRequest> batch)
    {
        try
        {
            if (t_share is not { } share)
            {
                _shares.Device.Execute(batch);
            }
            else if (CountPieces(batch) is > 1 and var count)
            {
                BlockRequest[] pieces = Cut(batch, count);
                ExecuteAsync(share, pieces).GetAwaiter().GetResult();
                Gather(pieces, batch);
            }
            else
            {
                share.Execute(batch);
            }
        }
        catch (BlockDeviceException)
        {
            // The requests say what went wrong.
        }
    }

    /// <inheritdoc/>
    protected override ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch) =>
        t_share is not { } share ? _shares.Device.CarryAsync(batch)
        : CountPieces(batch.Span) is > 1 and var count ? ExecuteInPiecesAsync(share, batch, count)
        : share.CarryAsync(batch);

    /// <inheritdoc/>
    protected override void DisposeCore()
    {
    }

    private static int CountPieces(ReadOnlySpan<BlockRequest> batch)
    {
        int pieces = 0;
        foreach (ref readonly BlockRequest request in batch)
        {
            pieces += PiecesOf(request);
        }

        return pieces;
    }

    private static int PiecesOf(in BlockRequest request) => Math.Max(1, (request.Frames.Length + PieceBlocks - 1) / PieceBlocks);

    private static async ValueTask ExecuteInPiecesAsync(DiskShare share, Memory<BlockRequest> batch, int count)
    {
        BlockRequest[] pieces = Cut(batch.Span, count);
        await ExecuteAsync(share, pieces).ConfigureAwait(false);
        Gather(pieces, batch.Span);
    }

    private static BlockRequest[] Cut(ReadOnlySpan<BlockRequest> batch, int count)
    {
        BlockRequest[] pieces = new BlockRequest[count];
        int at = 0;
        foreach (ref readonly BlockRequest request in batch)
        {
            int blocks = request.Frames.Length;
            if (blocks <= PieceBlocks)
            {
                pieces[at++] = request;
                continue;
            }

            for (int done = 0; done < blocks; done += PieceBlocks)
            {
                ReadOnlyMemory<FrameNumber> frames = request.Frames.Slice(done, Math.Min(PieceBlocks, blocks - done));
                pieces[at++] = request with { FirstBlock = request.FirstBlock + (uint)done, BlockCount = frames.Length, Frames = frames };
            }
        }

        return pieces;
    }

    /// <summary>What became of the pieces became of what they were cut from.</summary>
    private static void Gather(ReadOnlySpan<BlockRequest> pieces, Span<BlockRequest> batch)
    {
        int at = 0;
        foreach (ref BlockRequest request in batch)
        {
            for (int left = PiecesOf(request); left > 0; left--, at++)
            {
                request.Error = request.Error == 0 ? pieces[at].Error : request.Error;
            }
        }
    }

    /// <summary>Asks for all turns at once, of as many pieces as are one turn together.</summary>
    private static Task ExecuteAsync(DiskShare share, BlockRequest[] pieces)
    {
        List<Task> turns = [];
        for (int first = 0, end; first < pieces.Length; first = end)
        {
            int blocks = Math.Max(1, pieces[first].Frames.Length);
            for (end = first + 1; end < pieces.Length && blocks + Math.Max(1, pieces[end].Frames.Length) <= PieceBlocks; end++)
            {
                blocks += Math.Max(1, pieces[end].Frames.Length);
            }

            turns.Add(share.CarryAsync(pieces.AsMemory(first..end)).AsTask());
        }

        return Task.WhenAll(turns);
    }
}
