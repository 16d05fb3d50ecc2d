// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Diagnostics;

namespace Exo.Tests;

/// <summary>
/// C programs of the folder <c>Programs</c>: they make the system calls as they are, and in processes of their own. This process serves the mount and must not wait for itself
/// in a page fault. Each is compiled once.
/// </summary>
internal static class CProgram
{
    private static readonly ConcurrentDictionary<string, Lazy<string>> Compiled = new();

    /// <summary>The executable made of all <c>*.c</c> files of a folder, or of one file.</summary>
    public static string Compile(string name)
    {
        Requires.Program("gcc");
        return Compiled.GetOrAdd(name, _ => new Lazy<string>(() => CompileOnce(name))).Value;
    }

    private static string CompileOnce(string name)
    {
        string source = Path.Combine(AppContext.BaseDirectory, "Programs", name);
        string[] files = Directory.Exists(source) ? Directory.GetFiles(source, "*.c") : [source + ".c"];
        string program = source + ".out";
        Mounted.Run(new ProcessStartInfo("gcc", ["-O1", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-o", program, .. files]));
        return program;
    }
}
