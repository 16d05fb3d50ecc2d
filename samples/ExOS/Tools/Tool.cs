// SPDX-License-Identifier: MIT
using System.Text;
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>What the tools have in common: options, complaints, and going through the files they are given.</summary>
internal static class Tool
{
    /// <summary>Splits the arguments into one-letter options (<c>-la</c>, and <c>-n 5</c> for those that take a value) and the rest.</summary>
    /// <param name="self">The process.</param>
    /// <param name="flags">Letters that may stand alone.</param>
    /// <param name="valued">Letters that take a value.</param>
    /// <exception cref="UsageException">Another letter, or a value is missing.</exception>
    public static (Dictionary<char, string> Options, List<string> Operands) Parse(Process self, string flags = "", string valued = "")
    {
        Dictionary<char, string> options = [];
        List<string> operands = [];
        bool isEnded = false;
        for (int i = 1; i < self.Arguments.Count; i++)
        {
            string argument = self.Arguments[i];
            if (isEnded || argument.Length < 2 || argument[0] != '-')
            {
                operands.Add(argument);
            }
            else if (argument == "--")
            {
                isEnded = true;
            }
            else
            {
                for (int c = 1; c < argument.Length; c++)
                {
                    if (flags.Contains(argument[c], StringComparison.Ordinal))
                    {
                        options[argument[c]] = "";
                    }
                    else if (valued.Contains(argument[c], StringComparison.Ordinal))
                    {
                        options[argument[c]] = c + 1 < argument.Length ? argument[(c + 1)..] : ++i < self.Arguments.Count ? self.Arguments[i] : throw new UsageException($"option -{argument[c]} needs a value");
                        break;
                    }
                    else
                    {
                        throw new UsageException($"unknown option -{argument[c]}");
                    }
                }
            }
        }

        return (options, operands);
    }

    public static ValueTask ComplainAsync(Process self, string text) => self.Files.WriteAsync(2, Encoding.UTF8.GetBytes($"{self.Name}: {text}\n"));

    /// <summary>Does something with each operand; a failure is told, and the next one follows.</summary>
    /// <returns>The exit status: 1 if one failed.</returns>
    public static async ValueTask<int> ForEachAsync(Process self, IEnumerable<string> operands, Func<string, ValueTask> work)
    {
        int status = 0;
        foreach (string operand in operands)
        {
            try
            {
                await work(operand);
            }
            catch (Exception error) when (error is IOException and not ExosException { Errno: Errno.BrokenPipe or Errno.Interrupted })
            {
                await ComplainAsync(self, $"{operand}: {ExosException.Text(error)}");
                status = 1;
            }
        }

        return status;
    }

    /// <summary>As <see cref="ForEachAsync"/> with each file opened for reading; standard input when there is none, and for <c>-</c>.</summary>
    public static ValueTask<int> ForEachInputAsync(Process self, IReadOnlyList<string> operands, Func<string, int, ValueTask> work) =>
        ForEachAsync(self, operands.Count == 0 ? ["-"] : operands, async name =>
        {
            int descriptor = name == "-" ? 0 : await self.Files.OpenAsync(name, OpenFlags.Read);
            try
            {
                await work(name, descriptor);
            }
            finally
            {
                if (descriptor != 0)
                {
                    self.Files.Close(descriptor);
                }
            }
        });

    /// <summary>Where a copy of a file goes: into the target if that is a directory.</summary>
    public static string Destination(Process self, string source, string target) =>
        self.Files.TryStat(target) is { IsDirectory: true } ? Join(target, BaseName(source)) : target;

    public static string Join(string directory, string name) => directory.EndsWith('/') ? directory + name : $"{directory}/{name}";

    public static string BaseName(string path) => path.TrimEnd('/') is { Length: > 0 } trimmed ? trimmed[(trimmed.LastIndexOf('/') + 1)..] : "/";
}

/// <summary>A tool is used the wrong way: it ends with status 2.</summary>
internal sealed class UsageException(string message) : Exception(message);
