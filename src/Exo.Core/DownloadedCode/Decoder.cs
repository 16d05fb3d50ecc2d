// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// Judges the form of each instruction by itself and turns it into what the interpreter wants. After it: every opcode exists,
/// fields RFC 9669 leaves unused are zero, registers exist, r10 is not written, every jump and local call lands on the first slot of
/// an instruction inside the program, and no path walks off the end. Code that no path reaches is held to the same form.
/// <para>
/// Slots keep their numbers: the decoded array has one entry per slot, the second slot of <c>lddw</c> being a trap that no jump
/// reaches, and one more trap at the end.
/// </para>
/// </summary>
internal sealed class Decoder
{
    private readonly Program program;
    private readonly ProgramContract contract;
    private readonly DecodedInstruction[] code;
    private readonly bool[] isSecondSlot;

    private Decoder(Program program, ProgramContract contract)
    {
        this.program = program;
        this.contract = contract;
        code = new DecodedInstruction[program.Slots.Length + 1];
        isSecondSlot = new bool[program.Slots.Length];
    }

    /// <summary>Decodes the whole program, or says which instruction is malformed.</summary>
    public static DecodedInstruction[]? Decode(Program program, ProgramContract contract, out VerifierRejection? rejection)
    {
        Decoder decoder = new(program, contract);
        rejection = decoder.MarkSecondSlots() ?? decoder.DecodeAll();
        return rejection is null ? decoder.code : null;
    }

    private VerifierRejection Refuse(int index, VerifierRule rule, string reason) =>
        new(index, Disassembler.FormatAt(program, index), rule, reason, "");

    private VerifierRejection? MarkSecondSlots()
    {
        ReadOnlySpan<Instruction> slots = program.Slots;
        for (int i = 0; i < slots.Length; i++)
        {
            if (!slots[i].IsWide)
            {
                continue;
            }

            if (i + 1 == slots.Length)
            {
                return Refuse(i, VerifierRule.UnknownInstruction, "lddw takes two slots and the program ends after the first");
            }

            Instruction second = slots[++i];
            isSecondSlot[i] = true;
            if (second.Opcode != 0 || second.Destination != 0 || second.Source != 0 || second.Offset != 0)
            {
                return Refuse(
                    i - 1, VerifierRule.UnknownInstruction, "the second slot of lddw may hold nothing but the upper half of the immediate");
            }
        }

        return null;
    }

    private VerifierRejection? DecodeAll()
    {
        ReadOnlySpan<Instruction> slots = program.Slots;
        for (int i = 0; i < slots.Length; i++)
        {
            if (isSecondSlot[i])
            {
                continue;
            }

            VerifierRejection? rejection = DecodeOne(i, slots[i]);
            if (rejection is not null)
            {
                return rejection;
            }

            int following = i + (slots[i].IsWide ? 2 : 1);
            if (following == slots.Length && code[i].Operation is not (Operation.Exit or Operation.Jump))
            {
                return Refuse(
                    i, VerifierRule.MissingExit, "the program can run past its last instruction; the last one must be exit or a jump");
            }
        }

        return null;
    }

    private VerifierRejection? DecodeOne(int index, in Instruction instruction)
    {
        if (instruction.Destination > 10 || (instruction.Source > 10 && instruction.Class != Opcodes.ClassLoad))
        {
            return Refuse(index, VerifierRule.NoSuchRegister, "registers are r0 to r10");
        }

        code[index].Destination = (byte)instruction.Destination;
        code[index].Source = (byte)instruction.Source;
        return instruction.Class switch
        {
            Opcodes.ClassAlu32 or Opcodes.ClassAlu64 => DecodeArithmetic(index, instruction),
            Opcodes.ClassJump or Opcodes.ClassJump32 => DecodeJump(index, instruction),
            Opcodes.ClassLoadRegister => DecodeLoad(index, instruction),
            Opcodes.ClassStore or Opcodes.ClassStoreRegister => DecodeStore(index, instruction),
            _ => DecodeWide(index, instruction),
        };
    }

    private VerifierRejection Unknown(int index) =>
        Refuse(index, VerifierRule.UnknownInstruction, $"opcode 0x{program.Slots[index].Opcode:x2} is not an instruction of the machine");

    private VerifierRejection Reserved(int index, string field) =>
        Refuse(index, VerifierRule.UnknownInstruction, $"the {field} field means nothing to this instruction and must be zero");

    private VerifierRejection? CheckWritable(int index, int register) =>
        register == 10 ? Refuse(index, VerifierRule.FramePointerIsReadOnly, "r10 is the frame pointer and cannot be written") : null;

    private VerifierRejection? DecodeArithmetic(int index, in Instruction instruction)
    {
        bool isRegister = (instruction.Opcode & Opcodes.SourceRegister) != 0;
        bool is32 = instruction.Class == Opcodes.ClassAlu32;
        byte operation = (byte)(instruction.Opcode & Opcodes.OperationMask);
        if (operation == Opcodes.ByteOrder)
        {
            return DecodeByteOrder(index, instruction, is32, isRegister);
        }

        if (operation > Opcodes.ByteOrder)
        {
            return Unknown(index);
        }

        if (isRegister && instruction.Immediate != 0)
        {
            return Reserved(index, "immediate");
        }

        if (!isRegister && instruction.Source != 0)
        {
            return Reserved(index, "source");
        }

        ref DecodedInstruction decoded = ref code[index];
        decoded.Immediate = is32 ? (uint)instruction.Immediate : (ulong)(long)instruction.Immediate;
        Operation block = Operation.Trap;
        switch (operation)
        {
            case Opcodes.Divide or Opcodes.Modulo when instruction.Offset == 1:
                block = operation == Opcodes.Divide ? Operation.SignedDivide64K : Operation.SignedModulo64K;
                break;
            case Opcodes.Move when instruction.Offset != 0 && isRegister:
                decoded.Operation = (is32, instruction.Offset) switch
                {
                    (false, 8) => Operation.MoveSigned8To64,
                    (false, 16) => Operation.MoveSigned16To64,
                    (false, 32) => Operation.MoveSigned32To64,
                    (true, 8) => Operation.MoveSigned8To32,
                    (true, 16) => Operation.MoveSigned16To32,
                    _ => Operation.Trap,
                };
                return decoded.Operation == Operation.Trap
                    ? Refuse(index, VerifierRule.UnknownInstruction, "a sign-extending move is from 8 or 16 bits, or from 32 into 64")
                    : CheckWritable(index, instruction.Destination);
            case var _ when instruction.Offset != 0:
                return Reserved(index, "offset");
            case Opcodes.Negate when isRegister || instruction.Immediate != 0:
                return isRegister ? Unknown(index) : Reserved(index, "immediate");
            case Opcodes.ShiftLeft or Opcodes.ShiftRight or Opcodes.ShiftRightArithmetic:
                decoded.Immediate &= is32 ? 31u : 63u;
                block = (Operation)((int)Operation.Add64K + (operation >> 4 << 2));
                break;
            default:
                // The enum keeps RFC 9669's order of operations, four entries each.
                block = (Operation)((int)Operation.Add64K + (operation >> 4 << 2));
                break;
        }

        decoded.Operation = (Operation)((int)block + (is32 ? 2 : 0) + (isRegister ? 1 : 0));
        return CheckWritable(index, instruction.Destination);
    }

    private VerifierRejection? DecodeByteOrder(int index, in Instruction instruction, bool is32, bool isBigEndian)
    {
        if (!is32 && isBigEndian)
        {
            return Unknown(index);
        }

        if (instruction.Source != 0 || instruction.Offset != 0)
        {
            return Reserved(index, instruction.Source != 0 ? "source" : "offset");
        }

        // The machine is little-endian: to little-endian only truncates, to big-endian swaps as bswap does.
        bool isSwap = !is32 || isBigEndian;
        ref DecodedInstruction decoded = ref code[index];
        decoded.Operation = instruction.Immediate switch
        {
            16 => isSwap ? Operation.Swap16 : Operation.Truncate16,
            32 => isSwap ? Operation.Swap32 : Operation.Truncate32,
            64 => isSwap ? Operation.Swap64 : Operation.Truncate64,
            _ => Operation.Trap,
        };
        return decoded.Operation == Operation.Trap
            ? Refuse(index, VerifierRule.UnknownInstruction, "byte order is of 16, 32 or 64 bits")
            : CheckWritable(index, instruction.Destination);
    }

    private VerifierRejection? DecodeJump(int index, in Instruction instruction)
    {
        bool isRegister = (instruction.Opcode & Opcodes.SourceRegister) != 0;
        bool is32 = instruction.Class == Opcodes.ClassJump32;
        byte operation = (byte)(instruction.Opcode & Opcodes.OperationMask);
        ref DecodedInstruction decoded = ref code[index];
        switch (operation)
        {
            case Opcodes.Call:
                return is32 || isRegister ? Unknown(index) : DecodeCall(index, instruction);
            case Opcodes.Exit:
                if (is32 || isRegister)
                {
                    return Unknown(index);
                }

                decoded.Operation = Operation.Exit;
                return instruction is { Destination: 0, Source: 0, Offset: 0, Immediate: 0 } ? null : Reserved(index, "register, offset or immediate");
            case Opcodes.JumpAlways:
                if (isRegister)
                {
                    return Unknown(index);
                }

                if (instruction.Destination != 0 || instruction.Source != 0 || (is32 ? instruction.Offset : instruction.Immediate) != 0)
                {
                    return Reserved(index, "register or the other distance");
                }

                decoded.Operation = Operation.Jump;
                return ResolveTarget(index, is32 ? instruction.Immediate : instruction.Offset);
            case > Opcodes.JumpSignedLessOrEqual:
                return Unknown(index);
        }

        if (isRegister ? instruction.Immediate != 0 : instruction.Source != 0)
        {
            return Reserved(index, isRegister ? "immediate" : "source");
        }

        // Conditions keep RFC 9669's order too; call and exit lie between the sixth and the seventh.
        int condition = (operation >> 4) - (operation > Opcodes.Exit ? 3 : 1);
        decoded.Operation = (Operation)((int)Operation.IfEqual64K + (condition << 2) + (is32 ? 2 : 0) + (isRegister ? 1 : 0));
        decoded.Immediate = is32 ? (uint)instruction.Immediate : (ulong)(long)instruction.Immediate;
        return ResolveTarget(index, instruction.Offset);
    }

    private VerifierRejection? DecodeCall(int index, in Instruction instruction)
    {
        if (instruction.Source == 1)
        {
            if (instruction.Destination != 0 || instruction.Offset != 0)
            {
                return Reserved(index, "destination or offset");
            }

            code[index].Operation = Operation.CallLocal;
            return ResolveTarget(index, instruction.Immediate);
        }

        if (instruction.Source == 2)
        {
            return Refuse(index, VerifierRule.UnknownHelper, "functions are called by the contract's numbers, not by type identifier");
        }

        if (instruction.Source != 0 || instruction.Destination != 0 || instruction.Offset != 0)
        {
            return Reserved(index, "register or offset");
        }

        if (!contract.TryGetHelper(instruction.Immediate, out HelperContract helper))
        {
            string known = contract.Helpers.IsEmpty ? "none" : string.Join(", ", contract.Helpers.Select(h => $"{h.Id} ({h.Name})"));
            return Refuse(
                index, VerifierRule.UnknownHelper, $"helper {instruction.Immediate} is not in the contract '{contract.Name}', which has: {known}");
        }

        ref DecodedInstruction decoded = ref code[index];
        decoded.Operation = Operation.Call;
        decoded.Immediate = (ulong)(long)instruction.Immediate;
        decoded.ArgumentCount = (byte)helper.ArgumentCount;
        return null;
    }

    private VerifierRejection? ResolveTarget(int index, int distance)
    {
        long target = index + 1L + distance;
        if (target < 0 || target >= program.Slots.Length)
        {
            return Refuse(
                index, VerifierRule.JumpOutOfProgram, $"the jump leads to slot {target}; the program has slots 0 to {program.Slots.Length - 1}");
        }

        if (isSecondSlot[target])
        {
            return Refuse(index, VerifierRule.JumpIntoWideInstruction, $"the jump leads into the middle of the lddw at slot {target - 1}");
        }

        code[index].Offset = (int)target;
        return null;
    }

    private VerifierRejection? DecodeLoad(int index, in Instruction instruction)
    {
        int width = Opcodes.WidthBytes(instruction.Opcode);
        ref DecodedInstruction decoded = ref code[index];
        decoded.Operation = ((instruction.Opcode & Opcodes.ModeMask), width) switch
        {
            (Opcodes.ModeMemory, 1) => Operation.Load8,
            (Opcodes.ModeMemory, 2) => Operation.Load16,
            (Opcodes.ModeMemory, 4) => Operation.Load32,
            (Opcodes.ModeMemory, 8) => Operation.Load64,
            (Opcodes.ModeMemorySigned, 1) => Operation.LoadSigned8,
            (Opcodes.ModeMemorySigned, 2) => Operation.LoadSigned16,
            (Opcodes.ModeMemorySigned, 4) => Operation.LoadSigned32,
            _ => Operation.Trap,
        };
        decoded.Offset = instruction.Offset;
        if (decoded.Operation == Operation.Trap)
        {
            return Unknown(index);
        }

        return instruction.Immediate != 0 ? Reserved(index, "immediate") : CheckWritable(index, instruction.Destination);
    }

    private VerifierRejection? DecodeStore(int index, in Instruction instruction)
    {
        bool isRegister = instruction.Class == Opcodes.ClassStoreRegister;
        int mode = instruction.Opcode & Opcodes.ModeMask;
        if (isRegister && mode == Opcodes.ModeAtomic)
        {
            return DecodeAtomic(index, instruction);
        }

        if (mode != Opcodes.ModeMemory)
        {
            return Unknown(index);
        }

        if (isRegister ? instruction.Immediate != 0 : instruction.Source != 0)
        {
            return Reserved(index, isRegister ? "immediate" : "source");
        }

        ref DecodedInstruction decoded = ref code[index];
        decoded.Operation = Opcodes.WidthBytes(instruction.Opcode) switch
        {
            1 => isRegister ? Operation.Store8X : Operation.Store8K,
            2 => isRegister ? Operation.Store16X : Operation.Store16K,
            4 => isRegister ? Operation.Store32X : Operation.Store32K,
            _ => isRegister ? Operation.Store64X : Operation.Store64K,
        };
        decoded.Offset = instruction.Offset;
        decoded.Immediate = (ulong)(long)instruction.Immediate;
        return null;
    }

    private VerifierRejection? DecodeAtomic(int index, in Instruction instruction)
    {
        int widthBytes = Opcodes.WidthBytes(instruction.Opcode);
        Operation operation = instruction.Immediate switch
        {
            Opcodes.Add => Operation.AtomicAdd32,
            Opcodes.Or => Operation.AtomicOr32,
            Opcodes.And => Operation.AtomicAnd32,
            Opcodes.Xor => Operation.AtomicXor32,
            Opcodes.Add | Opcodes.AtomicFetch => Operation.AtomicFetchAdd32,
            Opcodes.Or | Opcodes.AtomicFetch => Operation.AtomicFetchOr32,
            Opcodes.And | Opcodes.AtomicFetch => Operation.AtomicFetchAnd32,
            Opcodes.Xor | Opcodes.AtomicFetch => Operation.AtomicFetchXor32,
            Opcodes.AtomicExchange => Operation.AtomicExchange32,
            Opcodes.AtomicCompareExchange => Operation.AtomicCompareExchange32,
            _ => Operation.Trap,
        };
        if (operation == Operation.Trap)
        {
            return Refuse(index, VerifierRule.UnknownInstruction, $"there is no atomic operation 0x{instruction.Immediate:x}");
        }

        if (widthBytes < 4)
        {
            return Refuse(index, VerifierRule.UnknownInstruction, "atomic operations are of 32 or 64 bits");
        }

        ref DecodedInstruction decoded = ref code[index];
        decoded.Operation = (Operation)((int)operation + (widthBytes == 8 ? 1 : 0));
        decoded.Offset = instruction.Offset;
        bool writesSource = operation is >= Operation.AtomicFetchAdd32 and < Operation.AtomicCompareExchange32;
        return writesSource ? CheckWritable(index, instruction.Source) : null;
    }

    private VerifierRejection? DecodeWide(int index, in Instruction instruction)
    {
        if (!instruction.IsWide)
        {
            return Unknown(index);
        }

        if (instruction.Source != 0)
        {
            return Refuse(
                index, VerifierRule.UnknownInstruction, "lddw of maps, variables and code addresses is not accepted, only of plain numbers");
        }

        if (instruction.Offset != 0)
        {
            return Reserved(index, "offset");
        }

        code[index].Operation = Operation.LoadImmediate64;
        code[index].Immediate = (uint)instruction.Immediate | ((ulong)(uint)program.Slots[index + 1].Immediate << 32);
        return CheckWritable(index, instruction.Destination);
    }
}
