// SPDX-License-Identifier: MIT
using System.Text;
using ExOS;
using ExOS.Processes;

namespace Exo.Samples.Tests.Exos;

/// <summary>An ExOS in this process on an image of its own, whose terminal is two streams.</summary>
internal sealed class ExosBench : IDisposable
{
    private readonly string _image = Path.Combine(Path.GetTempPath(), $"exo-exos-{Guid.NewGuid():N}.img");
    private readonly MemoryStream _output = new();

    public ExosBench(string input = "") =>
        System = ExosSystem.Boot(_image, 16 << 20, new MemoryStream(Encoding.UTF8.GetBytes(input)), _output, isInteractive: false);

    public ExosSystem System { get; }

    /// <summary>Everything that was written to the terminal.</summary>
    public string Output => Encoding.UTF8.GetString(_output.ToArray());

    /// <summary>Runs commands, and returns their output and, on the last line, the exit status.</summary>
    public static string Script(string text, string input = "")
    {
        using ExosBench bench = new(input);
        int status = bench.System.Run("/bin/sh", ["sh", "-c", text, "sh", "one", "two words"]);
        return $"{bench.Output}[{status}]\n";
    }

    /// <summary>Runs code as a process.</summary>
    public static int Run(ProgramMain main)
    {
        using ExosBench bench = new();
        int status = bench.System.Run(main);
        Assert.True(bench.Output.Length == 0, bench.Output);
        return status;
    }

    public void Dispose()
    {
        System.Dispose();
        File.Delete(_image);
    }
}
