// SPDX-License-Identifier: MIT
namespace Exo.Core.Blocks.Nbd;

/// <summary>One request of the protocol that is out: a piece of a request of a batch. Its place in the table is half its cookie.</summary>
internal struct NbdSlot
{
    /// <summary>Null while the place is free.</summary>
    public NbdBatch? Batch;

    /// <summary>Which request of the batch; -1 for what is not one (the flush behind durable writes, a question about allocation).</summary>
    public int Request;

    public ushort Command;

    public ushort Flags;

    /// <summary>Where on the export.</summary>
    public ulong OffsetBytes;

    /// <summary>How much of it; for a read the bytes that must come.</summary>
    public uint LengthBytes;

    /// <summary>Where in the request's frames.</summary>
    public long RequestOffsetBytes;

    /// <summary>The other half of the cookie: tells a late or invented reply from the right one.</summary>
    public uint Generation;

    /// <summary>Bytes of a read that have come, in however many chunks.</summary>
    public long ReceivedBytes;

    public int ChunkCount;

    public int Error;

    /// <summary>For a flush: how many acknowledged writes it covers.</summary>
    public long Covers;
}
