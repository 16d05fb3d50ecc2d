// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using Exo.Core.DownloadedCode;

namespace Exo.Core.Predicates;

/// <summary>
/// A sum of products as a program of the one verified machine. The host reads every word once, in order, into the memory region,
/// so that a run sees each word with one value and nothing else:
/// <code>
///   memory:  word 0 | word 1 | ... | word n-1      8 bytes each; the time is one of them
///   r0:      the number of the first product that holds, from 1, or 0
///
///   product i:  ldxdw r2, [r1 + 8 left]            a side that is a constant is loaded with lddw instead
///               ldxdw r3, [r1 + 8 right]
///               jump if not (r2 comparison r3), product i + 1
///               ... further terms
///               mov r0, i + 1
///               exit
/// </code>
/// Tags and the places of words are not part of it, so predicates that differ only in those share one program, verified and compiled once.
/// </summary>
internal sealed class PredicateProgram
{
    /// <summary>Programs that are remembered; when there are more, all are forgotten and shared anew.</summary>
    private const int SharedMax = 256;

    private static readonly ConcurrentDictionary<string, WeakReference<PredicateProgram>> s_shared = new(StringComparer.Ordinal);

    private readonly int _wordCount;
    private CompiledCode<NoHelpers>? _compiled;
    private int _runs;

    private PredicateProgram(VerifiedProgram code, int wordCount)
    {
        Code = code;
        _wordCount = wordCount;
    }

    /// <summary>The program, verified.</summary>
    public VerifiedProgram Code { get; }

    /// <summary>Translates products whose parts have been checked.</summary>
    /// <param name="products">The products.</param>
    /// <param name="words">The words, in the order of the memory region; each once.</param>
    public static PredicateProgram Of(IReadOnlyList<PredicateProduct> products, out List<PredicateValue> words)
    {
        words = [];
        StringBuilder text = new();
        for (int p = 0; p < products.Count; p++)
        {
            text.Append(CultureInfo.InvariantCulture, $"product{p}:\n");
            foreach (PredicateTerm term in products[p].Terms)
            {
                Load(text, words, 2, term.Left);
                Load(text, words, 3, term.Right);
                text.Append(CultureInfo.InvariantCulture, $"{JumpUnless(term.Comparison)} r2, r3, product{p + 1}\n");
            }

            text.Append(CultureInfo.InvariantCulture, $"mov r0, {p + 1}\nexit\n");
        }

        text.Append(CultureInfo.InvariantCulture, $"product{products.Count}:\nmov r0, 0\nexit\n");
        return Share(text.ToString(), words.Count);
    }

    /// <summary>The number of the first product that holds, from 1, or 0. Any number of threads at once.</summary>
    /// <param name="words">As many words as the program has.</param>
    [SkipLocalsInit]
    public unsafe int Run(ulong* words)
    {
        CompiledCode<NoHelpers>? code = Volatile.Read(ref _compiled);
        if (code is null)
        {
            return RunFirst(words);
        }

        // The translation above neither touches the stack nor calls: r10 leads nowhere.
        long* counts = stackalloc long[2];
        counts[0] = counts[1] = 0;
        NoHelpers none = default;
        return (int)code((ulong)words, 0, 0, 0, 0, 0, counts, ref none);
    }

    private static PredicateProgram Share(string text, int wordCount)
    {
        // One text has one number of words but for those that no term names, and there are none of these.
        if (s_shared.TryGetValue(text, out WeakReference<PredicateProgram>? known) && known.TryGetTarget(out PredicateProgram? program))
        {
            Invariant.Check(program._wordCount == wordCount);
            return program;
        }

        ProgramContract contract = new("predicate", [ArgumentContract.MemoryPointer], RegionContract.Exactly(wordCount * sizeof(ulong)));
        VerifyResult verdict = Verifier.Verify(Assembler.Assemble(text), contract);
        Invariant.Check(verdict.Program is not null);
        program = new PredicateProgram(verdict.Program!, wordCount);
        if (s_shared.Count >= SharedMax)
        {
            s_shared.Clear();
        }

        s_shared[text] = new WeakReference<PredicateProgram>(program);
        return program;
    }

    private static string JumpUnless(PredicateComparison comparison) => comparison switch
    {
        PredicateComparison.Equal => "jne",
        PredicateComparison.NotEqual => "jeq",
        PredicateComparison.Above => "jle",
        PredicateComparison.AtLeast => "jlt",
        PredicateComparison.Below => "jge",
        _ => "jgt",
    };

    private static void Load(StringBuilder text, List<PredicateValue> words, int register, PredicateValue value) =>
        _ = value.Kind == PredicateValueKind.Constant
            ? text.Append(CultureInfo.InvariantCulture, $"lddw r{register}, 0x{value.Constant:x}\n")
            : text.Append(CultureInfo.InvariantCulture, $"ldxdw r{register}, [r1+{IndexOf(words, value) * sizeof(ulong)}]\n");

    private static int IndexOf(List<PredicateValue> words, PredicateValue value)
    {
        int index = words.FindIndex(known =>
            known.Kind == value.Kind
            && (value.Kind == PredicateValueKind.Time
                || (known.Binding.Epoch == value.Binding.Epoch && known.OffsetBytes == value.OffsetBytes && known.LengthBytes == value.LengthBytes)));
        if (index < 0)
        {
            index = words.Count;
            words.Add(value);
        }

        return index;
    }

    private unsafe int RunFirst(ulong* words)
    {
        // Threads that count at the same time may lose a run; that puts compiling off and nothing else.
        if (++_runs > VerifiedProgram.RunsBeforeCompiled)
        {
            Volatile.Write(ref _compiled, Compiler.CodeOf<NoHelpers>(Code));
        }

        ExecutionResult result = Interpreter.Run(Code, new ProgramInput(new ReadOnlySpan<byte>(words, _wordCount * sizeof(ulong))));
        Invariant.Check(result.Status == ExecutionStatus.Completed);
        return (int)result.R0;
    }
}
