// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;

namespace Exo.Core.DownloadedCode;

/// <summary>The rules a program can break. Closed; the reason in words goes with it in <see cref="VerifierRejection"/>.</summary>
public enum VerifierRule : byte
{
    /// <summary>No such opcode, or a field that must be zero is not.</summary>
    UnknownInstruction = 1,

    /// <summary>A register above r10.</summary>
    NoSuchRegister = 2,

    /// <summary>r10, the frame pointer, is read-only.</summary>
    FramePointerIsReadOnly = 3,

    /// <summary>A jump target before the first or after the last slot.</summary>
    JumpOutOfProgram = 4,

    /// <summary>A jump into the second slot of <c>lddw</c>.</summary>
    JumpIntoWideInstruction = 5,

    /// <summary>A loop that is not proved to end.</summary>
    UnboundedLoop = 6,

    /// <summary>Local calls that nest deeper than <see cref="ProgramContract.CallDepthMax"/>, or a function that calls itself.</summary>
    CallDepth = 7,

    /// <summary>The verdict would take more work than <see cref="Verifier.InstructionsMax"/> allows.</summary>
    TooMuchWork = 8,

    /// <summary>The last instruction of the program or of a function in it can be passed without <c>exit</c>.</summary>
    MissingExit = 9,

    /// <summary>A helper the contract does not list.</summary>
    UnknownHelper = 10,

    /// <summary>A register is read that no path, or not every path, has written.</summary>
    UninitialisedRegister = 11,

    /// <summary>A stack byte is read that not every path has written.</summary>
    UninitialisedStack = 12,

    /// <summary>An access that may lie outside its region.</summary>
    OutOfBounds = 13,

    /// <summary>An access through a number.</summary>
    NotAPointer = 14,

    /// <summary>A store into a region lent for reading.</summary>
    ReadOnlyRegion = 15,

    /// <summary>Arithmetic that pointers do not have.</summary>
    PointerArithmetic = 16,

    /// <summary>A comparison with a pointer in it.</summary>
    PointerComparison = 17,

    /// <summary>A pointer would leave the program: in r0, in a helper's argument, or in memory others read.</summary>
    PointerLeak = 18,

    /// <summary>A jump out of one function of the program into another.</summary>
    JumpOutOfFunction = 19,
}

/// <summary>Why a program was refused.</summary>
/// <param name="Instruction">Index of the slot that breaks the rule.</param>
/// <param name="Disassembly">That instruction as text.</param>
/// <param name="Rule">The rule broken.</param>
/// <param name="Reason">The reason in words.</param>
/// <param name="State">What is known of registers and stack when the instruction is reached; empty for faults of form.</param>
public sealed record VerifierRejection(int Instruction, string Disassembly, VerifierRule Rule, string Reason, string State)
{
    /// <summary>The whole message.</summary>
    public override string ToString() =>
        $"instruction {Instruction}: {Disassembly}\n  {Reason}" + (State.Length == 0 ? "" : $"\n  state: {State}");
}

/// <summary>The verdict on one program: the verified program, or the rejection.</summary>
public sealed class VerifyResult
{
    internal VerifyResult(VerifiedProgram? program, VerifierRejection? rejection, long steps)
    {
        Program = program;
        Rejection = rejection;
        Steps = steps;
    }

    /// <summary>True when the program may run.</summary>
    [MemberNotNullWhen(true, nameof(Program))]
    [MemberNotNullWhen(false, nameof(Rejection))]
    public bool IsAccepted => Program is not null;

    /// <summary>The program, ready to run, when accepted.</summary>
    public VerifiedProgram? Program { get; }

    /// <summary>The reason, when refused.</summary>
    public VerifierRejection? Rejection { get; }

    /// <summary>The work the verdict took: instructions interpreted plus register and stack-slot pairs joined. Linear in the
    /// program where it has neither loops nor local calls, and never more than twice <see cref="Verifier.StepsMax"/>.</summary>
    public long Steps { get; }

    /// <summary>The verified program.</summary>
    /// <exception cref="ProgramRejectedException">It was refused.</exception>
    public VerifiedProgram Require() => Program ?? throw new ProgramRejectedException(Rejection!);
}

/// <summary>Thrown by <see cref="VerifyResult.Require"/> for a refused program.</summary>
public sealed class ProgramRejectedException(VerifierRejection rejection) : Exception("The verifier refused the program: " + rejection)
{
    /// <summary>The refusal.</summary>
    public VerifierRejection Rejection { get; } = rejection;
}
