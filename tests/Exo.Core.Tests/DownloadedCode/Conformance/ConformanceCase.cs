// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text.RegularExpressions;
using Exo.Core.DownloadedCode;

namespace Exo.Core.Tests.DownloadedCode.Conformance;

/// <summary>One program with its answer, in the format of the public BPF conformance suite.</summary>
/// <param name="Name">From the line that begins the case, or the file's name.</param>
/// <param name="Program">The program.</param>
/// <param name="Memory">What r1 points to.</param>
/// <param name="Result">r0, or null where the program must be refused.</param>
internal sealed partial record ConformanceCase(string Name, Program Program, byte[] Memory, ulong? Result)
{
    /// <summary>Reads a file of cases that begin with <c>==</c>; without such a line the file is one case.</summary>
    public static List<ConformanceCase> Read(string path)
    {
        List<ConformanceCase> cases = [];
        string name = Path.GetFileNameWithoutExtension(path);
        List<string> lines = [];
        foreach (string line in File.ReadLines(path))
        {
            if (!line.StartsWith("==", StringComparison.Ordinal))
            {
                lines.Add(line);
                continue;
            }

            if (lines.Exists(l => l.StartsWith("--", StringComparison.Ordinal)))
            {
                cases.Add(Parse(name, lines));
            }

            name = line[2..].Trim();
            lines.Clear();
        }

        cases.Add(Parse(name, lines));
        return cases;
    }

    private static ConformanceCase Parse(string name, List<string> lines)
    {
        Dictionary<string, List<string>> sections = [];
        List<string> current = [];
        foreach (string line in lines)
        {
            if (line.StartsWith("--", StringComparison.Ordinal))
            {
                current = sections[line[2..].Trim()] = [];
            }
            else
            {
                int comment = line.IndexOf('#', StringComparison.Ordinal);
                current.Add(comment < 0 ? line : line[..comment]);
            }
        }

        string Words(string section) => string.Join(' ', sections.GetValueOrDefault(section) ?? []);
        Program program = sections.ContainsKey("raw")
            ? Assembler.Assemble(string.Join('\n', Split(Words("raw")).Select(word => $".quad {word}")))
            : Assembler.Assemble(string.Join('\n', sections["asm"].Select(Narrow)));
        string? result = Split(Words("result")).FirstOrDefault();
        return new ConformanceCase(
            name, program, [.. Split(Words("mem")).Select(word => byte.Parse(word, NumberStyles.HexNumber, CultureInfo.InvariantCulture))],
            sections.ContainsKey("error") || result is null ? null : Number(result));
    }

    private static string[] Split(string text) => text.Split((char[])[' ', '\t', '\r'], StringSplitOptions.RemoveEmptyEntries);

    private static ulong Number(string text) => text.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
        ? ulong.Parse(text.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture)
        : ulong.Parse(text, CultureInfo.InvariantCulture);

    /// <summary>The suite's assembler cuts immediates to 32 bits without a word, and its tests rely on that.</summary>
    private static string Narrow(string line) => line.TrimStart().StartsWith("lddw", StringComparison.Ordinal)
        ? line
        : LongImmediate().Replace(line, match => "0x" + match.Value[^8..]);

    [GeneratedRegex("0x[0-9a-fA-F]{9,16}")]
    private static partial Regex LongImmediate();
}
