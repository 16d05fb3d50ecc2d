// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.DownloadedCode;

namespace Exo.Core.Tests.DownloadedCode;

/// <summary>
/// What the interpreter does with programs that the verifier would have refused, as if it had made a mistake: the run ends with a
/// status, and nothing but the regions lent is read or written.
/// </summary>
public sealed class SecondLineTests
{
    private struct Zero : IHelperCalls
    {
        public readonly ulong Call(int helper, ulong r1, ulong r2, ulong r3, ulong r4, ulong r5) => 0;
    }

    /// <summary>Passes a program of good form off as verified.</summary>
    private static VerifiedProgram? Smuggle(Program program, ProgramContract contract) =>
        Decoder.Decode(program, contract, out _) is { } code && ControlFlow.Build(program, code, out _) is { } flow
            ? new VerifiedProgram(program, contract, code, flow, program.Instructions.Length)
            : null;

    private static readonly ProgramContract Contract = new(
        "second line",
        [ArgumentContract.MemoryPointer, ArgumentContract.ContextPointer, ArgumentContract.Scalar()],
        RegionContract.Exactly(16, isWritable: true),
        RegionContract.Exactly(8));

    private static ExecutionStatus Run(string text, ulong r3)
    {
        // The region lies between two others of the test's own, which must stay as they are.
        byte[] bytes = new byte[48];
        Array.Fill(bytes, (byte)0xee);
        VerifiedProgram program = Smuggle(Assembler.Assemble(text + "\nexit"), Contract)!;
        ProgramInput input = ProgramInput.Writable(bytes.AsSpan(16, 16), new byte[8]) with { R3 = r3 };
        ExecutionStatus status = Interpreter.Run(program, input, 100).Status;
        Assert.True(bytes.AsSpan(0, 16).IndexOfAnyExcept((byte)0xee) < 0 && bytes.AsSpan(32).IndexOfAnyExcept((byte)0xee) < 0);
        return status;
    }

    [Theory]
    [InlineData(0x2_0000_0000UL, true)]
    [InlineData(0x2_0000_0008UL, true)]
    [InlineData(0x2_0000_0009UL, false)]
    [InlineData(0x2_0000_0010UL, false)]
    [InlineData(0x1_ffff_ffffUL, false)]
    [InlineData(0x1_ffff_fff8UL, false)]
    [InlineData(0x2_ffff_fff8UL, false)]
    [InlineData(0x3_0000_0000UL, true)]
    [InlineData(0x3_0000_0001UL, false)]
    [InlineData(0x1_0000_0000UL, true)]
    [InlineData(0x1_0000_01f8UL, true)]
    [InlineData(0x1_0000_01f9UL, false)]
    [InlineData(0UL, false)]
    [InlineData(0x6_0000_0000UL, false)]
    [InlineData(0x8000_0002_0000_0000UL, false)]
    [InlineData(0xffff_ffff_ffff_fff8UL, false)]
    [InlineData(0xffff_ffff_ffff_ffffUL, false)]
    [InlineData(0xffff_fffc_ffff_ffffUL, false)]
    [InlineData(0xffff_fffe_0000_0000UL, false)]
    public void Only_addresses_of_lent_bytes_can_be_loaded(ulong address, bool isInside) =>
        Assert.Equal(isInside ? ExecutionStatus.Completed : ExecutionStatus.BadAccess, Run("ldxdw r0, [r3]", address));

    [Theory]
    [InlineData(0x2_0000_0008UL, true)]
    [InlineData(0x2_0000_0009UL, false)]
    [InlineData(0x3_0000_0000UL, false)]
    [InlineData(0UL, false)]
    [InlineData(ulong.MaxValue, false)]
    public void Only_writable_bytes_can_be_stored_to(ulong address, bool isInside)
    {
        Assert.Equal(isInside ? ExecutionStatus.Completed : ExecutionStatus.BadAccess, Run("stdw [r3], -1", address));
        Assert.Equal(isInside ? ExecutionStatus.Completed : ExecutionStatus.BadAccess, Run("stxdw [r3], r3", address));
    }

    [Fact]
    public void A_fault_names_its_instruction()
    {
        byte[] memory = new byte[16];
        VerifiedProgram program = Smuggle(Assembler.Assemble("lddw r4, 7\nmov r0, 1\nldxb r0, [r4]\nexit"), Contract)!;
        Assert.Equal(
            new ExecutionResult(ExecutionStatus.BadAccess, 0, 3, 3), Interpreter.Run(program, ProgramInput.Writable(memory, new byte[8]), 100));
    }

    [Fact]
    public void Any_program_of_good_form_runs_without_harm_and_faults_where_the_oracle_does()
    {
        int faults = 0;
        int completed = 0;
        Gen.Int.Sample(
            seed =>
            {
                Random random = new(seed);
                Program program = FuzzPrograms.Mutate(FuzzPrograms.Generate(random), random);
                if (Smuggle(program, FuzzPrograms.Contract) is not { } smuggled)
                {
                    return;
                }

                byte[] memory = new byte[FuzzPrograms.MemoryBytes];
                byte[] context = new byte[FuzzPrograms.ContextBytesMin];
                random.NextBytes(context);
                byte[] other = [.. memory];
                Zero helpers = default;
                ExecutionResult fast = Interpreter.Run(
                    smuggled, ProgramInput.Writable(memory, context) with { R5 = 9 }, ref helpers, smuggled.InstructionsMax);
                ExecutionResult slow = CheckingInterpreter.Run(
                    program, FuzzPrograms.Contract, ProgramInput.Writable(other, context) with { R5 = 9 }, ref helpers, smuggled.InstructionsMax);

                // Once the oracle has stopped at what was never written the two go different ways; until then they are one.
                Assert.Contains(fast.Status, (ExecutionStatus[])
                    [ExecutionStatus.Completed, ExecutionStatus.BadAccess, ExecutionStatus.OutOfFuel, ExecutionStatus.CallDepthExceeded]);
                if (slow.Status is ExecutionStatus.BadAccess)
                {
                    // With local calls there are several stack frames: the oracle sees a step from one into another, the interpreter
                    // only one out of the stack.
                    if (program.StackBytes > ProgramContract.StackBytes)
                    {
                        return;
                    }

                    Interlocked.Increment(ref faults);
                    Assert.Equal(slow, fast);
                    Assert.Equal(other, memory);
                }
                else if (slow.Status is ExecutionStatus.Completed)
                {
                    Interlocked.Increment(ref completed);
                    Assert.Equal(slow, fast);
                    Assert.Equal(other, memory);
                }
            },
            iter: 10_000,
            threads: 1);
        Assert.True(faults > 50 && completed > 50, $"{faults} faults, {completed} completed");
    }

    [Fact]
    public void One_program_runs_on_many_threads_and_inside_itself()
    {
        ProgramContract contract = new("nest", [ArgumentContract.Scalar()], helpers: [new HelperContract(1, "run again", 1)]);
        VerifiedProgram program = Verifier.Verify(Assembler.Assemble("""
                stxdw [r10-8], r1
                mov   r0, 1
                jeq   r1, 0, done
                sub   r1, 1
                call  1
                ldxdw r1, [r10-8]
                mul   r0, r1
            done:
                exit
            """), contract).Require();
        ulong[] factorials = new ulong[64];
        Parallel.For(0, factorials.Length, i =>
        {
            Again again = new() { Program = program };
            factorials[i] = Interpreter.Run(program, new ProgramInput(default) { R1 = 10 }, ref again, 100).R0;
        });
        Assert.All(factorials, answer => Assert.Equal(3_628_800UL, answer));
    }

    private struct Again : IHelperCalls
    {
        public VerifiedProgram Program;

        public ulong Call(int helper, ulong r1, ulong r2, ulong r3, ulong r4, ulong r5) =>
            Interpreter.Run(Program, new ProgramInput(default) { R1 = r1 }, ref this, 100).R0;
    }
}
