// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace Exo.Cli.Verbs;

/// <summary>A verb with the examples that its help shows and the exit codes that it promises.</summary>
internal sealed class VerbCommand(string name, string description) : Command(name, description)
{
    public string[] Examples { get; init; } = [];

    /// <summary>Further paragraphs of the help text, such as exit codes.</summary>
    public string[] Notes { get; init; } = [];

    public int UsageExitCode { get; init; } = ExoCommand.WrongUsage;

    public int FailureExitCode { get; init; } = ExoCommand.Failed;
}

/// <summary>The usual help, then notes and examples.</summary>
internal sealed class HelpWithExamples : SynchronousCommandLineAction
{
    private const int WidthColumns = 100;
    private readonly HelpAction _help;

    public HelpWithExamples(HelpAction help)
    {
        _help = help;
        _help.MaxWidth = WidthColumns;
    }

    public override bool ClearsParseErrors => true;

    public override int Invoke(ParseResult parseResult)
    {
        int exitCode = _help.Invoke(parseResult);
        TextWriter output = parseResult.InvocationConfiguration.Output;
        if (parseResult.CommandResult.Command is VerbCommand verb)
        {
            foreach (string note in verb.Notes)
            {
                output.WriteLine(note);
                output.WriteLine();
            }

            if (verb.Examples.Length > 0)
            {
                output.WriteLine("Examples:");
                foreach (string example in verb.Examples)
                {
                    output.WriteLine($"  {example}");
                }
            }
        }
        else
        {
            output.WriteLine("Examples:");
            output.WriteLine("  exo mkfs disk.img --size 1G");
            output.WriteLine("  exo import disk.img ./public");
            output.WriteLine("  exo serve disk.img --listen 127.0.0.1:8080");
            output.WriteLine("  exo fsck disk.img");
            output.WriteLine();
            output.WriteLine("A PATH inside an image is written as 'exo ls' shows it: bytes that are not text are escapes such as \\xff or \\n.");
        }

        return exitCode;
    }
}
