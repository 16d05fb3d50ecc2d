// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>Slots that are always executed in sequence: jumps lead only to the first, and only the last jumps.</summary>
/// <param name="First">Its first slot.</param>
/// <param name="End">The slot behind its last.</param>
/// <param name="Next">The block entered by not jumping, or -1.</param>
/// <param name="Taken">The block entered by jumping, or -1.</param>
internal readonly record struct BasicBlock(int First, int End, int Next, int Taken);

/// <summary>
/// A stretch of slots entered only through its first: the program itself from slot 0 on, or what a local call leads to. Reaches to the
/// entry of the next function or the end of the program.
/// </summary>
/// <param name="FirstBlock">Its first block, which is its entry.</param>
/// <param name="EndBlock">The block behind its last.</param>
/// <param name="Order">In which order the verifier goes through it.</param>
internal sealed record ProgramFunction(int FirstBlock, int EndBlock, LoopOrder Order);

/// <summary>
/// The shape of a decoded program: functions, basic blocks and how they nest in loops. Made in time linear in the program but for
/// the nesting of loops, which is limited. After it: jumps stay within their function, functions do not run into one another, and calls
/// nest no deeper than <see cref="ProgramContract.CallDepthMax"/> without any function calling itself.
/// </summary>
internal sealed class ControlFlow
{
    private readonly Program program;
    private readonly DecodedInstruction[] code;
    private readonly int slotCount;
    private readonly int[] functionAt;
    private readonly List<int> entries = [];
    private readonly int[] blockAt;
    private BasicBlock[] blocks = [];

    private ControlFlow(Program program, DecodedInstruction[] code)
    {
        this.program = program;
        this.code = code;
        slotCount = code.Length - 1;
        functionAt = new int[slotCount];
        blockAt = new int[slotCount];
    }

    /// <summary>All blocks in the order of their slots.</summary>
    public ReadOnlySpan<BasicBlock> Blocks => blocks;

    /// <summary>All functions in the order of their slots; the first is the program itself.</summary>
    public ProgramFunction[] Functions { get; private set; } = [];

    /// <summary>How many functions are active at once at most: 1 where there is no local call.</summary>
    public int CallDepth { get; private set; } = 1;

    /// <summary>The block that holds a slot.</summary>
    public int BlockAt(int slot) => blockAt[slot];

    /// <summary>The function whose code holds a slot.</summary>
    public ProgramFunction FunctionAt(int slot) => Functions[functionAt[slot]];

    /// <summary>The number of that function.</summary>
    public int FunctionNumberAt(int slot) => functionAt[slot];

    /// <summary>Reads the shape of a program, or says which instruction has none.</summary>
    public static ControlFlow? Build(Program program, DecodedInstruction[] code, out VerifierRejection? rejection)
    {
        ControlFlow flow = new(program, code);
        flow.FindFunctions();
        rejection = flow.CheckEdges() ?? flow.CutIntoBlocks() ?? flow.CheckCalls();
        return rejection is null ? flow : null;
    }

    private VerifierRejection Refuse(int slot, VerifierRule rule, string reason) =>
        new(slot, Disassembler.FormatAt(program, slot), rule, reason, "");

    private int Following(int slot) => slot + (code[slot].Operation == Operation.LoadImmediate64 ? 2 : 1);

    private static bool IsConditional(Operation operation) => operation >= Operation.IfEqual64K;

    private void FindFunctions()
    {
        bool[] isEntry = new bool[slotCount];
        isEntry[0] = true;
        for (int i = 0; i < slotCount; i++)
        {
            if (code[i].Operation == Operation.CallLocal)
            {
                isEntry[code[i].Offset] = true;
            }
        }

        for (int i = 0; i < slotCount; i++)
        {
            if (isEntry[i])
            {
                entries.Add(i);
            }

            functionAt[i] = entries.Count - 1;
        }
    }

    private VerifierRejection? CheckEdges()
    {
        for (int i = 0; i < slotCount; i = Following(i))
        {
            Operation operation = code[i].Operation;
            if ((operation == Operation.Jump || IsConditional(operation)) && functionAt[code[i].Offset] != functionAt[i])
            {
                return Refuse(
                    i, VerifierRule.JumpOutOfFunction,
                    $"the jump leads to slot {code[i].Offset}, out of the function that begins at slot {entries[functionAt[i]]}");
            }

            int following = Following(i);
            if (operation is not (Operation.Jump or Operation.Exit) && functionAt[following] != functionAt[i])
            {
                return Refuse(
                    i, VerifierRule.MissingExit,
                    $"the function can run on into the one that begins at slot {following}; its last instruction must be exit or a jump");
            }
        }

        return null;
    }

    private VerifierRejection? CutIntoBlocks()
    {
        bool[] isFirst = new bool[slotCount + 1];
        entries.ForEach(entry => isFirst[entry] = true);
        for (int i = 0; i < slotCount; i = Following(i))
        {
            Operation operation = code[i].Operation;
            if (operation == Operation.Jump || IsConditional(operation))
            {
                isFirst[code[i].Offset] = true;
            }

            isFirst[Following(i)] |= operation is Operation.Jump or Operation.Exit || IsConditional(operation);
        }

        int count = 0;
        for (int i = 0; i < slotCount; i++)
        {
            count += isFirst[i] ? 1 : 0;
            blockAt[i] = count - 1;
        }

        blocks = new BasicBlock[count];
        int number = 0;
        for (int first = 0; first < slotCount; number++)
        {
            int last = first;
            while (Following(last) < slotCount && !isFirst[Following(last)])
            {
                last = Following(last);
            }

            Operation operation = code[last].Operation;
            int end = Following(last);
            blocks[number] = new BasicBlock(
                first, end, operation is Operation.Jump or Operation.Exit ? -1 : number + 1,
                operation == Operation.Jump || IsConditional(operation) ? blockAt[code[last].Offset] : -1);
            first = end;
        }

        Functions = new ProgramFunction[entries.Count];
        for (int i = 0; i < Functions.Length; i++)
        {
            int firstBlock = blockAt[entries[i]];
            int endBlock = i + 1 < Functions.Length ? blockAt[entries[i + 1]] : count;
            if (LoopOrder.Make(blocks, firstBlock, endBlock, out int deepBlock) is not { } order)
            {
                return Refuse(blocks[deepBlock].First, VerifierRule.UnboundedLoop, $"loops nest deeper than {LoopOrder.DepthMax} here");
            }

            Functions[i] = new ProgramFunction(firstBlock, endBlock, order);
        }

        return null;
    }

    /// <summary>Finds the longest chain of calls from each function; 0 while unknown, -1 while being found.</summary>
    private VerifierRejection? CheckCalls()
    {
        int[] heights = new int[entries.Count];
        for (int function = 0; function < entries.Count; function++)
        {
            if (Height(function, 1, heights) is { } rejection)
            {
                return rejection;
            }
        }

        CallDepth = heights[0];
        return null;
    }

    /// <summary>Recursion is no deeper than the limit it checks.</summary>
    private VerifierRejection? Height(int function, int depth, int[] heights)
    {
        if (heights[function] != 0)
        {
            return null;
        }

        heights[function] = -1;
        int height = 1;
        int end = function + 1 < entries.Count ? entries[function + 1] : slotCount;
        for (int i = entries[function]; i < end; i = Following(i))
        {
            if (code[i].Operation != Operation.CallLocal)
            {
                continue;
            }

            int callee = functionAt[code[i].Offset];
            if (heights[callee] < 0)
            {
                return Refuse(i, VerifierRule.CallDepth, $"the function that begins at slot {entries[callee]} would call itself");
            }

            if (heights[callee] == 0 && depth < ProgramContract.CallDepthMax && Height(callee, depth + 1, heights) is { } rejection)
            {
                return rejection;
            }

            // A callee still unknown lies deeper than the limit.
            height = Math.Max(height, heights[callee] == 0 ? int.MaxValue : heights[callee] + 1);
            if (height > ProgramContract.CallDepthMax)
            {
                return Refuse(i, VerifierRule.CallDepth, $"calls nest deeper than {ProgramContract.CallDepthMax} functions here");
            }
        }

        heights[function] = height;
        return null;
    }
}
