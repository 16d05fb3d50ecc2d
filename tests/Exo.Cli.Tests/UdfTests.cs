// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Exo.Tests;

namespace Exo.Cli.Tests;

/// <summary><c>exo udf</c> as a process: the plug-in convention of the public BPF conformance suite, and what goes wrong.</summary>
public sealed class UdfTests
{
    private static string Assemble(string text) => ExoProcess.ExoReading(text, "udf", "asm").Succeeded().Output;

    [Theory]
    [InlineData("mov r0, r2\nexit", "3", "01 02 03")]
    [InlineData("mov r0, r2\nexit", "3", " 010 203  ")]
    [InlineData("mov r0, r2\nexit", "3", "01", "02", "03")]
    [InlineData("mov r0, r2\nexit", "3", "01 02 03 ", "")]
    [InlineData("mov r0, r2\nexit", "0")]
    [InlineData("mov r0, r2\nexit", "0", "")]
    [InlineData("mov r0, -1\nexit", "ffffffffffffffff")]
    [InlineData("mov r0, 0\nmov r2, 7\nlock fetch add [r1], r2\nldxdw r0, [r1]\nexit", "108", "01 01 00 00 00 00 00 00")]
    [InlineData("mov r0, 0\nagain:\nadd r0, 3\njlt r0, 30, again\nexit", "1e")]
    [InlineData("mov r1, 4\ncall local square\nexit\nsquare:\nmov r0, r1\nmul r0, r1\nexit", "10")]
    public void Runs_and_prints_register_0(string text, string expected, params string[] memory)
    {
        string program = Assemble(text);
        foreach (string[] way in (string[][])[[], ["--compiled"], ["--interpreted"], ["--no-verify"]])
        {
            ExoResult result = ExoProcess.ExoReading(program, ["udf", "run", .. way, .. memory]).Succeeded();
            Assert.Equal((expected + "\n", ""), (result.Output, result.Error));
        }
    }

    [Fact]
    public void Digits_may_be_spread_over_lines()
    {
        string spread = string.Join("\r\n ", Assemble("mov r0, 17\nexit").Trim().ToUpperInvariant().ToCharArray());
        Assert.Equal("11\n", ExoProcess.ExoReading(spread, "udf", "run").Succeeded().Output);
    }

    [Fact]
    public void Where_no_code_can_be_made_the_interpreter_takes_over()
    {
        // The switch that native AOT sets: dynamic code is not supported.
        using TempFolder folder = new();
        const string dynamicCode = "System.Runtime.CompilerServices.RuntimeFeature.IsDynamicCodeSupported";
        JsonNode settings = JsonNode.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "exo.runtimeconfig.json")))!;
        JsonObject properties = settings["runtimeOptions"]!["configProperties"]!.AsObject();
        properties[dynamicCode] = false;
        File.WriteAllText(folder["exo.runtimeconfig.json"], settings.ToJsonString());
        string program = Assemble("mov r0, 0\nagain:\nadd r0, 3\njlt r0, 30, again\nexit");
        ExoResult result = ExoProcess.Reading(
            program, "--runtimeconfig", folder["exo.runtimeconfig.json"], Path.Combine(AppContext.BaseDirectory, "exo.dll"), "udf", "run", "--compiled");
        Assert.Equal("1e\n", result.Succeeded().Output);
    }

    [Theory]
    [InlineData("ldxw r0, [r1+1]\nexit", "bytes 1 to 4", "01 02 03 04")]
    [InlineData("mov r0, 0\nagain:\nja again\nexit", "bounds the loop")]
    [InlineData("mov r0, r1\nexit", "pointer")]
    [InlineData("call 1\nexit", "helper 1")]
    [InlineData("mov r0, r7\nexit", "r7")]
    public void What_is_refused_is_one_line_with_the_reason(string text, string reason, params string[] memory)
    {
        string program = Assemble(text);
        string line = ExoProcess.ExoReading(program, ["udf", "run", .. memory]).Refused(1);
        Assert.StartsWith("exo udf run: the program was refused at instruction ", line, StringComparison.Ordinal);
        Assert.Contains(reason, line, StringComparison.Ordinal);
        ExoResult verdict = ExoProcess.ExoReading(program, "udf", "verify", "--memory", $"{string.Concat(memory).Length / 3}");
        Assert.Equal(1, verdict.ExitCode);
        Assert.StartsWith("refused: instruction ", verdict.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("ldxw r0, [r1+1]\nexit", "an access outside", "01 02 03 04")]
    [InlineData("mov r0, 0\nagain:\nja again\nexit", "instructions")]
    [InlineData("mov r0, r7\nexit", "before it is written")]
    [InlineData("call local -1\nexit", "active at once")]
    public void Unverified_programs_end_where_they_break_a_rule(string text, string reason, params string[] memory) => Assert.Contains(
        reason, ExoProcess.ExoReading(Assemble(text), ["udf", "run", "--no-verify", .. memory]).Refused(1), StringComparison.Ordinal);

    [Theory]
    [InlineData("")]
    [InlineData("95")]
    [InlineData("95000000000000")]
    [InlineData("950000000000000")]
    [InlineData("95 00 00 00 00 00 00 0x")]
    [InlineData("\u0000\u0001é")]
    public void Input_that_is_no_program_is_one_line(string input)
    {
        foreach (string verb in (string[])["run", "verify", "disasm"])
        {
            Assert.Contains("standard input", ExoProcess.ExoReading(input, "udf", verb).Refused(1), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Too_much_input_is_refused_before_it_fills_the_memory()
    {
        string line = ExoProcess.ExoReading(new string('0', 3 << 20), "udf", "run").Refused(1);
        Assert.Contains("more than 524288 bytes", line, StringComparison.Ordinal);
    }

    [Fact]
    public void Text_survives_assembling_and_listing()
    {
        const string text = "lddw %r0, 0x123456789a\nlock add32 [%r10-4], %r0\njeq %r0, 1, -3\nexit\n";
        Assert.Equal(text, ExoProcess.ExoReading(Assemble(text), "udf", "disasm").Succeeded().Output);
        Assert.StartsWith("    0: lddw", ExoProcess.ExoReading(Assemble(text), "udf", "disasm", "--numbers").Succeeded().Output, StringComparison.Ordinal);
        Assert.Contains("line 2, column 1", ExoProcess.ExoReading("exit\nfrob r1\n", "udf", "asm").Refused(1), StringComparison.Ordinal);
    }
}
