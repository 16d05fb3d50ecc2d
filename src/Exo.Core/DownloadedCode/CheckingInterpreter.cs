// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Exo.Core.DownloadedCode;

/// <summary>
/// Runs programs that nobody has verified: slow, plain, straight from the encoded instructions, and suspicious of everything. Besides
/// bounds and fuel it tracks which registers and stack bytes have been written, and it can place the regions at addresses that depend
/// on a seed, so that a program whose answer depends on an address shows it. This is the definition that the verifier and the fast
/// interpreter are fuzzed against; it shares no code with either but <see cref="Arithmetic"/>.
/// </summary>
public static class CheckingInterpreter
{
    /// <summary>Runs <paramref name="program"/> once on input that fits <paramref name="contract"/>.</summary>
    /// <param name="program">Any program at all.</param>
    /// <param name="contract">Regions, arguments and helpers.</param>
    /// <param name="input">As for <see cref="Interpreter"/>.</param>
    /// <param name="helpers">Receives the calls.</param>
    /// <param name="fuel">How many instructions may be executed.</param>
    /// <param name="addressSeed">Moves the regions about and fills what is uninitialised, where not 0; a sound program does not
    /// notice.</param>
    /// <exception cref="ArgumentException"><paramref name="input"/> breaks the contract.</exception>
    public static ExecutionResult Run<THelpers>(
        Program program, ProgramContract contract, in ProgramInput input, ref THelpers helpers, int fuel, ulong addressSeed = 0)
        where THelpers : struct, IHelperCalls
    {
        ArgumentNullException.ThrowIfNull(program);
        ArgumentNullException.ThrowIfNull(contract);
        ArgumentOutOfRangeException.ThrowIfNegative(fuel);
        Machine machine = new(program, contract, input, addressSeed);
        int executed = 0;
        while (executed < fuel)
        {
            executed++;
            int at = machine.Slot;
            ExecutionStatus? ended = machine.Step(ref helpers);
            if (ended is { } status)
            {
                return new ExecutionResult(
                    status, status == ExecutionStatus.Completed ? machine.R0 : 0, executed, status == ExecutionStatus.Completed ? -1 : at);
            }
        }

        return new ExecutionResult(ExecutionStatus.OutOfFuel, 0, fuel, machine.Slot);
    }

    /// <summary>What a local call keeps: where to go on, and r6 to r9 with whether they were written.</summary>
    private readonly record struct Frame(int Slot, ulong[] Registers, bool[] IsWritten);

    private ref struct Machine
    {
        private readonly ReadOnlySpan<Instruction> slots;
        private readonly ProgramContract contract;
        private readonly ReadOnlySpan<byte> memory;
        private readonly ReadOnlySpan<byte> context;
        private readonly byte[] stack;
        private readonly bool[] isStackWritten;
        private readonly Stack<Frame> callers = new();
        private readonly ulong[] registers = new ulong[16];
        private readonly bool[] isRegisterWritten = new bool[16];
        private readonly ulong seed;

        public Machine(Program program, ProgramContract contract, in ProgramInput input, ulong seed)
        {
            slots = program.Slots;
            this.contract = contract;
            this.seed = seed;
            memory = input.Memory;
            context = input.Context;
            stack = new byte[program.StackBytes];
            isStackWritten = new bool[stack.Length];
            Interpreter.SetArguments(contract, input, registers, Base(Interpreter.MemoryRegion), Base(Interpreter.ContextRegion));
            isRegisterWritten[10] = true;
            isRegisterWritten.AsSpan(1, contract.Arguments.Length).Fill(true);
            registers[10] = Base(Interpreter.StackRegion) + (ulong)stack.Length;
            for (int i = 0; i < 10; i++)
            {
                registers[i] = isRegisterWritten[i] ? registers[i] : seed * 0x9e37_79b9_7f4a_7c15;
            }

            Array.Fill(stack, (byte)seed);
        }

        public int Slot { get; private set; }

        public readonly ulong R0 => registers[0];

        /// <summary>
        /// Where a region starts. Seed 0 gives the fast interpreter's addresses; others put the regions 2^40 apart, somewhere, so that no
        /// offset of 32 bits leads from one into another.
        /// </summary>
        private readonly ulong Base(int region) =>
            seed == 0 ? (ulong)region << Interpreter.RegionShift : ((ulong)region << 40) + (seed << 44) + (seed & 0xffff_fff8);

        public ExecutionStatus? Step<THelpers>(ref THelpers helpers)
            where THelpers : struct, IHelperCalls
        {
            if ((uint)Slot >= (uint)slots.Length)
            {
                return ExecutionStatus.BadInstruction;
            }

            Instruction instruction = slots[Slot++];
            if (instruction.Destination > 10 || instruction.Source > 10)
            {
                return ExecutionStatus.BadInstruction;
            }

            return instruction.Class switch
            {
                Opcodes.ClassAlu64 or Opcodes.ClassAlu32 => Calculate(instruction),
                Opcodes.ClassJump or Opcodes.ClassJump32 => Jump(instruction, ref helpers),
                Opcodes.ClassLoadRegister => Load(instruction),
                Opcodes.ClassStore or Opcodes.ClassStoreRegister => Store(instruction),
                _ => LoadImmediate64(instruction),
            };
        }

        private readonly ExecutionStatus? Write(int register, ulong value)
        {
            if (register == 10)
            {
                return ExecutionStatus.BadInstruction;
            }

            registers[register] = value;
            isRegisterWritten[register] = true;
            return null;
        }

        private ExecutionStatus? LoadImmediate64(in Instruction instruction)
        {
            if (instruction.Opcode != Opcodes.LoadImmediate64 || instruction.Source != 0 || Slot >= slots.Length)
            {
                return ExecutionStatus.BadInstruction;
            }

            return Write(instruction.Destination, (uint)instruction.Immediate | ((ulong)(uint)slots[Slot++].Immediate << 32));
        }

        private readonly ExecutionStatus? Calculate(in Instruction instruction)
        {
            bool is32 = instruction.Class == Opcodes.ClassAlu32;
            bool isRegister = (instruction.Opcode & Opcodes.SourceRegister) != 0;
            int operation = instruction.Opcode & Opcodes.OperationMask;
            bool isOrder = operation == Opcodes.ByteOrder;
            bool readsSource = isRegister && !isOrder;
            if ((operation != Opcodes.Move && !isRegisterWritten[instruction.Destination]) || (readsSource && !isRegisterWritten[instruction.Source]))
            {
                return ExecutionStatus.UninitialisedRead;
            }

            ulong a = registers[instruction.Destination];
            ulong b = readsSource ? registers[instruction.Source] : (ulong)(long)instruction.Immediate;
            bool isSigned = instruction.Offset == 1;
            ulong? result;
            if (isOrder)
            {
                bool isSwap = !is32 || isRegister;
                result = instruction.Immediate switch
                {
                    16 => isSwap ? BinaryPrimitives.ReverseEndianness((ushort)a) : (ushort)a,
                    32 => isSwap ? BinaryPrimitives.ReverseEndianness((uint)a) : (uint)a,
                    64 => isSwap ? BinaryPrimitives.ReverseEndianness(a) : a,
                    _ => null,
                };
            }
            else
            {
                result = is32
                    ? Calculate32(operation, (uint)a, (uint)b, isSigned, instruction.Offset)
                    : Calculate64(operation, a, b, isSigned, instruction.Offset);
            }

            return result is { } value ? Write(instruction.Destination, value) : ExecutionStatus.BadInstruction;
        }

        private static ulong? Calculate64(int operation, ulong a, ulong b, bool isSigned, int offset) => operation switch
        {
            Opcodes.Add => a + b,
            Opcodes.Subtract => a - b,
            Opcodes.Multiply => a * b,
            Opcodes.Divide => isSigned ? (ulong)Arithmetic.Divide((long)a, (long)b) : Arithmetic.Divide(a, b),
            Opcodes.Modulo => isSigned ? (ulong)Arithmetic.Modulo((long)a, (long)b) : Arithmetic.Modulo(a, b),
            Opcodes.Or => a | b,
            Opcodes.And => a & b,
            Opcodes.Xor => a ^ b,
            Opcodes.ShiftLeft => a << (int)(b & 63),
            Opcodes.ShiftRight => a >> (int)(b & 63),
            Opcodes.ShiftRightArithmetic => (ulong)((long)a >> (int)(b & 63)),
            Opcodes.Negate => 0 - a,
            Opcodes.Move => offset switch { 0 => b, 8 => (ulong)(sbyte)b, 16 => (ulong)(short)b, 32 => (ulong)(int)b, _ => null },
            _ => null,
        };

        private static uint? Calculate32(int operation, uint a, uint b, bool isSigned, int offset) => operation switch
        {
            Opcodes.Add => a + b,
            Opcodes.Subtract => a - b,
            Opcodes.Multiply => a * b,
            Opcodes.Divide => isSigned ? (uint)Arithmetic.Divide((int)a, (int)b) : Arithmetic.Divide(a, b),
            Opcodes.Modulo => isSigned ? (uint)Arithmetic.Modulo((int)a, (int)b) : Arithmetic.Modulo(a, b),
            Opcodes.Or => a | b,
            Opcodes.And => a & b,
            Opcodes.Xor => a ^ b,
            Opcodes.ShiftLeft => a << (int)(b & 31),
            Opcodes.ShiftRight => a >> (int)(b & 31),
            Opcodes.ShiftRightArithmetic => (uint)((int)a >> (int)(b & 31)),
            Opcodes.Negate => 0 - a,
            Opcodes.Move => offset switch { 0 => b, 8 => (uint)(sbyte)b, 16 => (uint)(short)b, _ => null },
            _ => null,
        };

        private ExecutionStatus? Jump<THelpers>(in Instruction instruction, ref THelpers helpers)
            where THelpers : struct, IHelperCalls
        {
            bool is32 = instruction.Class == Opcodes.ClassJump32;
            bool isRegister = (instruction.Opcode & Opcodes.SourceRegister) != 0;
            int operation = instruction.Opcode & Opcodes.OperationMask;
            if (operation == Opcodes.JumpAlways)
            {
                Slot += is32 ? instruction.Immediate : instruction.Offset;
                return null;
            }

            if (operation is Opcodes.Call or Opcodes.Exit)
            {
                return is32 || isRegister ? ExecutionStatus.BadInstruction
                    : operation == Opcodes.Call ? Call(instruction, ref helpers)
                    : Exit();
            }

            if (!isRegisterWritten[instruction.Destination] || (isRegister && !isRegisterWritten[instruction.Source]))
            {
                return ExecutionStatus.UninitialisedRead;
            }

            ulong a = registers[instruction.Destination];
            ulong b = isRegister ? registers[instruction.Source] : (ulong)(long)instruction.Immediate;
            long signedA = is32 ? (int)a : (long)a;
            long signedB = is32 ? (int)b : (long)b;
            a = is32 ? (uint)a : a;
            b = is32 ? (uint)b : b;
            bool? isTaken = operation switch
            {
                Opcodes.JumpEqual => a == b,
                Opcodes.JumpNotEqual => a != b,
                Opcodes.JumpGreater => a > b,
                Opcodes.JumpGreaterOrEqual => a >= b,
                Opcodes.JumpLess => a < b,
                Opcodes.JumpLessOrEqual => a <= b,
                Opcodes.JumpSignedGreater => signedA > signedB,
                Opcodes.JumpSignedGreaterOrEqual => signedA >= signedB,
                Opcodes.JumpSignedLess => signedA < signedB,
                Opcodes.JumpSignedLessOrEqual => signedA <= signedB,
                Opcodes.JumpSet => (a & b) != 0,
                _ => null,
            };
            Slot += isTaken == true ? instruction.Offset : 0;
            return isTaken is null ? ExecutionStatus.BadInstruction : null;
        }

        private ExecutionStatus? Exit()
        {
            if (callers.Count == 0)
            {
                return isRegisterWritten[0] ? ExecutionStatus.Completed : ExecutionStatus.UninitialisedRead;
            }

            Frame caller = callers.Pop();
            Slot = caller.Slot;
            caller.Registers.CopyTo(registers, 6);
            caller.IsWritten.CopyTo(isRegisterWritten, 6);
            isRegisterWritten.AsSpan(1, 5).Clear();
            registers[10] += ProgramContract.StackBytes;
            return null;
        }

        private ExecutionStatus? CallLocal(in Instruction instruction)
        {
            if (callers.Count == ProgramContract.CallDepthMax - 1)
            {
                return ExecutionStatus.CallDepthExceeded;
            }

            callers.Push(new Frame(Slot, registers[6..10], isRegisterWritten[6..10]));
            isRegisterWritten.AsSpan(6, 4).Clear();
            isRegisterWritten[0] = false;
            registers[10] -= ProgramContract.StackBytes;
            isStackWritten.AsSpan(stack.Length - ((callers.Count + 1) * ProgramContract.StackBytes), ProgramContract.StackBytes).Clear();
            Slot += instruction.Immediate;
            return null;
        }

        private ExecutionStatus? Call<THelpers>(in Instruction instruction, ref THelpers helpers)
            where THelpers : struct, IHelperCalls
        {
            if (instruction.Source == 1)
            {
                return CallLocal(instruction);
            }

            if (instruction.Source != 0 || !contract.TryGetHelper(instruction.Immediate, out HelperContract helper))
            {
                return ExecutionStatus.UnknownHelper;
            }

            Span<ulong> arguments = stackalloc ulong[5];
            arguments.Clear();
            for (int i = 0; i < helper.ArgumentCount; i++)
            {
                if (!isRegisterWritten[i + 1])
                {
                    return ExecutionStatus.UninitialisedRead;
                }

                arguments[i] = registers[i + 1];
            }

            ulong result = helpers.Call(helper.Id, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4]);
            isRegisterWritten.AsSpan(1, 5).Clear();
            return Write(0, result);
        }

        private readonly bool TryLocate(ulong address, int widthBytes, bool isStore, out Span<byte> bytes, out int stackOffset)
        {
            stackOffset = -1;
            bytes = default;
            for (int region = Interpreter.StackRegion; region <= Interpreter.ContextRegion; region++)
            {
                ReadOnlySpan<byte> whole = region switch
                {
                    Interpreter.StackRegion => stack,
                    Interpreter.MemoryRegion => memory,
                    _ => context,
                };
                ulong offset = address - Base(region);
                if (offset >= (ulong)whole.Length || (ulong)widthBytes > (ulong)whole.Length - offset)
                {
                    continue;
                }

                stackOffset = region == Interpreter.StackRegion ? (int)offset : -1;
                if (stackOffset >= 0 && !IsInOneLiveFrame(stackOffset, widthBytes))
                {
                    return false;
                }

                RegionContract? lent = region == Interpreter.MemoryRegion ? contract.Memory : contract.Context;
                if (isStore && stackOffset < 0 && lent is not { IsWritable: true })
                {
                    return false;
                }

                // SetArguments has seen to it that a region the contract calls writable was lent as a writable span.
                bytes = MemoryMarshal.CreateSpan(ref MemoryMarshal.GetReference(whole), whole.Length).Slice((int)offset, widthBytes);
                return true;
            }

            return false;
        }

        /// <summary>Frames lie downwards from the end of the stack; a function may use its own and, given a pointer, its callers'.</summary>
        private readonly bool IsInOneLiveFrame(int offset, int widthBytes)
        {
            int lowest = stack.Length - ((callers.Count + 1) * ProgramContract.StackBytes);
            return offset >= lowest && offset / ProgramContract.StackBytes == (offset + widthBytes - 1) / ProgramContract.StackBytes;
        }

        private readonly ExecutionStatus? Load(in Instruction instruction)
        {
            int mode = instruction.Opcode & Opcodes.ModeMask;
            int widthBytes = Opcodes.WidthBytes(instruction.Opcode);
            if (mode != Opcodes.ModeMemory && (mode != Opcodes.ModeMemorySigned || widthBytes == 8))
            {
                return ExecutionStatus.BadInstruction;
            }

            if (!isRegisterWritten[instruction.Source])
            {
                return ExecutionStatus.UninitialisedRead;
            }

            if (!TryLocate(registers[instruction.Source] + (ulong)instruction.Offset, widthBytes, false, out Span<byte> bytes, out int stackOffset))
            {
                return ExecutionStatus.BadAccess;
            }

            if (stackOffset >= 0 && isStackWritten.AsSpan(stackOffset, widthBytes).Contains(false))
            {
                return ExecutionStatus.UninitialisedRead;
            }

            ulong value = widthBytes switch
            {
                1 => bytes[0],
                2 => BinaryPrimitives.ReadUInt16LittleEndian(bytes),
                4 => BinaryPrimitives.ReadUInt32LittleEndian(bytes),
                _ => BinaryPrimitives.ReadUInt64LittleEndian(bytes),
            };
            int unused = 64 - (widthBytes * 8);
            return Write(instruction.Destination, mode == Opcodes.ModeMemory ? value : (ulong)((long)(value << unused) >> unused));
        }

        private readonly ExecutionStatus? Store(in Instruction instruction)
        {
            bool isRegister = instruction.Class == Opcodes.ClassStoreRegister;
            int widthBytes = Opcodes.WidthBytes(instruction.Opcode);
            bool isAtomic = isRegister && (instruction.Opcode & Opcodes.ModeMask) == Opcodes.ModeAtomic;
            if (!isAtomic && (instruction.Opcode & Opcodes.ModeMask) != Opcodes.ModeMemory)
            {
                return ExecutionStatus.BadInstruction;
            }

            if (!isRegisterWritten[instruction.Destination] || (isRegister && !isRegisterWritten[instruction.Source]))
            {
                return ExecutionStatus.UninitialisedRead;
            }

            ulong address = registers[instruction.Destination] + (ulong)instruction.Offset;
            if (!TryLocate(address, widthBytes, true, out Span<byte> bytes, out int stackOffset))
            {
                return ExecutionStatus.BadAccess;
            }

            if (isAtomic)
            {
                return stackOffset >= 0 && isStackWritten.AsSpan(stackOffset, widthBytes).Contains(false)
                    ? ExecutionStatus.UninitialisedRead
                    : Update(instruction, bytes);
            }

            Span<byte> value = stackalloc byte[8];
            BinaryPrimitives.WriteUInt64LittleEndian(value, isRegister ? registers[instruction.Source] : (ulong)(long)instruction.Immediate);
            value[..widthBytes].CopyTo(bytes);
            if (stackOffset >= 0)
            {
                isStackWritten.AsSpan(stackOffset, widthBytes).Fill(true);
            }

            return null;
        }

        /// <summary>One atomic operation, done plainly: nobody else runs here.</summary>
        private readonly ExecutionStatus? Update(in Instruction instruction, Span<byte> bytes)
        {
            if (bytes.Length < 4)
            {
                return ExecutionStatus.BadInstruction;
            }

            bool is32 = bytes.Length == 4;
            ulong old = is32 ? BinaryPrimitives.ReadUInt32LittleEndian(bytes) : BinaryPrimitives.ReadUInt64LittleEndian(bytes);
            ulong operand = is32 ? (uint)registers[instruction.Source] : registers[instruction.Source];
            bool isCompare = instruction.Immediate == Opcodes.AtomicCompareExchange;
            if (isCompare && !isRegisterWritten[0])
            {
                return ExecutionStatus.UninitialisedRead;
            }

            ulong? updated = (instruction.Immediate & ~Opcodes.AtomicFetch) switch
            {
                Opcodes.Add => old + operand,
                Opcodes.Or => old | operand,
                Opcodes.And => old & operand,
                Opcodes.Xor => old ^ operand,
                _ when instruction.Immediate == Opcodes.AtomicExchange => operand,
                _ when isCompare => old == (is32 ? (uint)registers[0] : registers[0]) ? operand : old,
                _ => null,
            };
            if (updated is not { } value)
            {
                return ExecutionStatus.BadInstruction;
            }

            if (is32)
            {
                BinaryPrimitives.WriteUInt32LittleEndian(bytes, (uint)value);
            }
            else
            {
                BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
            }

            return isCompare ? Write(0, old)
                : (instruction.Immediate & Opcodes.AtomicFetch) != 0 ? Write(instruction.Source, old)
                : null;
        }
    }
}
