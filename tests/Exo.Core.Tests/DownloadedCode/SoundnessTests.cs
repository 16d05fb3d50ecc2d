// SPDX-License-Identifier: MIT
using System.Globalization;
using CsCheck;
using Exo.Core.DownloadedCode;

namespace Exo.Core.Tests.DownloadedCode;

/// <summary>
/// The promise of the verifier, attacked: whatever it accepts is run under suspicion and must never touch what was not lent, read
/// what was not written, run out of fuel, or answer differently when nothing but addresses and leftovers changed.
/// </summary>
public sealed class SoundnessTests(ITestOutputHelper output)
{
    private static ExecutionResult Suspicious(Program program, ulong seed)
    {
        Zero helpers = default;
        return CheckingInterpreter.Run(program, FuzzPrograms.Contract, ProgramInput.Writable(new byte[64], new byte[32]), ref helpers, 100, seed);
    }

    private struct Zero : IHelperCalls
    {
        public readonly ulong Call(int helper, ulong r1, ulong r2, ulong r3, ulong r4, ulong r5) => 0;
    }

    [Fact]
    public void Accepted_programs_keep_every_promise()
    {
        SoundnessFuzzer fuzzer = new();
        Gen.Int.Sample(fuzzer.Attack, iter: 2_000, threads: 1);
        output.WriteLine(fuzzer.ToString());

        // A fuzzer that is always refused, or never, finds nothing.
        Assert.InRange(fuzzer.Accepted, fuzzer.Programs / 10, fuzzer.Programs * 9 / 10);
        Assert.True(fuzzer.MutantsAccepted > fuzzer.Mutants / 20);
    }

    /// <summary>
    /// As many executions as <c>EXO_SOUNDNESS_EXECUTIONS</c> says, from the seed <c>EXO_SOUNDNESS_SEED</c> on, at most as long as the
    /// program runs; docs/soundness.md has the record of the longest.
    /// </summary>
    [Fact]
    public void A_long_attack_finds_nothing()
    {
        long executions = long.Parse(Environment.GetEnvironmentVariable("EXO_SOUNDNESS_EXECUTIONS") ?? "20000", CultureInfo.InvariantCulture);
        int seed = int.Parse(Environment.GetEnvironmentVariable("EXO_SOUNDNESS_SEED") ?? "1", CultureInfo.InvariantCulture);
        SoundnessFuzzer fuzzer = new();
        for (int next = seed; fuzzer.Executions < executions; next++)
        {
            fuzzer.Attack(next);
        }

        output.WriteLine($"seeds from {seed} on: {fuzzer}");
        Assert.True(fuzzer.Executions >= executions);
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
        Assert.Equal(expected, Suspicious(program, 0).Status);
    }

    [Fact]
    public void The_oracle_notices_answers_that_depend_on_addresses()
    {
        Program program = Assembler.Assemble("mov r0, r1\nrsh r0, 4\nexit");
        Assert.NotEqual(Suspicious(program, 1), Suspicious(program, 12345));
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
