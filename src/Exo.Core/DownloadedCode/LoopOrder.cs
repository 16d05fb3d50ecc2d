// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// The order in which the verifier goes through the blocks of one function so that nested loops are finished from the inside out: a
/// weak topological order (Bourdoncle, "Efficient chaotic iteration strategies with widenings", 1993). Positions form nested loops:
/// <code>
///   position   0    1     2     3     4     5     6
///   block      0    1     3     2     4     5     6
///              |   (head  |    (head  |)    |)    |      loops are 1..5 and, inside it, 3..4
/// </code>
/// Every jump leads to a later position, or to the head of a loop that holds the jump. Any graph has such an order, whether people
/// would call its cycles loops or not; blocks that nothing leads to are left out.
/// </summary>
internal sealed class LoopOrder
{
    /// <summary>How deep loops may nest; limits the time this takes to that many times the function's length.</summary>
    public const int DepthMax = 32;

    private readonly BasicBlock[] blocks;
    private readonly int firstBlock;
    private readonly List<int> order = [];
    private readonly List<int> loopEnds = [];

    // Per block of the function: the depth of the subgraph it is in now, and Tarjan's numbers.
    private readonly int[] depths;
    private readonly int[] numbers;
    private readonly int[] lows;
    private int deepBlock;

    private LoopOrder(BasicBlock[] blocks, int firstBlock, int endBlock)
    {
        this.blocks = blocks;
        this.firstBlock = firstBlock;
        int count = endBlock - firstBlock;
        depths = new int[count];
        numbers = new int[count];
        lows = new int[count];
    }

    /// <summary>The blocks by position.</summary>
    public int[] Blocks { get; private set; } = [];

    /// <summary>By position: where the loop whose head stands there ends, the position behind its last block; 0 where no loop begins.</summary>
    public int[] LoopEnds { get; private set; } = [];

    /// <summary>Orders the blocks of one function; null when loops nest too deep at <paramref name="deepBlock"/>.</summary>
    public static LoopOrder? Make(BasicBlock[] blocks, int firstBlock, int endBlock, out int deepBlock)
    {
        deepBlock = firstBlock;
        bool hasLoop = false;
        for (int i = firstBlock; i < endBlock && !hasLoop; i++)
        {
            hasLoop = blocks[i].Taken >= 0 && blocks[i].Taken <= i;
        }

        LoopOrder loops = new(blocks, firstBlock, hasLoop ? endBlock : firstBlock);
        if (!hasLoop)
        {
            // All jumps lead forward: the slots are in a good order already.
            loops.Blocks = new int[endBlock - firstBlock];
            for (int i = 0; i < loops.Blocks.Length; i++)
            {
                loops.Blocks[i] = firstBlock + i;
            }

            loops.LoopEnds = new int[loops.Blocks.Length];
            return loops;
        }

        if (!loops.TryDecompose([firstBlock], 0))
        {
            deepBlock = loops.deepBlock;
            return null;
        }

        loops.Blocks = [.. loops.order];
        loops.LoopEnds = [.. loops.loopEnds];
        return loops;
    }

    private bool TryDecompose(List<int> roots, int depth)
    {
        List<List<int>> components = FindComponents(roots, depth);
        for (int i = components.Count - 1; i >= 0; i--)
        {
            // A component lists its members in the order found, the first being the one through which the search came in.
            List<int> component = components[i];
            int head = component[0];
            int position = order.Count;
            order.Add(head);
            loopEnds.Add(0);
            if (component.Count == 1 && blocks[head].Next != head && blocks[head].Taken != head)
            {
                continue;
            }

            if (depth == DepthMax)
            {
                deepBlock = head;
                return false;
            }

            foreach (int block in component)
            {
                depths[block - firstBlock] = depth + 1;
                numbers[block - firstBlock] = 0;
            }

            depths[head - firstBlock] = int.MaxValue;
            component.RemoveAt(0);
            if (!TryDecompose(component, depth + 1))
            {
                return false;
            }

            loopEnds[position] = order.Count;
        }

        return true;
    }

    /// <summary>
    /// The strongly connected components of the subgraph at <paramref name="depth"/> that can be reached from the roots, each after
    /// those it leads to (Tarjan 1972). The recursion is kept in lists: the depth of a program is the author's choice.
    /// </summary>
    private List<List<int>> FindComponents(List<int> roots, int depth)
    {
        List<List<int>> components = [];
        List<int> open = [];
        Stack<(int Block, int Edge)> path = new();
        int counter = 0;
        foreach (int root in roots)
        {
            Visit(root);
            while (path.TryPop(out (int Block, int Edge) at))
            {
                int here = at.Block - firstBlock;
                if (at.Edge < 2)
                {
                    path.Push((at.Block, at.Edge + 1));
                    int to = at.Edge == 0 ? blocks[at.Block].Next : blocks[at.Block].Taken;
                    if (to >= 0 && depths[to - firstBlock] == depth)
                    {
                        Visit(to);
                        if (numbers[to - firstBlock] > 0)
                        {
                            lows[here] = Math.Min(lows[here], numbers[to - firstBlock]);
                        }
                    }

                    continue;
                }

                if (lows[here] == numbers[here])
                {
                    int start = open.LastIndexOf(at.Block);
                    components.Add(open.GetRange(start, open.Count - start));
                    open.RemoveRange(start, open.Count - start);
                    components[^1].ForEach(block => numbers[block - firstBlock] = -1);
                }

                if (path.TryPeek(out (int Block, int Edge) parent) && numbers[here] > 0)
                {
                    lows[parent.Block - firstBlock] = Math.Min(lows[parent.Block - firstBlock], lows[here]);
                }
            }
        }

        return components;

        // Numbers: 0 not seen, positive while its component is open, -1 when that is complete.
        void Visit(int block)
        {
            if (numbers[block - firstBlock] == 0)
            {
                numbers[block - firstBlock] = lows[block - firstBlock] = ++counter;
                open.Add(block);
                path.Push((block, 0));
            }
        }
    }
}
