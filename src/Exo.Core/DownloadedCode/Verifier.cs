// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// Decides whether a stranger's program may run inside the host. An accepted program
/// <list type="bullet">
/// <item><b>ends</b>: jumps lead forward only, so no run executes an instruction twice;</item>
/// <item><b>stays inside</b>: each access lies in its region on every path, and stores go only where the contract allows;</item>
/// <item><b>answers alike</b>: no register or stack byte is read before it is written, and nothing but the contract's regions,
/// scalars and helpers can be read, so equal input gives an equal run;</item>
/// <item><b>keeps addresses to itself</b>: pointers are not compared, not calculated with beyond adding numbers, not returned, not
/// passed to helpers and not stored where others read.</item>
/// </list>
/// <para><b>How.</b> The <see cref="Decoder"/> first judges each instruction by itself: form, registers, jump targets. Then one pass
/// interprets the program on <em>ranges</em> instead of numbers. The state (<see cref="AbstractState"/>) holds for each register and
/// stack slot what is known of it on every path that leads here: nothing, a number within a <see cref="ScalarRange"/> (unsigned
/// bounds, signed bounds, known bits), or a pointer: a region and the range of the offset. A conditional jump splits
/// the state; <see cref="RangeComparison"/> sharpens both halves by the outcome and drops a half that cannot be. Where paths meet the
/// states are joined to what holds on all of them.</para>
/// <para><b>Why one pass is enough.</b> Jumps lead forward, so when the pass comes to a slot, every path to it has been seen and its
/// state is complete. The work is linear: per instruction one transfer, and per jump one join of at most 11 registers and 64 stack
/// slots; <see cref="VerifyResult.Steps"/> counts it. States wait at jump targets and share their parts, so memory is linear too: the
/// worst contrived programs of 65,536 slots take about 100 MiB for a moment. What is lost against a verifier that walks each path by
/// itself is correlation between registers, and after a join between paths; what is won is that no program takes long to judge.</para>
/// <para><b>What soundness rests on.</b> Every transfer function contains the concrete result (tested per operation), and the
/// interpreter checks each access and the budget again, so that a mistake here costs a refused run and not the host.</para>
/// <para>Not accepted yet, each with its own rule: local calls, atomic operations, backward jumps.</para>
/// </summary>
public static class Verifier
{
    /// <summary>
    /// Judges <paramref name="program"/> under <paramref name="contract"/>. Never throws for a program, however malformed.
    /// </summary>
    /// <returns>The program ready to run, or the first instruction that breaks a rule, with the state and the reason.</returns>
    public static VerifyResult Verify(Program program, ProgramContract contract)
    {
        ArgumentNullException.ThrowIfNull(program);
        ArgumentNullException.ThrowIfNull(contract);
        DecodedInstruction[]? code = Decoder.Decode(program, contract, out VerifierRejection? rejection);
        if (code is null)
        {
            return new VerifyResult(null, rejection, program.Slots.Length);
        }

        VerifierPass pass = new(program, contract, code);
        rejection = pass.Run();
        return rejection is null
            ? new VerifyResult(new VerifiedProgram(program, contract, code, LongestPath(code)), null, pass.Steps)
            : new VerifyResult(null, rejection, pass.Steps);
    }

    /// <summary>The greatest number of instructions on any path, by one sweep from the end: all edges lead forward.</summary>
    private static int LongestPath(DecodedInstruction[] code)
    {
        int[] longest = new int[code.Length + 1];
        for (int i = code.Length - 2; i >= 0; i--)
        {
            Operation operation = code[i].Operation;
            longest[i] = 1 + operation switch
            {
                Operation.Exit or Operation.Trap => 0,
                Operation.Jump => longest[code[i].Offset],
                Operation.LoadImmediate64 => longest[i + 2],
                >= Operation.IfEqual64K => Math.Max(longest[i + 1], longest[code[i].Offset]),
                _ => longest[i + 1],
            };
        }

        return longest[0];
    }
}
