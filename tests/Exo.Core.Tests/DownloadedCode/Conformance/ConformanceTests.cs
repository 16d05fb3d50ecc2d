// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Exo.Core.DownloadedCode;
using Exo.Tests;

namespace Exo.Core.Tests.DownloadedCode.Conformance;

/// <summary>
/// RFC 9669 by example: each program of <c>cases.data</c> gives its answer interpreted, compiled and under suspicion, or is refused. Where
/// the variable <c>EXO_BPF_CONFORMANCE</c> names a folder, such as that of the public suite's tests, the cases there are run too.
/// </summary>
public sealed class ConformanceTests
{
    private static string CasesFile([CallerFilePath] string here = "") => Path.Combine(Path.GetDirectoryName(here)!, "cases.data");

    private static readonly Dictionary<string, ConformanceCase> Cases = ConformanceCase.Read(CasesFile()).ToDictionary(c => c.Name);

    public static TheoryData<string> Names => [.. Cases.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void Case(string name) => Assert.Null(Judge(Cases[name]));

    [Fact]
    public void Every_case_of_a_folder()
    {
        string folder = Environment.GetEnvironmentVariable("EXO_BPF_CONFORMANCE") ?? Path.GetDirectoryName(CasesFile())!;
        List<string> faults = [];
        int passed = 0;
        foreach (string file in Directory.EnumerateFiles(folder, "*.data", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            foreach (string fault in Faults(file, ref passed))
            {
                faults.Add($"{Path.GetFileName(file)}: {fault}");
            }
        }

        Assert.True(faults.Count == 0, $"{passed} passed, {faults.Count} did not:\n{string.Join('\n', faults)}");
        Assert.NotEqual(0, passed);
    }

    private static List<string> Faults(string file, ref int passed)
    {
        List<string> faults = [];
        try
        {
            foreach (ConformanceCase example in ConformanceCase.Read(file))
            {
                if (Judge(example) is { } fault)
                {
                    faults.Add($"{example.Name}: {fault}");
                }
                else
                {
                    passed++;
                }
            }
        }
        catch (Exception error) when (error is AssemblerException or FormatException)
        {
            faults.Add(error.Message);
        }

        return faults;
    }

    /// <summary>What is wrong with a case, or null.</summary>
    private static string? Judge(ConformanceCase example)
    {
        ProgramContract contract = new(
            "conformance", [ArgumentContract.MemoryPointer, ArgumentContract.MemoryLength],
            RegionContract.Exactly(example.Memory.Length, isWritable: true));
        VerifyResult verdict = Verifier.Verify(example.Program, contract);
        if (example.Result is not { } expected)
        {
            return verdict.IsAccepted ? "it was accepted" : null;
        }

        if (!verdict.IsAccepted)
        {
            return verdict.Rejection.ToString();
        }

        NoHelpers none = default;
        byte[][] memories = [[.. example.Memory], [.. example.Memory], [.. example.Memory]];
        ExecutionResult[] results =
        [
            Interpreter.Run(verdict.Program, ProgramInput.Writable(memories[0]), verdict.Program.InstructionsMax),
            Compiler.Run(verdict.Program, ProgramInput.Writable(memories[1]), verdict.Program.InstructionsMax),
            CheckingInterpreter.Run(example.Program, contract, ProgramInput.Writable(memories[2]), ref none, verdict.Program.InstructionsMax, 77),
        ];
        return results.All(result => result == results[0] && result.Status == ExecutionStatus.Completed && result.R0 == expected)
            && memories.All(memory => memory.AsSpan().SequenceEqual(memories[0]))
            ? null
            : $"expected 0x{expected:x}, got {string.Join(", ", results.Select(result => $"{result.Status} 0x{result.R0:x} after {result.Instructions}"))}";
    }
}
