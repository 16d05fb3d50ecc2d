// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// Decides whether a stranger's program may run inside the host. An accepted program
/// <list type="bullet">
/// <item><b>ends</b>: every loop is left and calls are bounded, so no run executes more than
/// <see cref="VerifiedProgram.InstructionsMax"/> instructions;</item>
/// <item><b>stays inside</b>: each access lies in its region on every path, and stores go only where the contract allows;</item>
/// <item><b>answers alike</b>: no register or stack byte is read before it is written, and nothing but the contract's regions,
/// scalars and helpers can be read, so equal input gives an equal run;</item>
/// <item><b>keeps addresses to itself</b>: pointers are compared and subtracted within one region only, not calculated with beyond
/// adding numbers, not returned, not passed to helpers and not stored where others read.</item>
/// </list>
/// <para><b>How.</b> The <see cref="Decoder"/> first judges each instruction by itself: form, registers, jump targets; then
/// <see cref="ControlFlow"/> finds functions, blocks and loops. The pass interprets the program on <em>ranges</em> instead of numbers.
/// The state (<see cref="AbstractState"/>) holds for each register and stack slot what is known of it on every path that leads here:
/// nothing, a number within a <see cref="ScalarRange"/> (unsigned bounds, signed bounds, known bits), or a pointer: a region and the
/// range of the offset. A conditional jump splits the state; <see cref="RangeComparison"/> sharpens both halves by the outcome and
/// drops a half that cannot be. Where paths meet the states are joined to what holds on all of them.</para>
/// <para><b>Loops</b> are unrolled: the state that comes back to the head is carried through the body once more, alone, until no path
/// comes back. A loop whose counter is bounded, by a constant or by a bounded number, ends that way; one that makes no progress is
/// refused as soon as that shows, one that is merely long when the work is spent. Nothing is ever widened or guessed.
/// <b>Local calls</b> are followed with the state at hand, each call anew.</para>
/// <para><b>A second way</b> is tried when that fails: <see cref="VerifierPaths"/> follows each path by itself, which keeps what joins
/// lose - how registers depend on one another - within a fifth of the work. What is refused is reported as the first way saw it.</para>
/// <para><b>What it costs.</b> Without loops and local calls the work is linear: per instruction one transfer, and per jump one join of
/// at most 11 registers and 64 stack slots. With them it is as the program itself would run, <see cref="InstructionsMax"/> instructions at
/// most. <see cref="VerifyResult.Steps"/> counts it. States wait at jump targets and share their parts, so memory is linear in the program:
/// the worst contrived ones of 65,536 slots take about 100 MiB for a moment. What neither way proves in its budget is refused.</para>
/// <para><b>What soundness rests on.</b> Every transfer function contains the concrete result (tested per operation), and accepted
/// programs are attacked by fuzzing. The interpreter checks each access and the budget again, so that a mistake here costs a refused
/// run and not the host; compiled programs rely on the proof.</para>
/// </summary>
public static class Verifier
{
    /// <summary>How many instructions the verifier interprets before it gives up on a program; loops and calls count each time.</summary>
    public const int InstructionsMax = 1_000_000;

    /// <summary>The greatest <see cref="VerifyResult.Steps"/> of either way through a program, but for the last join.</summary>
    public const long StepsMax = 8_000_000;

    /// <summary>
    /// Judges <paramref name="program"/> under <paramref name="contract"/>. Never throws for a program, however malformed.
    /// </summary>
    /// <returns>The program ready to run, or the first instruction that breaks a rule, with the state and the reason.</returns>
    public static VerifyResult Verify(Program program, ProgramContract contract) => VerifyWithin(program, contract, InstructionsMax);

    /// <summary>The same with less patience, for tests that judge programs by the million; on request the second way goes first.</summary>
    internal static VerifyResult VerifyWithin(Program program, ProgramContract contract, int instructionsMax, bool pathsFirst = false)
    {
        ArgumentNullException.ThrowIfNull(program);
        ArgumentNullException.ThrowIfNull(contract);
        DecodedInstruction[]? code = Decoder.Decode(program, contract, out VerifierRejection? rejection);
        if (code is null)
        {
            return new VerifyResult(null, rejection, program.Slots.Length);
        }

        if (ControlFlow.Build(program, code, out rejection) is not { } flow)
        {
            return new VerifyResult(null, rejection, program.Slots.Length);
        }

        long steps = 0;
        int longestPath = 0;
        if (pathsFirst && VerifierPaths.TryProve(program, contract, code, flow, instructionsMax, ref steps, out longestPath))
        {
            return new VerifyResult(new VerifiedProgram(program, contract, code, flow, longestPath), null, steps);
        }

        VerifierPass pass = new(program, contract, code, flow, instructionsMax);
        rejection = pass.Run();
        steps += pass.Steps;
        longestPath = pass.LongestPath;
        if (rejection is not null && rejection.Rule != VerifierRule.TooMuchWork
            && VerifierPaths.TryProve(program, contract, code, flow, instructionsMax, ref steps, out longestPath))
        {
            rejection = null;
        }

        return rejection is null
            ? new VerifyResult(new VerifiedProgram(program, contract, code, flow, longestPath), null, steps)
            : new VerifyResult(null, rejection, steps);
    }
}
