// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using Exo.Cli.Administration;
using Exo.Cli.Output;

namespace Exo.Cli.Verbs;

/// <summary>
/// The command <c>exo</c>: its verbs, and what is common to them. Results go to standard output; errors are one line on standard
/// error. Exit codes: 0 done, 1 failed, 2 wrong usage; <c>exo fsck</c> has those of fsck(8). A bug is one line, too; with
/// <see cref="StackTraceVariable"/> set it says where it was met.
/// </summary>
internal static class ExoCommand
{
    public const int Failed = 1;
    public const int WrongUsage = 2;

    /// <summary>Environment variable; not empty: errors come with their stack traces.</summary>
    public const string StackTraceVariable = "EXO_STACK_TRACE";

    /// <summary>Runs one command line and returns its exit code.</summary>
    public static int Run(string[] args)
    {
        RootCommand root = Build();
        string[] words = MountVerb.IsFromMount(root, args) ? [MountVerb.Word, .. args] : args;
        ParseResult parsed = root.Parse(words, new ParserConfiguration { ResponseFileTokenReplacer = null });
        Command command = parsed.CommandResult.Command;
        string name = NameOf(parsed.CommandResult);
        if (parsed.Action is not (HelpAction or HelpWithExamples) && WrongUsageOf(parsed) is { } wrong)
        {
            return Refuse(command, name, wrong);
        }

        try
        {
            return parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
        }
        catch (UsageException error)
        {
            return Refuse(command, name, error.Message);
        }
        catch (Exception error)
        {
            Console.Error.WriteLine($"{name}: {MountedImage.Explain(error) ?? Failure.Describe(error) ?? DescribeBug(error)}");
            if (Environment.GetEnvironmentVariable(StackTraceVariable) is { Length: > 0 })
            {
                Console.Error.WriteLine(error);
            }

            return command is VerbCommand verb ? verb.FailureExitCode : Failed;
        }
    }

    /// <summary>The words that lead to a verb: "exo", "exo cat", "exo udf run".</summary>
    private static string NameOf(CommandResult result) =>
        result.Command is RootCommand || result.Parent is not CommandResult parent ? "exo" : $"{NameOf(parent)} {result.Command.Name}";

    private static string? WrongUsageOf(ParseResult parsed)
    {
        // A mistyped option would be taken for a file name. A file whose name begins with a dash is written ./-name.
        string? option = parsed.CommandResult.Children.OfType<ArgumentResult>()
            .SelectMany(argument => argument.Tokens).Select(token => token.Value)
            .Concat(parsed.UnmatchedTokens)
            .FirstOrDefault(token => token.Length > 1 && token[0] == '-');
        return option is not null ? $"unknown option '{option}'"
            : parsed.CommandResult.Command is RootCommand && parsed.UnmatchedTokens is [var verb, ..] ? $"unknown verb '{verb}'"
            : parsed.Errors.Count > 0 ? ParseFailure.Describe(parsed.Errors[0].Message)
            : null;
    }

    private static int Refuse(Command command, string name, string wrong)
    {
        Console.Error.WriteLine($"{name}: {OneLine.Of(wrong)} (see '{name} --help')");
        return command is VerbCommand verb ? verb.UsageExitCode : WrongUsage;
    }

    /// <summary>The grammar.</summary>
    public static RootCommand Build()
    {
        RootCommand root = new("Makes, fills, checks, reads and serves Exo disk images: C-FFS volumes in image files or on block devices.")
        {
            MakeFileSystemVerb.Create(),
            ImportVerb.Create(),
            ExportVerb.Create(),
            ListVerb.Create(),
            TreeVerb.Create(),
            StatVerb.Create(),
            CatVerb.Create(),
            SpaceVerb.Create(),
            MapVerb.Create(),
            ResizeVerb.Create(),
            DefragmentVerb.Create(),
            SnapshotVerb.Create(),
            CopyTreeVerb.Create(),
            CheckVerb.Create(),
            MountVerb.Create(),
            UnmountVerb.Create(),
            ServeVerb.Create(),
            NetworkBlockDeviceVerb.Create(),
            HostVerb.Create(),
            TopVerb.Create(),
            TemplatesVerb.Create(),
            UdfVerb.Create(),
        };
        foreach (HelpOption help in root.Options.OfType<HelpOption>())
        {
            help.Description = "Show this text";
            help.Action = new HelpWithExamples((HelpAction)help.Action!);
        }

        foreach (VersionOption version in root.Options.OfType<VersionOption>())
        {
            version.Description = "Show the version";
        }

        return root;
    }

    /// <summary>What nobody expected.</summary>
    internal static string DescribeBug(Exception error) =>
        $"a bug in exo: {error.GetType().Name}: {OneLine.Of(error.Message)} ({StackTraceVariable}=1 shows where)";
}
