// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <summary>Turns blocks with their frames into as few device requests as their order allows: one for each run of adjacent blocks.</summary>
internal static class BlockRuns
{
    /// <summary>Longest run in one request: what one vectored system call takes.</summary>
    public const int RunBlocksMax = 1024;

    public static BlockRequest[] Build(BlockOperation operation, List<(BlockNumber Block, FrameNumber Frame)> blocks)
    {
        if (blocks.Count == 0)
        {
            return [];
        }

        blocks.Sort(static (a, b) => a.Block.CompareTo(b.Block));
        FrameNumber[] frames = new FrameNumber[blocks.Count];
        for (int i = 0; i < frames.Length; i++)
        {
            frames[i] = blocks[i].Frame;
        }

        List<BlockRequest> requests = [];
        int start = 0;
        for (int i = 1; i <= frames.Length; i++)
        {
            if (i == frames.Length || blocks[i].Block != blocks[i - 1].Block + 1 || i - start == RunBlocksMax)
            {
                ReadOnlyMemory<FrameNumber> run = frames.AsMemory(start, i - start);
                requests.Add(operation == BlockOperation.Read ? BlockRequest.Read(blocks[start].Block, run) : BlockRequest.Write(blocks[start].Block, run));
                start = i;
            }
        }

        return [.. requests];
    }
}
