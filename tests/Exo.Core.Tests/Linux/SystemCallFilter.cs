// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Tests;

namespace Exo.Core.Tests.Linux;

/// <summary>What containers do to forbid system calls.</summary>
internal static unsafe partial class SystemCallFilter
{
    /// <summary>Makes one system call of this thread, and of the programs it starts, fail (seccomp(2), a classic BPF program).</summary>
    public static void Refuse(int call, int errno)
    {
        const ushort load = 0x20, jumpIfEqual = 0x15, result = 0x06;
        const uint allow = 0x7FFF0000, fail = 0x00050000;
        const int noNewPrivileges = 38, setFilter = 22, filterMode = 2;
        FilterStep* steps = stackalloc FilterStep[]
        {
            // The number of the call is the first word of struct seccomp_data; these are the same on x64 and arm64.
            new FilterStep { Code = load, IfSo = 0, Operand = 0 },
            new FilterStep { Code = jumpIfEqual, Operand = (uint)call, Otherwise = 1 },
            new FilterStep { Code = result, Operand = fail | (uint)errno },
            new FilterStep { Code = result, Operand = allow },
        };
        var program = new FilterProgram { Count = 4, Steps = steps };
        Requires.That(Control(noNewPrivileges, 1, null, 0, 0) == 0, "this kernel has no no_new_privs");
        Requires.That(Control(setFilter, filterMode, &program, 0, 0) == 0, "this kernel has no filters on system calls");
    }

    [LibraryImport("libc", EntryPoint = "prctl")]
    private static partial int Control(int option, nuint second, void* third, nuint fourth, nuint fifth);

    private struct FilterStep
    {
        public ushort Code;
        public byte IfSo;
        public byte Otherwise;
        public uint Operand;
    }

    private struct FilterProgram
    {
        public ushort Count;
        public FilterStep* Steps;
    }
}
