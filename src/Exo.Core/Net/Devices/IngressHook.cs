// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;
using Exo.Core.Linux;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Net;

/// <summary>
/// A place at an interface's ingress hook (tcx, Linux 6.6), held by an open file: when that is closed, by us or by the end of the process however it comes, the interface is as it
/// was. The program there can be exchanged; at first it is one that leaves every packet alone.
/// </summary>
internal sealed unsafe class IngressHook : IDisposable
{
    private static readonly Program Idle = new(
        [new Instruction(Opcodes.ClassAlu64 | Opcodes.Move, immediate: -1), new Instruction(Opcodes.ClassJump | Opcodes.Exit)]);

    private readonly string _interfaceName;
    private readonly SafeFileHandle _link;

    private IngressHook(string interfaceName, SafeFileHandle link)
    {
        _interfaceName = interfaceName;
        _link = link;
    }

    /// <summary>Takes the place, in the calling thread's network namespace.</summary>
    /// <exception cref="NetworkDeviceException">The kernel has no such hook, or no rights were given.</exception>
    public static IngressHook Attach(NetworkLink link)
    {
        using SafeFileHandle program = Load(link.Name, BpfAbi.PROG_TYPE_SCHED_CLS, Idle);
        BpfLinkCreate create = new() { Program = Number(program), InterfaceIndex = (uint)link.Index, AttachType = BpfAbi.ATTACH_TCX_INGRESS };
        int hook = Libc.Bpf(BpfAbi.LINK_CREATE, &create);
        return hook >= 0
            ? new IngressHook(link.Name, new SafeFileHandle(hook, ownsHandle: true))
            : throw Refused(link.Name, "attach a handler to", "it needs Linux 6.6");
    }

    /// <summary>Has a program look at packets from now on; null: none does.</summary>
    public void Set(Program? program)
    {
        using SafeFileHandle loaded = Load(_interfaceName, BpfAbi.PROG_TYPE_SCHED_CLS, program ?? Idle);
        BpfLinkUpdate update = new() { Link = Number(_link), Program = Number(loaded) };
        if (Libc.Bpf(BpfAbi.LINK_UPDATE, &update) != 0)
        {
            throw Refused(_interfaceName, "replace the handler of");
        }
    }

    /// <summary>Loads a program of a type; the kernel proves it.</summary>
    public static SafeFileHandle Load(string interfaceName, uint type, Program program)
    {
        byte[] instructions = program.ToBytes();
        fixed (byte* first = instructions, license = "MIT\0"u8)
        {
            BpfProgramLoad load = new()
            {
                Type = type,
                InstructionCount = (uint)(instructions.Length / Instruction.SizeBytes),
                Instructions = (ulong)first,
                License = (ulong)license,
            };
            int loaded = Libc.Bpf(BpfAbi.PROG_LOAD, &load);
            return loaded >= 0 ? new SafeFileHandle(loaded, ownsHandle: true) : throw Refused(interfaceName, "load a handler for", "it needs CAP_BPF and CAP_NET_ADMIN");
        }
    }

    /// <summary>Runs a program of the ingress hook in the kernel on a packet that came from nowhere and goes nowhere.</summary>
    /// <param name="interfaceName">For messages.</param>
    /// <param name="program">The program.</param>
    /// <param name="packet">The packet; it becomes what the program made of it.</param>
    /// <returns>The verdict.</returns>
    public static int Run(string interfaceName, Program program, Span<byte> packet)
    {
        using SafeFileHandle loaded = Load(interfaceName, BpfAbi.PROG_TYPE_SCHED_CLS, program);
        return Run(interfaceName, loaded, packet, packet, out _);
    }

    /// <summary>The same with a program that is loaded, which may make the packet longer.</summary>
    /// <param name="interfaceName">For messages.</param>
    /// <param name="loaded">The program.</param>
    /// <param name="packet">The packet.</param>
    /// <param name="output">Room for what the program makes of it.</param>
    /// <param name="lengthBytes">How long that is.</param>
    /// <returns>The verdict.</returns>
    public static int Run(string interfaceName, SafeFileHandle loaded, ReadOnlySpan<byte> packet, Span<byte> output, out int lengthBytes)
    {
        fixed (byte* input = packet, made = output)
        {
            BpfTestRun run = new()
            {
                Program = Number(loaded), Input = (ulong)input, InputBytes = (uint)packet.Length, Output = (ulong)made, OutputBytes = (uint)output.Length, Repeat = 1,
            };
            int result = Libc.Bpf(BpfAbi.PROG_TEST_RUN, &run);
            lengthBytes = (int)run.OutputBytes;
            return result == 0 ? (int)run.Result : throw Refused(interfaceName, "run a handler for");
        }
    }

    /// <summary>Gives the place up.</summary>
    public void Dispose() => _link.Dispose();

    private static uint Number(SafeFileHandle handle) => (uint)handle.DangerousGetHandle();

    private static NetworkDeviceException Refused(string name, string what, string? hint = null)
    {
        int errno = Errno.Last;
        return new NetworkDeviceException(errno, name, $"Cannot {what} {name}: {Errno.Describe(errno)}{(hint is null ? "" : "; " + hint)}.");
    }
}
