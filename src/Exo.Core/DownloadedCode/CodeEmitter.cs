// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Reflection.Emit;

namespace Exo.Core.DownloadedCode;

/// <summary>
/// Translates a verified program into IL, one method per function. Locals 0 to 9 are r0 to r9; a block begins by adding its length to
/// the count of instructions. Written against <see cref="Interpreter"/>, case by case.
/// </summary>
[RequiresDynamicCode("Makes code at run time.")]
internal sealed unsafe class CodeEmitter
{
    private const short FrameArgument = 5;
    private const short RunArgument = 6;
    private const short HelpersArgument = 7;

    private delegate ulong AtomicUpdate(byte* at, ulong value);

    private delegate ulong AtomicCompare(byte* at, ulong value, ulong expected);

    private static readonly MethodInfo HelperCall = typeof(IHelperCalls).GetMethod(nameof(IHelperCalls.Call))!;

    private readonly VerifiedProgram program;
    private readonly Type helpers;
    private readonly DynamicMethod[] methods;
    private readonly ILGenerator il;
    private readonly Label[] labels;
    private readonly LocalBuilder executed;

    private CodeEmitter(VerifiedProgram program, Type helpers, DynamicMethod[] methods, int function)
    {
        this.program = program;
        this.helpers = helpers;
        this.methods = methods;
        il = methods[function].GetILGenerator();
        for (int register = 0; register < 10; register++)
        {
            il.DeclareLocal(typeof(ulong));
        }

        executed = il.DeclareLocal(typeof(int));
        labels = new Label[program.Flow.Blocks.Length];
    }

    /// <summary>Compiles a program for one type of helpers.</summary>
    public static CompiledCode<THelpers> Compile<THelpers>(VerifiedProgram program)
        where THelpers : struct, IHelperCalls, allows ref struct
    {
        Type[] parameters =
        [
            typeof(ulong), typeof(ulong), typeof(ulong), typeof(ulong), typeof(ulong), typeof(ulong), typeof(long*), typeof(THelpers).MakeByRefType(),
        ];
        DynamicMethod[] methods = new DynamicMethod[program.Flow.Functions.Length];
        for (int i = 0; i < methods.Length; i++)
        {
            methods[i] = new DynamicMethod($"{program.Contract.Name}#{i}", typeof(ulong), parameters, typeof(CodeEmitter).Module, skipVisibility: true);
        }

        for (int i = 0; i < methods.Length; i++)
        {
            new CodeEmitter(program, typeof(THelpers), methods, i).EmitFunction(program.Flow.Functions[i]);
        }

        return methods[0].CreateDelegate<CompiledCode<THelpers>>();
    }

    private void EmitFunction(ProgramFunction function)
    {
        Label overrun = il.DefineLabel();
        bool[] isLoopHead = new bool[function.EndBlock - function.FirstBlock];
        for (int number = function.FirstBlock; number < function.EndBlock; number++)
        {
            labels[number] = il.DefineLabel();
            int taken = program.Flow.Blocks[number].Taken;
            if (taken >= 0 && taken <= number)
            {
                isLoopHead[taken - function.FirstBlock] = true;
            }
        }

        for (int register = 1; register <= 5; register++)
        {
            il.Emit(OpCodes.Ldarg, (short)(register - 1));
            il.Emit(OpCodes.Stloc, (short)register);
        }

        for (int number = function.FirstBlock; number < function.EndBlock; number++)
        {
            EmitBlock(number, isLoopHead[number - function.FirstBlock], overrun);
        }

        // A loop ran past the proved bound: leave, and tell the callers to leave.
        il.MarkLabel(overrun);
        il.Emit(OpCodes.Ldarg, RunArgument);
        il.Emit(OpCodes.Ldc_I4_8);
        il.Emit(OpCodes.Add);
        il.Emit(OpCodes.Ldc_I8, 1L);
        il.Emit(OpCodes.Stind_I8);
        il.Emit(OpCodes.Ldc_I8, 0L);
        il.Emit(OpCodes.Ret);
    }

    private void EmitBlock(int number, bool isLoopHead, Label overrun)
    {
        BasicBlock block = program.Flow.Blocks[number];
        il.MarkLabel(labels[number]);
        int length = 0;
        for (int slot = block.First; slot < block.End; slot += IsWide(slot) ? 2 : 1)
        {
            length++;
        }

        il.Emit(OpCodes.Ldloc, executed);
        il.Emit(OpCodes.Ldc_I4, length);
        il.Emit(OpCodes.Add);
        il.Emit(OpCodes.Stloc, executed);
        if (isLoopHead)
        {
            il.Emit(OpCodes.Ldloc, executed);
            il.Emit(OpCodes.Ldc_I4, program.InstructionsMax);
            il.Emit(OpCodes.Bgt, overrun);
        }

        for (int slot = block.First; slot < block.End; slot += IsWide(slot) ? 2 : 1)
        {
            ref readonly DecodedInstruction instruction = ref program.Code[slot];
            switch (instruction.Operation)
            {
                case <= Operation.SignedModulo32X:
                    EmitArithmetic(instruction);
                    break;
                case <= Operation.Swap64:
                    EmitConversion(instruction);
                    break;
                case Operation.LoadImmediate64:
                    il.Emit(OpCodes.Ldc_I8, (long)instruction.Immediate);
                    il.Emit(OpCodes.Stloc, (short)instruction.Destination);
                    break;
                case <= Operation.LoadSigned32:
                    EmitLoad(instruction);
                    break;
                case <= Operation.Store64K:
                    EmitStore(instruction);
                    break;
                case <= Operation.AtomicCompareExchange64:
                    EmitAtomic(instruction);
                    break;
                case Operation.Jump:
                    il.Emit(OpCodes.Br, labels[block.Taken]);
                    break;
                case Operation.Call:
                    EmitHelperCall(instruction);
                    break;
                case Operation.CallLocal:
                    EmitLocalCall(instruction, overrun);
                    break;
                case Operation.Exit:
                    EmitExit();
                    break;
                default:
                    EmitBranch(instruction, labels[block.Taken]);
                    break;
            }
        }
    }

    private bool IsWide(int slot) => program.Code[slot].Operation == Operation.LoadImmediate64;

    private void Register(int register) => il.Emit(register == 10 ? OpCodes.Ldarg : OpCodes.Ldloc, (short)(register == 10 ? FrameArgument : register));

    private void Register32(int register)
    {
        Register(register);
        il.Emit(OpCodes.Conv_U4);
    }

    private void Operand(in DecodedInstruction instruction, bool is32, bool isRegister)
    {
        if (isRegister)
        {
            Register(instruction.Source);
            if (is32)
            {
                il.Emit(OpCodes.Conv_U4);
            }
        }
        else if (is32)
        {
            il.Emit(OpCodes.Ldc_I4, (int)(uint)instruction.Immediate);
        }
        else
        {
            il.Emit(OpCodes.Ldc_I8, (long)instruction.Immediate);
        }
    }

    private void EmitArithmetic(in DecodedInstruction instruction)
    {
        int position = instruction.Operation - Operation.Add64K;
        Operation block = (Operation)((int)Operation.Add64K + (position & ~3));
        bool is32 = (position & 2) != 0;
        bool isRegister = (position & 1) != 0;
        if (block != Operation.Move64K)
        {
            Register(instruction.Destination);
            if (is32)
            {
                il.Emit(OpCodes.Conv_U4);
            }
        }

        if (block == Operation.Negate64K)
        {
            il.Emit(OpCodes.Neg);
        }
        else if (block is Operation.ShiftLeft64K or Operation.ShiftRight64K or Operation.ShiftRightArithmetic64K)
        {
            EmitShift(instruction, block, is32, isRegister);
        }
        else
        {
            Operand(instruction, is32, isRegister);
            EmitOperation(block, is32, divisorIsSafe: !isRegister && (is32 ? (uint)instruction.Immediate : instruction.Immediate) != 0);
        }

        if (is32)
        {
            il.Emit(OpCodes.Conv_U8);
        }

        il.Emit(OpCodes.Stloc, (short)instruction.Destination);
    }

    private void EmitShift(in DecodedInstruction instruction, Operation block, bool is32, bool isRegister)
    {
        int mask = is32 ? 31 : 63;
        if (isRegister)
        {
            Register(instruction.Source);
            il.Emit(OpCodes.Conv_I4);
            il.Emit(OpCodes.Ldc_I4, mask);
            il.Emit(OpCodes.And);
        }
        else
        {
            il.Emit(OpCodes.Ldc_I4, (int)instruction.Immediate & mask);
        }

        il.Emit(block switch
        {
            Operation.ShiftLeft64K => OpCodes.Shl,
            Operation.ShiftRight64K => OpCodes.Shr_Un,
            _ => OpCodes.Shr,
        });
    }

    private void EmitOperation(Operation block, bool is32, bool divisorIsSafe)
    {
        switch (block)
        {
            case Operation.Move64K:
                break;
            case Operation.Add64K:
                il.Emit(OpCodes.Add);
                break;
            case Operation.Subtract64K:
                il.Emit(OpCodes.Sub);
                break;
            case Operation.Multiply64K:
                il.Emit(OpCodes.Mul);
                break;
            case Operation.Or64K:
                il.Emit(OpCodes.Or);
                break;
            case Operation.And64K:
                il.Emit(OpCodes.And);
                break;
            case Operation.Xor64K:
                il.Emit(OpCodes.Xor);
                break;
            case Operation.Divide64K when divisorIsSafe:
                il.Emit(OpCodes.Div_Un);
                break;
            case Operation.Modulo64K when divisorIsSafe:
                il.Emit(OpCodes.Rem_Un);
                break;
            default:
                il.Emit(OpCodes.Call, Division(block, is32));
                break;
        }
    }

    private static MethodInfo Division(Operation block, bool is32) => (block, is32) switch
    {
        (Operation.Divide64K, false) => ((Func<ulong, ulong, ulong>)Arithmetic.Divide).Method,
        (Operation.Divide64K, true) => ((Func<uint, uint, uint>)Arithmetic.Divide).Method,
        (Operation.Modulo64K, false) => ((Func<ulong, ulong, ulong>)Arithmetic.Modulo).Method,
        (Operation.Modulo64K, true) => ((Func<uint, uint, uint>)Arithmetic.Modulo).Method,
        (Operation.SignedDivide64K, false) => ((Func<long, long, long>)Arithmetic.Divide).Method,
        (Operation.SignedDivide64K, true) => ((Func<int, int, int>)Arithmetic.Divide).Method,
        (Operation.SignedModulo64K, false) => ((Func<long, long, long>)Arithmetic.Modulo).Method,
        (Operation.SignedModulo64K, true) => ((Func<int, int, int>)Arithmetic.Modulo).Method,
        _ => throw new InvariantException($"No division {block}."),
    };

    private void EmitConversion(in DecodedInstruction instruction)
    {
        Register(instruction.Operation <= Operation.MoveSigned16To32 ? instruction.Source : instruction.Destination);
        switch (instruction.Operation)
        {
            case Operation.MoveSigned8To64:
                Convert(OpCodes.Conv_I1, OpCodes.Conv_I8);
                break;
            case Operation.MoveSigned16To64:
                Convert(OpCodes.Conv_I2, OpCodes.Conv_I8);
                break;
            case Operation.MoveSigned32To64:
                Convert(OpCodes.Conv_I4, OpCodes.Conv_I8);
                break;
            case Operation.MoveSigned8To32:
                Convert(OpCodes.Conv_I1, OpCodes.Conv_U8);
                break;
            case Operation.MoveSigned16To32:
                Convert(OpCodes.Conv_I2, OpCodes.Conv_U8);
                break;
            case Operation.Truncate16:
                Convert(OpCodes.Conv_U2, OpCodes.Conv_U8);
                break;
            case Operation.Truncate32:
                Convert(OpCodes.Conv_U4, OpCodes.Conv_U8);
                break;
            case Operation.Swap16:
                il.Emit(OpCodes.Conv_U2);
                il.Emit(OpCodes.Call, ((Func<ushort, ushort>)BinaryPrimitives.ReverseEndianness).Method);
                il.Emit(OpCodes.Conv_U8);
                break;
            case Operation.Swap32:
                il.Emit(OpCodes.Conv_U4);
                il.Emit(OpCodes.Call, ((Func<uint, uint>)BinaryPrimitives.ReverseEndianness).Method);
                il.Emit(OpCodes.Conv_U8);
                break;
            case Operation.Swap64:
                il.Emit(OpCodes.Call, ((Func<ulong, ulong>)BinaryPrimitives.ReverseEndianness).Method);
                break;
        }

        il.Emit(OpCodes.Stloc, (short)instruction.Destination);
    }

    private void Convert(OpCode narrow, OpCode widen)
    {
        il.Emit(narrow);
        il.Emit(widen);
    }

    /// <summary>Puts the address on the stack: register plus offset.</summary>
    private void Address(int register, int offset)
    {
        Register(register);
        if (offset != 0)
        {
            il.Emit(OpCodes.Ldc_I8, (long)offset);
            il.Emit(OpCodes.Add);
        }

        il.Emit(OpCodes.Conv_U);
    }

    private void EmitLoad(in DecodedInstruction instruction)
    {
        Address(instruction.Source, instruction.Offset);
        if (instruction.Operation is not (Operation.Load8 or Operation.LoadSigned8))
        {
            il.Emit(OpCodes.Unaligned, (byte)1);
        }

        (OpCode load, OpCode widen) = instruction.Operation switch
        {
            Operation.Load8 => (OpCodes.Ldind_U1, OpCodes.Conv_U8),
            Operation.Load16 => (OpCodes.Ldind_U2, OpCodes.Conv_U8),
            Operation.Load32 => (OpCodes.Ldind_U4, OpCodes.Conv_U8),
            Operation.Load64 => (OpCodes.Ldind_I8, OpCodes.Nop),
            Operation.LoadSigned8 => (OpCodes.Ldind_I1, OpCodes.Conv_I8),
            Operation.LoadSigned16 => (OpCodes.Ldind_I2, OpCodes.Conv_I8),
            _ => (OpCodes.Ldind_I4, OpCodes.Conv_I8),
        };
        Convert(load, widen);
        il.Emit(OpCodes.Stloc, (short)instruction.Destination);
    }

    private void EmitStore(in DecodedInstruction instruction)
    {
        bool isRegister = instruction.Operation <= Operation.Store64X;
        int width = instruction.Operation - (isRegister ? Operation.Store8X : Operation.Store8K);
        Address(instruction.Destination, instruction.Offset);
        Operand(instruction, is32: false, isRegister);
        if (width > 0)
        {
            il.Emit(OpCodes.Unaligned, (byte)1);
        }

        il.Emit(width switch { 0 => OpCodes.Stind_I1, 1 => OpCodes.Stind_I2, 2 => OpCodes.Stind_I4, _ => OpCodes.Stind_I8 });
    }

    private void EmitAtomic(in DecodedInstruction instruction)
    {
        Address(instruction.Destination, instruction.Offset);
        Register(instruction.Source);
        if (instruction.Operation >= Operation.AtomicCompareExchange32)
        {
            Register(0);
            il.Emit(OpCodes.Call, (instruction.Operation == Operation.AtomicCompareExchange32
                ? (AtomicCompare)AtomicAccess.CompareExchange32
                : AtomicAccess.CompareExchange64).Method);
            il.Emit(OpCodes.Stloc_0);
            return;
        }

        AtomicUpdate update = instruction.Operation switch
        {
            Operation.AtomicAdd32 or Operation.AtomicFetchAdd32 => AtomicAccess.Add32,
            Operation.AtomicAdd64 or Operation.AtomicFetchAdd64 => AtomicAccess.Add64,
            Operation.AtomicOr32 or Operation.AtomicFetchOr32 => AtomicAccess.Or32,
            Operation.AtomicOr64 or Operation.AtomicFetchOr64 => AtomicAccess.Or64,
            Operation.AtomicAnd32 or Operation.AtomicFetchAnd32 => AtomicAccess.And32,
            Operation.AtomicAnd64 or Operation.AtomicFetchAnd64 => AtomicAccess.And64,
            Operation.AtomicXor32 or Operation.AtomicFetchXor32 => AtomicAccess.Xor32,
            Operation.AtomicXor64 or Operation.AtomicFetchXor64 => AtomicAccess.Xor64,
            Operation.AtomicExchange32 => AtomicAccess.Exchange32,
            _ => AtomicAccess.Exchange64,
        };
        il.Emit(OpCodes.Call, update.Method);
        if (instruction.Operation >= Operation.AtomicFetchAdd32)
        {
            il.Emit(OpCodes.Stloc, (short)instruction.Source);
        }
        else
        {
            il.Emit(OpCodes.Pop);
        }
    }

    private void EmitHelperCall(in DecodedInstruction instruction)
    {
        il.Emit(OpCodes.Ldarg, HelpersArgument);
        il.Emit(OpCodes.Ldc_I4, (int)instruction.Immediate);
        for (int argument = 1; argument <= 5; argument++)
        {
            if (argument <= instruction.ArgumentCount)
            {
                Register(argument);
            }
            else
            {
                il.Emit(OpCodes.Ldc_I8, 0L);
            }
        }

        il.Emit(OpCodes.Constrained, helpers);
        il.Emit(OpCodes.Callvirt, HelperCall);
        il.Emit(OpCodes.Stloc_0);
    }

    private void EmitLocalCall(in DecodedInstruction instruction, Label overrun)
    {
        for (int argument = 1; argument <= 5; argument++)
        {
            Register(argument);
        }

        Register(10);
        il.Emit(OpCodes.Ldc_I8, (long)-ProgramContract.StackBytes);
        il.Emit(OpCodes.Add);
        il.Emit(OpCodes.Ldarg, RunArgument);
        il.Emit(OpCodes.Ldarg, HelpersArgument);
        il.Emit(OpCodes.Call, methods[program.Flow.FunctionNumberAt(instruction.Offset)]);
        il.Emit(OpCodes.Stloc_0);
        il.Emit(OpCodes.Ldarg, RunArgument);
        il.Emit(OpCodes.Ldc_I4_8);
        il.Emit(OpCodes.Add);
        il.Emit(OpCodes.Ldind_I8);
        il.Emit(OpCodes.Brtrue, overrun);
    }

    private void EmitExit()
    {
        il.Emit(OpCodes.Ldarg, RunArgument);
        il.Emit(OpCodes.Dup);
        il.Emit(OpCodes.Ldind_I8);
        il.Emit(OpCodes.Ldloc, executed);
        il.Emit(OpCodes.Conv_I8);
        il.Emit(OpCodes.Add);
        il.Emit(OpCodes.Stind_I8);
        Register(0);
        il.Emit(OpCodes.Ret);
    }

    private void EmitBranch(in DecodedInstruction instruction, Label taken)
    {
        int position = instruction.Operation - Operation.IfEqual64K;
        Operation block = (Operation)((int)Operation.IfEqual64K + (position & ~3));
        bool is32 = (position & 2) != 0;
        if (is32)
        {
            Register32(instruction.Destination);
        }
        else
        {
            Register(instruction.Destination);
        }

        Operand(instruction, is32, (position & 1) != 0);
        if (block == Operation.IfSet64K)
        {
            il.Emit(OpCodes.And);
        }

        il.Emit(
            block switch
            {
                Operation.IfEqual64K => OpCodes.Beq,
                Operation.IfNotEqual64K => OpCodes.Bne_Un,
                Operation.IfGreater64K => OpCodes.Bgt_Un,
                Operation.IfGreaterOrEqual64K => OpCodes.Bge_Un,
                Operation.IfLess64K => OpCodes.Blt_Un,
                Operation.IfLessOrEqual64K => OpCodes.Ble_Un,
                Operation.IfSignedGreater64K => OpCodes.Bgt,
                Operation.IfSignedGreaterOrEqual64K => OpCodes.Bge,
                Operation.IfSignedLess64K => OpCodes.Blt,
                Operation.IfSignedLessOrEqual64K => OpCodes.Ble,
                _ => OpCodes.Brtrue,
            },
            taken);
    }
}
