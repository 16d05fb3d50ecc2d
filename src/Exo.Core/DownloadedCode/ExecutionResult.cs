// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>How a run ended.</summary>
public enum ExecutionStatus : byte
{
    /// <summary>The program reached <c>exit</c>; r0 is its answer.</summary>
    Completed = 0,

    /// <summary>The instruction budget was spent first.</summary>
    OutOfFuel = 1,

    /// <summary>An access outside the regions lent, or a store into a read-only one. Never from a verified program.</summary>
    BadAccess = 2,

    /// <summary>An instruction the machine does not have, or a jump outside the program. Never from a verified program.</summary>
    BadInstruction = 3,

    /// <summary>A register or stack byte was read before it was written. Only the checking interpreter says so.</summary>
    UninitialisedRead = 4,

    /// <summary>A call of a helper the contract does not have. Never from a verified program.</summary>
    UnknownHelper = 5,

    /// <summary>More local calls inside one another than <see cref="ProgramContract.CallDepthMax"/> allows. Never from a verified
    /// program.</summary>
    CallDepthExceeded = 6,
}

/// <summary>The outcome of one run.</summary>
/// <param name="Status">How it ended.</param>
/// <param name="R0">The answer, when <see cref="ExecutionStatus.Completed"/>; otherwise zero.</param>
/// <param name="Instructions">How many instructions were executed, the last one included.</param>
/// <param name="FaultInstruction">The slot that could not be executed, or -1.</param>
public readonly record struct ExecutionResult(ExecutionStatus Status, ulong R0, int Instructions, int FaultInstruction);

/// <summary>The functions of the host that programs call. Implement it on a struct: the interpreter is compiled for each one.</summary>
public interface IHelperCalls
{
    /// <summary>
    /// Carries out one call. Arguments beyond the helper's declared count are zero. Must depend on nothing but its arguments and
    /// the state of the struct, or runs differ on the same input.
    /// </summary>
    /// <returns>The value of r0 after the call.</returns>
    ulong Call(int helper, ulong r1, ulong r2, ulong r3, ulong r4, ulong r5);
}

/// <summary>The helpers of a contract without any.</summary>
public readonly struct NoHelpers : IHelperCalls
{
    /// <summary>Never reached: the verifier refuses calls the contract does not list.</summary>
    public ulong Call(int helper, ulong r1, ulong r2, ulong r3, ulong r4, ulong r5) =>
        throw new InvalidOperationException($"Helper {helper} was called where the contract has none.");
}
