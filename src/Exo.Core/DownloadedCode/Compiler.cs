// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;

namespace Exo.Core.DownloadedCode;

/// <summary>
/// Runs verified programs as native code: registers become locals of a <see cref="System.Reflection.Emit.DynamicMethod"/>, which the
/// runtime's own compiler translates. The answer, the effects and the count of instructions are those of the
/// <see cref="Interpreter"/>, which also takes over where code cannot be made at run time (native AOT), for programs of more than
/// <see cref="SlotsMax"/> slots, and under a budget below the program's proved bound.
/// <para>
/// Accesses are not checked again: the proof of the <see cref="Verifier"/> stands for them. Loops do watch the proved bound; a program
/// that passed it would end with <see cref="ExecutionStatus.OutOfFuel"/>.
/// </para>
/// </summary>
public static unsafe class Compiler
{
    /// <summary>The longest program that is compiled, in slots; beyond, the time to translate it is not worth it.</summary>
    public const int SlotsMax = 16_384;

    /// <summary>True when this process can make code at run time.</summary>
    public static bool IsSupported => RuntimeFeature.IsDynamicCodeSupported && RuntimeFeature.IsDynamicCodeCompiled;

    /// <summary>Runs <paramref name="program"/> once, compiled if possible; the first run for each type of helpers compiles.</summary>
    /// <inheritdoc cref="Interpreter.Run{THelpers}(VerifiedProgram, in ProgramInput, ref THelpers, int)"/>
    public static ExecutionResult Run<THelpers>(VerifiedProgram program, in ProgramInput input, ref THelpers helpers, int fuel = int.MaxValue)
        where THelpers : struct, IHelperCalls, allows ref struct
    {
        ArgumentNullException.ThrowIfNull(program);
        CompiledCode<THelpers>? code = fuel < program.InstructionsMax ? null : CodeOf<THelpers>(program);
        return code is null ? Interpreter.Run(program, input, ref helpers, fuel) : Execute(code, program, input, ref helpers);
    }

    /// <summary>Runs a program whose contract has no helpers.</summary>
    /// <inheritdoc cref="Run{THelpers}(VerifiedProgram, in ProgramInput, ref THelpers, int)"/>
    public static ExecutionResult Run(VerifiedProgram program, in ProgramInput input, int fuel = int.MaxValue)
    {
        NoHelpers helpers = default;
        return Run(program, input, ref helpers, fuel);
    }

    /// <summary>The code itself, compiled at the first call; null where it is to be interpreted. The caller keeps the contract, the stack and the counts.</summary>
    internal static CompiledCode<THelpers>? CodeOf<THelpers>(VerifiedProgram program)
        where THelpers : struct, IHelperCalls, allows ref struct
    {
        for (CompiledEntry? entry = program.Compiled; entry is not null; entry = entry.Next)
        {
            if (entry is CompiledEntry<THelpers> found)
            {
                return found.Code;
            }
        }

        CompiledCode<THelpers>? code = null;
        if (RuntimeFeature.IsDynamicCodeSupported && IsSupported && program.Program.Slots.Length <= SlotsMax)
        {
            code = CodeEmitter.Compile<THelpers>(program);
        }

        // Two threads may both compile; either code will do.
        program.Compiled = new CompiledEntry<THelpers>(program.Compiled, code);
        return code;
    }

    // The stack frame is left as it is found: the verifier has proved that nothing is read from it before it is written.
    [SkipLocalsInit]
    private static ExecutionResult Execute<THelpers>(CompiledCode<THelpers> code, VerifiedProgram program, in ProgramInput input, ref THelpers helpers)
        where THelpers : struct, IHelperCalls, allows ref struct
    {
        int stackBytes = program.StackBytes;
        byte* stack = stackalloc byte[stackBytes];
        ulong* r = stackalloc ulong[Interpreter.RegisterCount];
        long* run = stackalloc long[2];
        run[0] = run[1] = 0;

        // The pins last as long as the program runs. An empty region has no address of its own, yet its pointer must not be null.
        fixed (byte* memory = input.Memory)
        fixed (byte* context = input.Context)
        {
            Interpreter.SetArguments(
                program.Contract, input, new Span<ulong>(r, Interpreter.RegisterCount), (ulong)(memory == null ? stack : memory),
                (ulong)(context == null ? stack : context));
            ulong answer = code(r[1], r[2], r[3], r[4], r[5], (ulong)(stack + stackBytes), run, ref helpers);
            return run[1] == 0
                ? new ExecutionResult(ExecutionStatus.Completed, answer, (int)run[0], -1)
                : new ExecutionResult(ExecutionStatus.OutOfFuel, 0, program.InstructionsMax, -1);
        }
    }
}
