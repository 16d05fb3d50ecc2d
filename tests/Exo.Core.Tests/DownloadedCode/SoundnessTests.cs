// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.DownloadedCode;

namespace Exo.Core.Tests.DownloadedCode;

/// <summary>
/// The promise of the verifier, attacked: whatever it accepts is run under suspicion and must never touch what was not lent, read
/// what was not written, run out of fuel, or answer differently when nothing but addresses and leftovers changed.
/// </summary>
public sealed class SoundnessTests(ITestOutputHelper output)
{
    private struct Mixer : IHelperCalls
    {
        public ulong State;

        public ulong Call(int helper, ulong r1, ulong r2, ulong r3, ulong r4, ulong r5)
        {
            State = (State * 6364136223846793005) + (r1 ^ (r2 << 7) ^ (r3 << 13) ^ (r4 << 3) ^ r5) + (ulong)helper;
            return helper == 7 ? State & 0xff : State;
        }
    }

    private readonly record struct Outcome(ExecutionResult Result, ulong HelperState, string Memory);

    private static Outcome Fast(VerifiedProgram program, byte[] memory, byte[] context, ulong r4, ulong r5)
    {
        byte[] own = [.. memory];
        Mixer helpers = new();
        ExecutionResult result = Interpreter.Run(
            program, ProgramInput.Writable(own, context) with { R4 = r4, R5 = r5 }, ref helpers, program.InstructionsMax);
        return new Outcome(result, helpers.State, Convert.ToHexString(own));
    }

    private static Outcome Compiled(VerifiedProgram program, byte[] memory, byte[] context, ulong r4, ulong r5)
    {
        byte[] own = [.. memory];
        Mixer helpers = new();
        ExecutionResult result = Compiler.Run(
            program, ProgramInput.Writable(own, context) with { R4 = r4, R5 = r5 }, ref helpers, program.InstructionsMax);
        return new Outcome(result, helpers.State, Convert.ToHexString(own));
    }

    private static Outcome Suspicious(Program program, byte[] memory, byte[] context, ulong r4, ulong r5, int fuel, ulong seed)
    {
        byte[] own = [.. memory];
        Mixer helpers = new();
        ProgramInput input = ProgramInput.Writable(own, context) with { R4 = r4, R5 = r5 };
        ExecutionResult result = CheckingInterpreter.Run(program, FuzzPrograms.Contract, input, ref helpers, fuel, seed);
        return new Outcome(result, helpers.State, Convert.ToHexString(own));
    }

    private static void HoldToPromise(VerifiedProgram program, Random random)
    {
        for (int run = 0; run < 4; run++)
        {
            byte[] memory = new byte[FuzzPrograms.MemoryBytes];
            byte[] context = new byte[FuzzPrograms.ContextBytesMin + random.Next(5)];
            if (run > 0)
            {
                random.NextBytes(memory);
                random.NextBytes(context);
            }

            ulong r4 = run == 3 ? 100 : (ulong)random.Next(101);
            ulong r5 = run switch { 0 => 0, 1 => (ulong)random.Next(64), 2 => ulong.MaxValue, _ => (ulong)random.NextInt64() << random.Next(2) };
            Outcome first = Suspicious(program.Program, memory, context, r4, r5, program.InstructionsMax, 0);
            Assert.True(first.Result.Status == ExecutionStatus.Completed, $"{first.Result}\n{Disassembler.Listing(program.Program)}");
            Assert.Equal(first, Suspicious(program.Program, memory, context, r4, r5, program.InstructionsMax, (ulong)random.NextInt64()));
            Assert.Equal(first, Fast(program, memory, context, r4, r5));
            Assert.Equal(first, Compiled(program, memory, context, r4, r5));
        }
    }

    [Fact]
    public void Accepted_programs_keep_every_promise()
    {
        int tried = 0;
        int accepted = 0;
        int mutantsAccepted = 0;
        int[] refused = new int[32];
        Gen.Int.Sample(
            seed =>
            {
                Random random = new(seed);
                Program program = FuzzPrograms.Generate(random);
                Interlocked.Increment(ref tried);
                VerifyResult result = Verifier.Verify(program, FuzzPrograms.Contract);
                if (result.IsAccepted)
                {
                    Interlocked.Increment(ref accepted);
                    HoldToPromise(result.Program, random);
                    result = Verifier.Verify(FuzzPrograms.Mutate(program, random), FuzzPrograms.Contract);
                    if (result.IsAccepted)
                    {
                        Interlocked.Increment(ref mutantsAccepted);
                        HoldToPromise(result.Program, random);
                    }
                }

                if (result.Rejection is { } rejection)
                {
                    Interlocked.Increment(ref refused[(int)rejection.Rule]);
                    Assert.NotEmpty(rejection.Reason);
                }
            },
            iter: 20_000,
            threads: 1);
        output.WriteLine($"{tried} programs: {accepted} accepted ({100.0 * accepted / tried:f1} %), {mutantsAccepted} of their mutants accepted");
        for (int rule = 0; rule < refused.Length; rule++)
        {
            if (refused[rule] > 0)
            {
                output.WriteLine($"  refused {refused[rule],6}: {(VerifierRule)rule}");
            }
        }

        // A fuzzer that is always refused, or never, finds nothing.
        Assert.InRange(accepted, tried / 10, tried * 9 / 10);
        Assert.True(mutantsAccepted > accepted / 20);
    }

    [Theory]
    [InlineData("ldxb r0, [r1+64]\nexit", ExecutionStatus.BadAccess)]
    [InlineData("ldxdw r0, [r1-1]\nexit", ExecutionStatus.BadAccess)]
    [InlineData("stb [r3+0], 1\nexit", ExecutionStatus.BadAccess)]
    [InlineData("ldxb r0, [r10-1]\nexit", ExecutionStatus.UninitialisedRead)]
    [InlineData("mov r0, r9\nexit", ExecutionStatus.UninitialisedRead)]
    [InlineData("call 7\nmov r0, r5\nexit", ExecutionStatus.UninitialisedRead)]
    [InlineData("a: ja a", ExecutionStatus.OutOfFuel)]
    [InlineData("call 2\nexit", ExecutionStatus.UnknownHelper)]
    [InlineData("mov r0, 0", ExecutionStatus.BadInstruction)]
    public void The_oracle_itself_sees_what_is_wrong(string text, ExecutionStatus expected)
    {
        Program program = Assembler.Assemble(text);
        Assert.False(Verifier.Verify(program, FuzzPrograms.Contract).IsAccepted);
        Assert.Equal(expected, Suspicious(program, new byte[64], new byte[32], 0, 0, 100, 0).Result.Status);
    }

    [Fact]
    public void The_oracle_notices_answers_that_depend_on_addresses()
    {
        Program program = Assembler.Assemble("mov r0, r1\nrsh r0, 4\nexit");
        Assert.NotEqual(
            Suspicious(program, new byte[64], new byte[32], 0, 0, 100, 1), Suspicious(program, new byte[64], new byte[32], 0, 0, 100, 12345));
    }

    [Fact]
    public void Random_bytes_are_judged_without_a_crash()
    {
        Gen.Byte.Array[8, 400].Sample(
            bytes =>
            {
                if (Program.TryParse(bytes.AsSpan(0, bytes.Length & ~7), out Program? program))
                {
                    VerifyResult result = Verifier.Verify(program, FuzzPrograms.Contract);
                    Assert.True(result.IsAccepted || result.Rejection.ToString().Length is > 10 and < 10_000);
                    Assert.Equal(bytes.AsSpan(0, bytes.Length & ~7).ToArray(), program.ToBytes());
                }
            },
            iter: 20_000);
    }
}
