// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.DownloadedCode;

namespace Exo.Core.Tests.DownloadedCode;

/// <summary>The shape of programs: the order of loops on any graph, and hostile shapes that cost no more than the limits say.</summary>
public sealed class ControlFlowTests(ITestOutputHelper output)
{
    private const byte JumpIfEqual = Opcodes.ClassJump | Opcodes.JumpEqual;
    private const byte Jump = Opcodes.ClassJump | Opcodes.JumpAlways;
    private const byte Move = Opcodes.ClassAlu64 | Opcodes.Move;

    private static readonly Instruction Exit = new(Opcodes.ClassJump | Opcodes.Exit);

    private static readonly ProgramContract Contract = new(
        "shape",
        [ArgumentContract.MemoryPointer, ArgumentContract.MemoryLength, ArgumentContract.Scalar(), ArgumentContract.Scalar(), ArgumentContract.Scalar()],
        RegionContract.Exactly(64, isWritable: true));

    private static Instruction CallLocal(int at, int target) => new(Opcodes.ClassJump | Opcodes.Call, 0, 1, 0, target - at - 1);

    private static Program RandomGraph(Random random, int length, int reach, int plain)
    {
        Instruction[] slots = new Instruction[length];
        for (int i = 0; i < length; i++)
        {
            int target = Math.Clamp(i + random.Next(-reach, reach + 1), 0, length - 1);
            slots[i] = random.Next(plain + 4) switch
            {
                0 => new Instruction(Jump, 0, 0, (short)(target - i - 1)),
                1 or 2 => new Instruction(JumpIfEqual, 5, 0, (short)(target - i - 1), random.Next()),
                3 when random.Next(4) == 0 => Exit,
                _ => new Instruction(Move, 0, 0, 0, i),
            };
        }

        slots[^1] = Exit;
        return new Program(slots);
    }

    [Fact]
    public void Every_jump_leads_on_or_to_the_head_of_a_loop_around_it() => Gen.Int.Sample(
        seed =>
        {
            Random random = new(seed);
            Program program = RandomGraph(random, random.Next(2, 60), random.Next(2, 30), random.Next(4));
            DecodedInstruction[] code = Decoder.Decode(program, Contract, out _)!;
            if (ControlFlow.Build(program, code, out VerifierRejection? rejection) is not { } flow)
            {
                Assert.Equal(VerifierRule.UnboundedLoop, rejection!.Rule);
                return;
            }

            LoopOrder order = Assert.Single(flow.Functions).Order;
            int[] positions = new int[flow.Blocks.Length];
            Array.Fill(positions, -1);
            for (int i = 0; i < order.Blocks.Length; i++)
            {
                Assert.Equal(-1, positions[order.Blocks[i]]);
                positions[order.Blocks[i]] = i;
                Assert.True(order.LoopEnds[i] == 0 || (order.LoopEnds[i] > i && order.LoopEnds[i] <= order.Blocks.Length));
            }

            Assert.Equal(0, positions[0]);
            foreach (int block in order.Blocks)
            {
                foreach (int to in (int[])[flow.Blocks[block].Next, flow.Blocks[block].Taken])
                {
                    if (to < 0)
                    {
                        continue;
                    }

                    // What is reached from a block in the order is in the order.
                    int from = positions[block];
                    int target = positions[to];
                    Assert.True(target > from || (target >= 0 && order.LoopEnds[target] > from));

                    // No jump enters the middle of the order backwards, and loops nest.
                    for (int head = 0; head <= from; head++)
                    {
                        int end = order.LoopEnds[head];
                        Assert.True(end <= from || end == 0 || order.LoopEnds[from] <= end);
                    }
                }
            }
        },
        iter: 5_000);

    [Fact]
    public void Any_graph_gets_its_verdict() => Gen.Int.Sample(
        seed =>
        {
            Random random = new(seed);
            Program program = RandomGraph(random, random.Next(2, 300), random.Next(2, 100), random.Next(6));
            VerifyResult result = Verifier.VerifyWithin(program, Contract, 5_000);
            if (result.IsAccepted)
            {
                ProgramInput input = ProgramInput.Writable(new byte[64]) with { R5 = (ulong)random.Next() };
                ExecutionResult run = Interpreter.Run(result.Program, input, result.Program.InstructionsMax);
                Assert.Equal(ExecutionStatus.Completed, run.Status);
                Assert.Equal(run, Compiler.Run(result.Program, input, result.Program.InstructionsMax));
            }
        },
        iter: 2_000);

    public static TheoryData<string> HostileShapes =>
        ["mesh", "deep loops", "calls that multiply", "a long chain of calls", "functions without end", "a loop that fills the stack", "a loop that multiplies", "calls in loops"];

    [Theory]
    [MemberData(nameof(HostileShapes))]
    public void Hostile_programs_are_refused_within_the_limits(string shape)
    {
        Program program = new(Hostile(shape));
        long before = GC.GetAllocatedBytesForCurrentThread();
        VerifyResult result = Verifier.Verify(program, Contract);
        long allocatedBytes = GC.GetAllocatedBytesForCurrentThread() - before;
        output.WriteLine($"{shape}: {result.Steps} steps, {allocatedBytes >> 20} MiB allocated in all: {result.Rejection}");
        Assert.False(result.IsAccepted);
        Assert.InRange(result.Steps, 1, Verifier.StepsMax + 1000);
    }

    private static Instruction[] Hostile(string shape)
    {
        List<Instruction> slots = [new Instruction(Move)];
        switch (shape)
        {
            case "mesh":
                Instruction[] mesh = RandomGraph(new Random(1), Program.InstructionsLimit, 32_000, 1).Instructions.ToArray();
                Array.Fill(mesh, slots[0], 0, 1000);
                return mesh;
            case "deep loops":
                slots.AddRange(Enumerable.Repeat(slots[0], 400));
                for (int i = 1; i <= 400; i++)
                {
                    slots.Add(new Instruction(JumpIfEqual, 5, 0, (short)(-2 * i), i));
                }

                break;
            case "calls that multiply":
                for (int function = 0; function < ProgramContract.CallDepthMax; function++)
                {
                    int next = (function + 1) * 64;
                    while (slots.Count < next - 1)
                    {
                        slots.Add(function == ProgramContract.CallDepthMax - 1 ? slots[0] : CallLocal(slots.Count, next));
                    }

                    slots.Add(Exit);
                }

                break;
            case "a long chain of calls":
                slots.Clear();
                while (slots.Count < Program.InstructionsLimit - 2)
                {
                    slots.Add(CallLocal(slots.Count, slots.Count + 2));
                    slots.Add(Exit);
                }

                slots.Add(new Instruction(Move));
                break;
            case "functions without end":
                for (int i = 0; i < 20_000; i++)
                {
                    slots.Add(CallLocal(slots.Count, 20_002 + i));
                }

                slots.Add(Exit);
                for (int i = 0; i < 20_000; i++)
                {
                    slots.Add(Exit);
                }

                slots.Add(new Instruction(Jump, 0, 0, -1));
                slots[1] = CallLocal(1, slots.Count - 1);
                break;
            case "a loop that fills the stack":
                for (int i = 1; i <= 64; i++)
                {
                    slots.Add(new Instruction(JumpIfEqual, 5, 0, 1, i));
                    slots.Add(new Instruction(Opcodes.ClassStoreRegister | Opcodes.ModeMemory | Opcodes.SizeDouble, 10, 0, (short)(-8 * i)));
                }

                slots.Add(new Instruction(Opcodes.ClassAlu64 | Opcodes.Add, 0, 0, 0, 1));
                slots.Add(new Instruction(Opcodes.ClassJump | Opcodes.JumpNotEqual, 0, 0, (short)-slots.Count, -1));
                break;
            case "a loop that multiplies":
                slots.Add(new Instruction(Opcodes.ClassAlu64 | Opcodes.And, 4, 0, 0, 0x5555_5555));
                slots.Add(new Instruction(Opcodes.ClassAlu64 | Opcodes.Or, 4, 0, 0, 0x1111_1111));
                for (int i = 0; i < 50; i++)
                {
                    slots.Add(new Instruction(Move | Opcodes.SourceRegister, 6, 4));
                    slots.Add(new Instruction(Opcodes.ClassAlu64 | Opcodes.Multiply | Opcodes.SourceRegister, 6, 6));
                }

                slots.Add(new Instruction(Opcodes.ClassAlu64 | Opcodes.Add, 0, 0, 0, 1));
                slots.Add(new Instruction(Opcodes.ClassJump | Opcodes.JumpNotEqual, 0, 0, (short)-slots.Count, -1));
                break;
            default:
                slots.Add(CallLocal(1, 5));
                slots.Add(new Instruction(Opcodes.ClassAlu64 | Opcodes.Add, 6, 0, 0, 1));
                slots[0] = new Instruction(Move, 6);
                slots.Add(new Instruction(Opcodes.ClassJump | Opcodes.JumpNotEqual, 6, 0, -3, -1));
                slots.Add(Exit);
                slots.Add(new Instruction(Move));
                slots.Add(new Instruction(Opcodes.ClassAlu64 | Opcodes.Add, 0, 0, 0, 1));
                slots.Add(new Instruction(Opcodes.ClassJump | Opcodes.JumpLess, 0, 0, -2, 100_000));
                break;
        }

        slots.Add(Exit);
        return slots.ToArray();
    }
}
