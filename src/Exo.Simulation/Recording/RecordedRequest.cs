// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.Simulation.Recording;

/// <summary>A request that changed the disk or flushed it, as it was carried out.</summary>
public sealed class RecordedRequest
{
    private readonly byte[]?[] _blocks;

    internal RecordedRequest(in BlockRequest request, byte[]?[] blocks, long submittedTick, long completedTick)
    {
        Operation = request.Operation;
        FirstBlock = request.FirstBlock;
        ForceUnitAccess = request.ForceUnitAccess;
        _blocks = blocks;
        SubmittedTick = submittedTick;
        CompletedTick = completedTick;
    }

    /// <summary>Write, Flush, Discard or WriteZeroes.</summary>
    public BlockOperation Operation { get; }

    /// <summary>The first block written.</summary>
    public BlockNumber FirstBlock { get; }

    /// <summary>Blocks written; 0 for a flush.</summary>
    public int BlockCount => _blocks.Length;

    /// <summary>Durable when complete.</summary>
    public bool ForceUnitAccess { get; }

    /// <summary>When it reached the disk, on the recording's clock.</summary>
    public long SubmittedTick { get; }

    /// <summary>When the disk reported it complete.</summary>
    public long CompletedTick { get; }

    /// <summary>What was written to block <see cref="FirstBlock"/> + <paramref name="index"/>; null: zeroes.</summary>
    internal byte[]? Block(int index) => _blocks[index];

    /// <inheritdoc/>
    public override string ToString() =>
        Operation == BlockOperation.Flush
            ? "flush"
            : $"{Operation} of {BlockCount} from {FirstBlock}{(ForceUnitAccess ? ", FUA" : "")}";
}
