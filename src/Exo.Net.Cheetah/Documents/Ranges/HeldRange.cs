// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Core.Net;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah.Ranges;

/// <summary>
/// A range of a document, on its way into frames or there. Who reads it, each response that will send it, and each queue that it is sent from holds it once; with the last hold the frames go back. It holds its document.
/// </summary>
internal sealed class HeldRange(DocumentWindows windows, Document document, long startBytes, int lengthBytes) : IPayload
{
    private HoldCount holders = new();
    private int status;
    private FramePieces pieces;
    private volatile bool isStarving;

    /// <summary>The document's.</summary>
    public Document Document => document;

    /// <summary>Its first byte in the document.</summary>
    public long StartBytes => startBytes;

    /// <summary>Bytes of it.</summary>
    public int LengthBytes => lengthBytes;

    /// <summary>The byte behind its last one.</summary>
    public long EndBytes => startBytes + lengthBytes;

    public RangeStatus Status => (RangeStatus)Volatile.Read(ref status);

    /// <summary>It is coming, and there were no frames for it: who waits for it first gives up what he holds behind it.</summary>
    public bool IsStarving
    {
        get => isStarving && Status == RangeStatus.Coming;
        set => isStarving = value;
    }

    /// <summary>Only who reads it still wants it.</summary>
    public bool IsForsaken => holders.Value == 1;

    /// <summary>Responses to be told when it is here, or will not come. Under the windows' lock.</summary>
    public List<ResponseFlow> Waiting { get; } = [];

    /// <summary>The next range in the same cell of the same document. Under the windows' lock.</summary>
    public HeldRange? NextInCell { get; set; }

    /// <summary>What the source lent, and what was allocated for what it gave.</summary>
    public DocumentRange? Lent { get; private set; }

    public DocumentRun[] OwnRuns { get; private set; } = [];

    /// <summary>Its bytes have come. By who reads it, before anybody else sees that.</summary>
    public void TakeIn(FramePieces bytes, DocumentRange? lent, DocumentRun[] own) => (pieces, Lent, OwnRuns) = (bytes, lent, own);

    public void Settle(RangeStatus to) => Volatile.Write(ref status, (int)to);

    public bool TryRetain() => holders.TryAdd();

    /// <inheritdoc cref="ISendSource.Release"/>
    public void Release()
    {
        if (holders.Remove())
        {
            windows.GiveBack(this);
        }
    }

    public int Gather(long offsetBytes, long lengthBytes, Span<IoVector> vectors, out long gatheredBytes) => pieces.Gather(offsetBytes, lengthBytes, vectors, out gatheredBytes);

    public int Gather(long offsetBytes, int lengthBytes, Span<PacketSlice> slices, out int gatheredBytes) => pieces.Gather(offsetBytes, lengthBytes, slices, out gatheredBytes);

    public ReadOnlySpan<byte> BytesAt(long offsetBytes, int maxBytes) => pieces.BytesAt(offsetBytes, maxBytes);

    public ushort PartialSum(long offsetBytes, int lengthBytes) => pieces.SumOf(offsetBytes, lengthBytes);
}
