// SPDX-License-Identifier: MIT
namespace ExOS.Processes;

/// <summary>
/// Variables of a process, in its memory, so that a forked child has its own: one text of lines <c>x NAME=VALUE</c> (exported) or <c>- NAME=VALUE</c>. Line feeds and backslashes of values are escaped.
/// </summary>
internal sealed class ProcessVariables(ProcessMemory memory)
{
    public string? this[string name]
    {
        get => All().FirstOrDefault(variable => variable.Name == name).Value;
        set => Set(name, value, export: null);
    }

    public static bool IsName(string text) =>
        text.Length > 0 && !char.IsAsciiDigit(text[0]) && text.All(c => char.IsAsciiLetterOrDigit(c) || c == '_');

    public void Export(string name) => Set(name, this[name] ?? "", export: true);

    public List<(string Name, string? Value, bool IsExported)> All()
    {
        List<(string, string?, bool)> variables = [];
        foreach (string line in memory.ReadText(ProcessMemory.VariablesAt).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            int equals = line.IndexOf('=', StringComparison.Ordinal);
            variables.Add((line[2..equals], Unescape(line[(equals + 1)..]), line[0] == 'x'));
        }

        return variables;
    }

    /// <summary>What a program that is executed gets.</summary>
    public void CopyExported(ProcessVariables to) => to.Store(All().Where(variable => variable.IsExported));

    private void Set(string name, string? value, bool? export)
    {
        List<(string Name, string? Value, bool IsExported)> variables = All();
        bool wasExported = variables.Exists(variable => variable.Name == name && variable.IsExported);
        _ = variables.RemoveAll(variable => variable.Name == name);
        if (value is not null)
        {
            variables.Add((name, value, export ?? wasExported));
        }

        Store(variables);
    }

    private void Store(IEnumerable<(string Name, string? Value, bool IsExported)> variables) =>
        memory.WriteText(ProcessMemory.VariablesAt, string.Concat(variables.Select(variable =>
            $"{(variable.IsExported ? 'x' : '-')} {variable.Name}={Escape(variable.Value!)}\n")));

    private static string Escape(string value) => value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);

    // Two backslashes are one, and no part of anything else.
    private static string Unescape(string value) => string.Join('\\', value.Split("\\\\").Select(piece => piece.Replace("\\n", "\n", StringComparison.Ordinal)));
}
