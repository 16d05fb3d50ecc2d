// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>Assembler text that cannot be understood, with the place.</summary>
/// <param name="line">Line, from 1.</param>
/// <param name="column">Column, from 1, in UTF-16 code units.</param>
/// <param name="problem">What is wrong.</param>
public sealed class AssemblerException(int line, int column, string problem) : FormatException($"line {line}, column {column}: {problem}")
{
    /// <summary>Line, from 1.</summary>
    public int Line { get; } = line;

    /// <summary>Column, from 1.</summary>
    public int Column { get; } = column;

    /// <summary>What is wrong, without the place.</summary>
    public string Problem { get; } = problem;
}
