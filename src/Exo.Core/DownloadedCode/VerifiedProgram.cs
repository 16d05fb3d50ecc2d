// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// A program that the verifier accepted under one contract, decoded for the interpreter. Immutable: any number of threads may
/// run it at once. There is no other way to make one than <see cref="Verifier.Verify"/>.
/// </summary>
public sealed class VerifiedProgram
{
    internal VerifiedProgram(Program program, ProgramContract contract, DecodedInstruction[] code, ControlFlow flow, int instructionsMax)
    {
        Program = program;
        Contract = contract;
        Code = code;
        Flow = flow;
        InstructionsMax = instructionsMax;
    }

    /// <summary>The program as it was given.</summary>
    public Program Program { get; }

    /// <summary>The contract it was verified against.</summary>
    public ProgramContract Contract { get; }

    /// <summary>No run executes more instructions than this: the longest path, proved. That much fuel always suffices.</summary>
    public int InstructionsMax { get; }

    /// <summary>One entry per slot and a trap behind the last; see <see cref="Decoder"/>.</summary>
    internal DecodedInstruction[] Code { get; }

    /// <summary>Functions and blocks of the code.</summary>
    internal ControlFlow Flow { get; }
}
