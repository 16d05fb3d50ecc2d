// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

internal enum ClaimKind : byte
{
    Allocate,
    Free,
    FreeTree,
    Move,

    /// <summary>One more pointer to counted blocks; ToBlock and ToPartition say who owns them already.</summary>
    Share,
}

internal readonly record struct Claim(
    ClaimKind Kind, TypedExtent Extent, BlockNumber Block, int Partition, BlockNumber ToBlock, int ToPartition, int FirstFrame, int FrameCount);

internal readonly record struct Edit(BlockNumber Block, int OffsetBytes, int LengthBytes, int BufferOffset);

/// <summary>
/// A proposed change: byte-range writes into metadata blocks, and the author's claims what they mean for the ownership of blocks.
/// <see cref="XnVolume.Apply"/> runs <c>owns</c> before and after and accepts exactly the claimed difference. Reusable: <see cref="Clear"/> and fill again;
/// it grows to the largest change it has held and then allocates nothing. Not thread-safe.
/// </summary>
public sealed class XnTransaction
{
    private readonly List<Edit> _edits = [];
    private readonly List<Claim> _claims = [];
    private readonly List<FrameNumber> _frames = [];
    private readonly List<(BlockNumber Before, BlockNumber After)> _orders = [];
    private byte[] _buffer = new byte[4096];
    private int _bufferUsed;

    internal List<Edit> Edits => _edits;

    internal List<Claim> Claims => _claims;

    internal List<FrameNumber> Frames => _frames;

    internal List<(BlockNumber Before, BlockNumber After)> Orders => _orders;

    internal bool HasMoves { get; private set; }

    /// <summary>After a refusal: what exactly was wrong; else empty.</summary>
    public string LastRefusal { get; internal set; } = "";

    /// <summary>After <see cref="XnStatus.NotInCore"/>: the block to read in first.</summary>
    public BlockNumber MissingBlock { get; internal set; }

    /// <summary>After it was applied: blocks that no pointer leads to any more.</summary>
    internal long BlocksFreed { get; set; }

    /// <summary>Empties the transaction.</summary>
    public void Clear()
    {
        _edits.Clear();
        _claims.Clear();
        _frames.Clear();
        _orders.Clear();
        HasMoves = false;
        _bufferUsed = 0;
        LastRefusal = "";
    }

    /// <summary>Writes bytes into a block; they are copied. Later writes win where writes overlap.</summary>
    public void Write(BlockNumber block, int offsetBytes, ReadOnlySpan<byte> bytes)
    {
        if (_bufferUsed + bytes.Length > _buffer.Length)
        {
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, _bufferUsed + bytes.Length));
        }

        bytes.CopyTo(_buffer.AsSpan(_bufferUsed));
        _edits.Add(new Edit(block, offsetBytes, bytes.Length, _bufferUsed));
        _bufferUsed += bytes.Length;
    }

    /// <summary>Claims that the writes make a partition point to these free blocks.</summary>
    /// <param name="extent">The blocks.</param>
    /// <param name="template">Their template.</param>
    /// <param name="block">The block that will point to them.</param>
    /// <param name="partition">Its partition.</param>
    /// <param name="frames">
    /// Empty, or one frame per block, which XN takes over (its count of one): metadata is bound zero-filled and may be written by this same transaction; data is bound with the
    /// frame's contents.
    /// </param>
    public void ClaimAllocate(BlockExtent extent, TemplateId template, BlockNumber block, int partition, ReadOnlySpan<FrameNumber> frames = default)
    {
        _claims.Add(new Claim(ClaimKind.Allocate, new TypedExtent(extent, template), block, partition, default, 0, _frames.Count, frames.Length));
        foreach (FrameNumber frame in frames)
        {
            _frames.Add(frame);
        }
    }

    /// <summary>Claims that the writes remove a partition's pointer to these blocks. Metadata among them must own nothing.</summary>
    public void ClaimFree(BlockExtent extent, TemplateId template, BlockNumber block, int partition) =>
        _claims.Add(new Claim(ClaimKind.Free, new TypedExtent(extent, template), block, partition, default, 0, 0, 0));

    /// <summary>As <see cref="ClaimFree"/>, and everything below goes too. The metadata below must be in core.</summary>
    public void ClaimFreeTree(BlockExtent extent, TemplateId template, BlockNumber block, int partition) =>
        _claims.Add(new Claim(ClaimKind.FreeTree, new TypedExtent(extent, template), block, partition, default, 0, 0, 0));

    /// <summary>Claims that the writes move the pointer to these blocks from one partition to another.</summary>
    public void ClaimMove(BlockExtent extent, TemplateId template, BlockNumber fromBlock, int fromPartition, BlockNumber toBlock, int toPartition)
    {
        HasMoves = true;
        _claims.Add(new Claim(ClaimKind.Move, new TypedExtent(extent, template), fromBlock, fromPartition, toBlock, toPartition, 0, 0));
    }

    /// <summary>
    /// Claims that the writes make one more partition point to blocks of a counted template (<see cref="TemplateFlags.Counted"/>) that another partition points to and goes on to. The
    /// credential must be able to write both. The blocks must be clean and durable; from now on they do not change in place. No order is kept between this pointer and a later removal of the
    /// other: ask for one where a crash between them would matter.
    /// </summary>
    /// <param name="extent">The blocks.</param>
    /// <param name="template">Their template.</param>
    /// <param name="ownerBlock">A block in core that points to them.</param>
    /// <param name="ownerPartition">Its partition.</param>
    /// <param name="block">The block that will point to them too.</param>
    /// <param name="partition">Its partition.</param>
    public void ClaimShare(BlockExtent extent, TemplateId template, BlockNumber ownerBlock, int ownerPartition, BlockNumber block, int partition) =>
        _claims.Add(new Claim(ClaimKind.Share, new TypedExtent(extent, template), block, partition, ownerBlock, ownerPartition, 0, 0));

    /// <summary>
    /// Asks for an order: what this transaction makes of <paramref name="after"/> is not written before what it makes of <paramref name="before"/> is durable and found from a root.
    /// Both are metadata that is registered or allocated here.
    /// </summary>
    public void Order(BlockNumber before, BlockNumber after) => _orders.Add((before, after));

    internal ReadOnlySpan<byte> Bytes(in Edit edit) => _buffer.AsSpan(edit.BufferOffset, edit.LengthBytes);
}
