// SPDX-License-Identifier: MIT
using System.Globalization;
using ExOS.Processes;

namespace ExOS.Shell;

/// <summary>
/// What a shell leaves in its memory for a child that it is about to fork: the child finds there what it is to run, and what of its parent's state is not in variables.
/// </summary>
/// <param name="Text">The command.</param>
/// <param name="Input">A descriptor that becomes standard input; -1: as it is.</param>
/// <param name="Output">A descriptor that becomes standard output; -1: as it is.</param>
/// <param name="Group">The process group that it joins: 0: one of its own; -1: the parent's.</param>
/// <param name="IsBackground">Whether nobody waits for it.</param>
/// <param name="ShellId">What <c>$$</c> stands for.</param>
/// <param name="LastStatus">What <c>$?</c> stands for.</param>
/// <param name="LastBackground">What <c>$!</c> stands for; 0: nothing.</param>
/// <param name="Parameters">What <c>$0</c>, <c>$1</c>, … stand for.</param>
internal sealed record ChildTask(string Text, int Input, int Output, int Group, bool IsBackground, int ShellId, int LastStatus, int LastBackground, IReadOnlyList<string> Parameters)
{
    public void Leave(ProcessMemory memory)
    {
        string[] fields =
        [
            Text, Number(Input), Number(Output), Number(Group), IsBackground ? "1" : "0", Number(ShellId), Number(LastStatus), Number(LastBackground), .. Parameters,
        ];
        if (fields.Any(field => field.Contains('\0', StringComparison.Ordinal)))
        {
            throw new ExosException(Errno.Invalid);
        }

        memory.WriteText(ProcessMemory.TaskAt, string.Join('\0', fields));
    }

    public static ChildTask Find(ProcessMemory memory)
    {
        string[] fields = memory.ReadText(ProcessMemory.TaskAt).Split('\0');
        return new ChildTask(fields[0], Number(fields[1]), Number(fields[2]), Number(fields[3]), fields[4] == "1", Number(fields[5]), Number(fields[6]), Number(fields[7]), fields[8..]);
    }

    private static string Number(int number) => number.ToString(CultureInfo.InvariantCulture);

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);
}
