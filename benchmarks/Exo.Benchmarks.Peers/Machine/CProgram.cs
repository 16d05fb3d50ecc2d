// SPDX-License-Identifier: MIT
namespace Exo.Benchmarks.Peers.Machine;

/// <summary>A peer written in C, compiled when a row is prepared.</summary>
internal static class CProgram
{
    /// <summary>Compiles one of the sources in the folder C.</summary>
    /// <returns>The program's path.</returns>
    public static string Compile(WorkFolder folder, string name)
    {
        string program = folder[name];
        Tool.Run("gcc", "-O2", "-march=native", "-o", program, Path.Combine(AppContext.BaseDirectory, "C", name + ".c"));
        return program;
    }
}
