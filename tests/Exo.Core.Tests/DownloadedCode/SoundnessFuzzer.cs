// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;

namespace Exo.Core.Tests.DownloadedCode;

/// <summary>
/// Attacks the verifier: makes programs, mutates those it accepts again and again, and runs whatever it accepts on several memories - in
/// the checking interpreter at two sets of addresses, in the fast one, and compiled. An accepted program that touches what was not lent,
/// reads what was not written, passes its proved bound, or answers differently anywhere fails the test with its listing.
/// </summary>
internal sealed class SoundnessFuzzer
{
    /// <summary>How many instructions a verdict may take here; programs are small, and most longer loops are endless ones.</summary>
    private const int VerdictInstructionsMax = 5_000;

    private const int Generations = 8;
    private const int MemoriesPerProgram = 4;

    /// <summary>Programs made from nothing.</summary>
    public int Programs { get; private set; }

    /// <summary>Those of them that the verifier accepted.</summary>
    public int Accepted { get; private set; }

    /// <summary>Mutants judged.</summary>
    public int Mutants { get; private set; }

    /// <summary>Mutants accepted.</summary>
    public int MutantsAccepted { get; private set; }

    /// <summary>Runs of accepted programs, in whichever way.</summary>
    public long Executions { get; private set; }

    /// <summary>Instructions that the fast interpreter executed in them.</summary>
    public long Instructions { get; private set; }

    /// <summary>Refusals by rule.</summary>
    public int[] Refused { get; } = new int[32];

    /// <summary>Makes one program and attacks with it and its descendants; the same seed does the same.</summary>
    public void Attack(int seed)
    {
        Random random = new(seed);
        Programs++;
        VerifyResult result = Judge(FuzzPrograms.Generate(random));
        if (!result.IsAccepted)
        {
            return;
        }

        Accepted++;
        HoldToPromise(result.Program, random, seed);
        Program parent = result.Program.Program;
        for (int generation = 0; generation < Generations; generation++)
        {
            Mutants++;
            result = Judge(FuzzPrograms.Mutate(parent, random));
            if (result.IsAccepted)
            {
                MutantsAccepted++;
                HoldToPromise(result.Program, random, seed);
                parent = result.Program.Program;
            }
        }
    }

    /// <summary>The counts as text.</summary>
    public override string ToString()
    {
        string refusals = string.Concat(Refused.Select((count, rule) => count == 0 ? "" : $"\n  refused {count,9:N0}: {(VerifierRule)rule}"));
        return $"{Programs:N0} programs made, {Accepted:N0} accepted ({100.0 * Accepted / Programs:f1} %); {Mutants:N0} mutants judged, "
            + $"{MutantsAccepted:N0} accepted; {Executions:N0} executions, {Instructions:N0} instructions interpreted" + refusals;
    }

    private VerifyResult Judge(Program program)
    {
        // The second way seldom proves what the first one does not: by itself it is attacked every other time.
        VerifyResult result = Verifier.VerifyWithin(program, FuzzPrograms.Contract, VerdictInstructionsMax, pathsFirst: Programs % 2 == 0);
        if (result.Rejection is { } rejection)
        {
            Refused[(int)rejection.Rule]++;
            Assert.NotEmpty(rejection.Reason);
        }

        return result;
    }

    private readonly record struct Outcome(ExecutionResult Result, ulong HelperState, ulong MemoryHash);

    private struct Mixer : IHelperCalls
    {
        public ulong State;

        public ulong Call(int helper, ulong r1, ulong r2, ulong r3, ulong r4, ulong r5)
        {
            State = (State * 6364136223846793005) + (r1 ^ (r2 << 7) ^ (r3 << 13) ^ (r4 << 3) ^ r5) + (ulong)helper;
            return helper == 7 ? State & 0xff : State;
        }
    }

    private enum Way
    {
        Suspicious,
        Interpreted,
        Compiled,
    }

    private Outcome Run(Way way, VerifiedProgram program, byte[] memory, byte[] context, ulong r4, ulong r5, ulong addressSeed = 0)
    {
        // Bytes of the test's own on both sides must stay as they are.
        const int margin = 64;
        byte[] around = new byte[memory.Length + (2 * margin)];
        Array.Fill(around, (byte)0xa5);
        Span<byte> own = around.AsSpan(margin, memory.Length);
        memory.CopyTo(own);
        Mixer helpers = new();
        ProgramInput input = ProgramInput.Writable(own, context) with { R4 = r4, R5 = r5 };
        Executions++;
        ExecutionResult result = way switch
        {
            Way.Suspicious => CheckingInterpreter.Run(program.Program, program.Contract, input, ref helpers, program.InstructionsMax, addressSeed),
            Way.Interpreted => Interpreter.Run(program, input, ref helpers, program.InstructionsMax),
            _ => Compiler.Run(program, input, ref helpers, program.InstructionsMax),
        };
        Assert.True(around.AsSpan(0, margin).IndexOfAnyExcept((byte)0xa5) < 0 && around.AsSpan(margin + memory.Length).IndexOfAnyExcept((byte)0xa5) < 0);
        HashCode hash = new();
        hash.AddBytes(own);
        return new Outcome(result, helpers.State, (ulong)hash.ToHashCode());
    }

    private void HoldToPromise(VerifiedProgram program, Random random, int seed)
    {
        for (int run = 0; run < MemoriesPerProgram; run++)
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
            Outcome first = Run(Way.Suspicious, program, memory, context, r4, r5);
            bool isKept = first.Result.Status == ExecutionStatus.Completed
                && first == Run(Way.Suspicious, program, memory, context, r4, r5, (ulong)random.NextInt64())
                && first == Run(Way.Interpreted, program, memory, context, r4, r5)
                && first == Run(Way.Compiled, program, memory, context, r4, r5);
            Instructions += first.Result.Instructions;
            Assert.True(isKept, $"seed {seed}: {first.Result}, r4 = {r4}, r5 = {r5}\n{Disassembler.Listing(program.Program)}");
        }
    }
}
