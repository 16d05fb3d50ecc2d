// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>
/// POSIX by assertions on single calls, made by <c>Programs/Conformance</c>: errors, times, owners, modes, links. <c>EXO_CONFORMANCE_REFERENCE=DIR</c> runs the same assertions
/// on a directory of a kernel's file system (ext4 meets all of them), so that what is wanted here is what is had there.
/// </summary>
public sealed class ConformanceTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData("io_uring")]
    [InlineData("io_uring,writeback")]
    [InlineData("noio_uring,noxattr")]
    [InlineData("noio_uring,writeback,handles")]
    public void Every_call_does_what_it_does_elsewhere(string how)
    {
        Requires.Root();
        string program = CProgram.Compile("Conformance");
        if (Environment.GetEnvironmentVariable("EXO_CONFORMANCE_REFERENCE") is { Length: > 0 } reference)
        {
            Report(program, reference, "all", 9000);
        }

        using Mounted at = new(new FuseMountOptions { AllowOther = true }.With(how));
        Report(program, at.Directory, "all", 9000);
    }

    [Fact]
    public void A_read_only_mount_refuses_every_change()
    {
        Requires.Root();
        string program = CProgram.Compile("Conformance");
        using Mounted at = new(new FuseMountOptions { AllowOther = true });
        Report(program, at.Directory, "prepare", 4);
        at.Remount(new FuseMountOptions { ReadOnly = true, AllowOther = true });
        Report(program, at.Directory, "read-only", 55);
    }

    private void Report(string program, string directory, string what, int atLeast)
    {
        ProcessStartInfo start = new(program, [directory, what]) { RedirectStandardOutput = true };
        using Process process = Process.Start(start)!;
        string said = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        output.WriteLine(said);
        Assert.True(process.ExitCode == 0, said);
        int assertions = int.Parse(said.TrimEnd().Split('\n')[^1].Split(' ')[0], CultureInfo.InvariantCulture);
        Assert.True(assertions >= atLeast, $"only {assertions} assertions");
    }
}
