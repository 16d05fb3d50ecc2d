// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// A program that the verifier accepted under one contract, decoded for the interpreter. Immutable: any number of threads may
/// run it at once. There is no other way to make one than <see cref="Verifier.Verify"/>.
/// </summary>
public sealed class VerifiedProgram
{
    /// <summary>How many times <see cref="Run{THelpers}"/> interprets a program before it takes the time to compile it.</summary>
    public const int RunsBeforeCompiled = 32;

    private CompiledEntry? compiled;
    private int runs;

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

    /// <summary>Stack of a run in bytes: one frame for each function that may be active at once.</summary>
    internal int StackBytes => Flow.CallDepth * ProgramContract.StackBytes;

    /// <summary>What has been compiled, newest first.</summary>
    internal CompiledEntry? Compiled
    {
        get => Volatile.Read(ref compiled);
        set => Volatile.Write(ref compiled, value);
    }

    /// <summary>
    /// Runs the program once: interpreted the first <see cref="RunsBeforeCompiled"/> times, then compiled where that is possible. For a
    /// host that does not know how often it will run a program.
    /// </summary>
    /// <inheritdoc cref="Interpreter.Run{THelpers}(VerifiedProgram, in ProgramInput, ref THelpers, int)"/>
    public ExecutionResult Run<THelpers>(in ProgramInput input, ref THelpers helpers, int fuel = int.MaxValue)
        where THelpers : struct, IHelperCalls, allows ref struct
    {
        // Threads that count at the same time may lose a run; that puts compiling off and nothing else.
        if (runs < RunsBeforeCompiled)
        {
            runs++;
            return Interpreter.Run(this, input, ref helpers, fuel);
        }

        return DownloadedCode.Compiler.Run(this, input, ref helpers, fuel);
    }

    /// <summary>Runs a program whose contract has no helpers.</summary>
    /// <inheritdoc cref="Run{THelpers}(in ProgramInput, ref THelpers, int)"/>
    public ExecutionResult Run(in ProgramInput input, int fuel = int.MaxValue)
    {
        NoHelpers helpers = default;
        return Run(input, ref helpers, fuel);
    }
}
