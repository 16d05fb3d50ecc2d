// SPDX-License-Identifier: MIT
using System.CommandLine;
using Exo.Cli.Arguments;
using Exo.Core.DownloadedCode;
using DownloadedProgram = Exo.Core.DownloadedCode.Program;

namespace Exo.Cli.Verbs;

/// <summary>
/// <c>exo udf</c>: downloaded code by itself. Programs are eBPF (RFC 9669), text or hexadecimal digits on standard input. They see one
/// region of memory: r1 is its address, r2 its length in bytes.
/// </summary>
internal static class UdfVerb
{
    /// <summary>The longest memory a program can be given here, in bytes.</summary>
    private const int MemoryBytesMax = 1 << 20;

    /// <summary>How many instructions a program may execute that was not verified.</summary>
    private const int UnverifiedInstructionsMax = 10_000_000;

    /// <summary>The longest assembler text that is read, in characters.</summary>
    private const int TextCharsMax = 1 << 24;

    public static Command Create()
    {
        VerbCommand command = new("udf", "Assembles, lists, verifies and runs downloaded code: eBPF programs as XN's templates hold them.")
        {
            Examples =
            [
                "echo 'mov r0, r2; exit' | tr ';' '\\n' | exo udf asm | exo udf run '01 02 03'",
                "exo udf asm < owns.s | exo udf verify --memory 4096",
            ],
        };
        command.Add(Assemble());
        command.Add(Disassemble());
        command.Add(Verify());
        command.Add(Run());
        return command;
    }

    private static VerbCommand Assemble()
    {
        VerbCommand command = new("asm", "Turns assembler text on standard input into a program in hexadecimal digits.")
        {
            Examples = ["exo udf asm < owns.s > owns.hex"],
        };
        command.SetAction(_ =>
        {
            try
            {
                Console.WriteLine(Convert.ToHexStringLower(Assembler.Assemble(ReadText()).ToBytes()));
                return 0;
            }
            catch (AssemblerException error)
            {
                throw new UdfException(error.Message);
            }
        });
        return command;
    }

    private static VerbCommand Disassemble()
    {
        Option<bool> numbers = new("--numbers") { Description = "Put the number of its slot before each instruction" };
        VerbCommand command = new("disasm", "Turns a program in hexadecimal digits on standard input into assembler text.")
        {
            Examples = ["exo udf disasm --numbers < owns.hex"],
        };
        command.Add(numbers);
        command.SetAction(parsed =>
        {
            DownloadedProgram program = ReadProgram();
            Console.Write(parsed.GetValue(numbers) ? Disassembler.Listing(program) : Disassembler.Disassemble(program));
            return 0;
        });
        return command;
    }

    private static VerbCommand Verify()
    {
        Option<int> memory = new("--memory") { Description = "Length of the memory the program may rely on, in bytes (default 0)", HelpName = "BYTES" };
        VerbCommand command = new("verify", "Says whether a program in hexadecimal digits on standard input may run, and if not, why.")
        {
            Examples = ["exo udf verify --memory 64 < program.hex"],
            Notes = ["Exit code 0 when it may run, 1 when it may not."],
        };
        command.Add(memory);
        command.SetAction(parsed =>
        {
            int lengthBytes = parsed.GetValue(memory);
            if (lengthBytes is < 0 or > MemoryBytesMax)
            {
                throw new UsageException($"--memory: {lengthBytes} is not within 0 to {MemoryBytesMax}");
            }

            VerifyResult result = Verifier.Verify(ReadProgram(), Contract(lengthBytes));
            Console.WriteLine(result.IsAccepted
                ? $"accepted: at most {result.Program.InstructionsMax} instructions a run; {result.Steps} steps to verify"
                : $"refused: {result.Rejection}");
            return result.IsAccepted ? 0 : ExoCommand.Failed;
        });
        return command;
    }

    private static VerbCommand Run()
    {
        Argument<string[]> memory = new("MEMORY-HEX") { Description = "The memory the program sees, in hexadecimal digits", Arity = ArgumentArity.ZeroOrMore };
        Option<bool> compiled = new("--compiled") { Description = "Run it as native code where that is possible (the default)" };
        Option<bool> interpreted = new("--interpreted") { Description = "Run it in the interpreter" };
        Option<bool> noVerify = new("--no-verify") { Description = "Do not verify it; run it in the interpreter that checks everything" };
        VerbCommand command = new("run", "Verifies and runs a program in hexadecimal digits on standard input and prints register 0 in hexadecimal.")
        {
            Examples = ["exo udf run '2a 00 00 00' < program.hex", "exo udf run --interpreted < program.hex"],
            Notes = ["r1 is the address of the memory, r2 its length in bytes: the plug-in convention of the public BPF conformance suite."],
        };
        command.Add(memory);
        command.Add(compiled);
        command.Add(interpreted);
        command.Add(noVerify);
        command.SetAction(parsed =>
        {
            bool isInterpreted = parsed.GetValue(interpreted);
            bool isUnverified = parsed.GetValue(noVerify);
            if (parsed.GetValue(compiled) && (isInterpreted || isUnverified))
            {
                throw new UsageException($"--compiled and {(isInterpreted ? "--interpreted" : "--no-verify")} exclude each other");
            }

            if (!HexText.TryRead(new StringReader(string.Join(' ', parsed.GetValue(memory) ?? [])), MemoryBytesMax, out byte[]? bytes, out string? error))
            {
                throw new UsageException($"MEMORY-HEX: {error}");
            }

            return Run(ReadProgram(), bytes, isInterpreted, isUnverified);
        });
        return command;
    }

    private static int Run(DownloadedProgram program, byte[] memory, bool isInterpreted, bool isUnverified)
    {
        ProgramContract contract = Contract(memory.Length);
        ProgramInput input = ProgramInput.Writable(memory);
        ExecutionResult result;
        if (isUnverified)
        {
            NoHelpers helpers = default;
            result = CheckingInterpreter.Run(program, contract, input, ref helpers, UnverifiedInstructionsMax);
        }
        else
        {
            VerifyResult verdict = Verifier.Verify(program, contract);
            if (verdict.Rejection is { } rejection)
            {
                throw new UdfException(
                    $"the program was refused at instruction {rejection.Instruction}, {rejection.Disassembly}: {rejection.Reason}"
                    + (rejection.State.Length == 0 ? "" : $"; state: {rejection.State}"));
            }

            result = isInterpreted ? Interpreter.Run(verdict.Require(), input) : Compiler.Run(verdict.Require(), input);
        }

        if (result.Status != ExecutionStatus.Completed)
        {
            throw new UdfException($"the run ended at instruction {result.FaultInstruction}: {Describe(result.Status)}");
        }

        Console.WriteLine($"{result.R0:x}");
        return 0;
    }

    private static string Describe(ExecutionStatus status) => status switch
    {
        ExecutionStatus.OutOfFuel => $"more than {UnverifiedInstructionsMax} instructions",
        ExecutionStatus.BadAccess => "an access outside the memory and the stack",
        ExecutionStatus.BadInstruction => "not an instruction",
        ExecutionStatus.UninitialisedRead => "a register or stack byte is read before it is written",
        ExecutionStatus.UnknownHelper => "there are no helpers here",
        ExecutionStatus.CallDepthExceeded => $"more than {ProgramContract.CallDepthMax} functions active at once",
        _ => status.ToString(),
    };

    private static ProgramContract Contract(int memoryBytes) => new(
        "udf", [ArgumentContract.MemoryPointer, ArgumentContract.MemoryLength], RegionContract.Exactly(memoryBytes, isWritable: true));

    private static DownloadedProgram ReadProgram()
    {
        if (!HexText.TryRead(Console.In, DownloadedProgram.InstructionsLimit * Instruction.SizeBytes, out byte[]? bytes, out string? error))
        {
            throw new UdfException($"standard input: {error}");
        }

        return DownloadedProgram.TryParse(bytes, out DownloadedProgram? program)
            ? program
            : throw new UdfException(
                $"standard input: {bytes.Length} bytes are no program; "
                + $"it takes 1 to {DownloadedProgram.InstructionsLimit} instructions of {Instruction.SizeBytes} bytes");
    }

    private static string ReadText()
    {
        char[] text = new char[TextCharsMax + 1];
        int length = Console.In.ReadBlock(text);
        return length <= TextCharsMax ? new string(text, 0, length) : throw new UdfException($"standard input: more than {TextCharsMax} characters");
    }
}

/// <summary>A program that cannot be assembled, may not run, or did not end well; the message is one line or becomes one.</summary>
internal sealed class UdfException(string message) : IOException(message);
