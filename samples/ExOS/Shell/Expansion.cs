// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using ExOS.Processes;

namespace ExOS.Shell;

/// <summary>Makes fields of words: a tilde, variables, the output of commands; then splitting at blanks what was not quoted, and patterns.</summary>
internal sealed class Expansion(Process self, Interpreter shell)
{
    /// <summary>The fields of words.</summary>
    public async ValueTask<List<string>> FieldsAsync(IEnumerable<Word> words)
    {
        List<string> fields = [];
        foreach (Word word in words)
        {
            foreach (string pattern in await PatternsAsync(word))
            {
                fields.AddRange(Glob.Expand(self.Files, pattern));
            }
        }

        return fields;
    }

    /// <summary>A word as one text, neither split nor taken as a pattern: values of assignments.</summary>
    public async ValueTask<string> TextAsync(Word word)
    {
        StringBuilder text = new();
        foreach (WordPart part in WithTilde(word))
        {
            text.Append(part.Kind == WordPartKind.Literal ? part.Text : await ValueAsync(part));
        }

        return text.ToString();
    }

    /// <summary>The fields of a word, in which quoted pattern characters have a backslash.</summary>
    private async ValueTask<List<string>> PatternsAsync(Word word)
    {
        List<string> fields = [];
        StringBuilder? field = null;
        foreach (WordPart part in WithTilde(word))
        {
            if (part is { Kind: WordPartKind.Variable, Text: "@", IsQuoted: true })
            {
                // As many fields as there are parameters; the first and the last join what stands around them.
                for (int i = 1; i < shell.Parameters.Count; i++)
                {
                    if (i > 1)
                    {
                        fields.Add(field!.ToString());
                        field = null;
                    }

                    (field ??= new StringBuilder()).Append(Glob.Escape(shell.Parameters[i]));
                }
            }
            else if (part.IsQuoted || part.Kind == WordPartKind.Literal)
            {
                string text = part.Kind == WordPartKind.Literal ? part.Text : await ValueAsync(part);
                (field ??= new StringBuilder()).Append(part.IsQuoted ? Glob.Escape(text) : text);
            }
            else
            {
                foreach (char c in await ValueAsync(part))
                {
                    if (c is ' ' or '\t' or '\n')
                    {
                        if (field is not null)
                        {
                            fields.Add(field.ToString());
                            field = null;
                        }
                    }
                    else
                    {
                        (field ??= new StringBuilder()).Append(c);
                    }
                }
            }
        }

        if (field is not null)
        {
            fields.Add(field.ToString());
        }

        return fields;
    }

    private IEnumerable<WordPart> WithTilde(Word word) =>
        word.Parts is [{ Kind: WordPartKind.Literal, IsQuoted: false, Text: var text }, ..] && (text == "~" || text.StartsWith("~/", StringComparison.Ordinal))
            ? [new WordPart(WordPartKind.Literal, self.Variables["HOME"] ?? "~", IsQuoted: true), new WordPart(WordPartKind.Literal, text[1..], IsQuoted: false), .. word.Parts.Skip(1)]
            : word.Parts;

    private async ValueTask<string> ValueAsync(WordPart part) => part.Kind == WordPartKind.Command ? await shell.OutputOfAsync(part.Text) : part.Text switch
    {
        "?" => shell.LastStatus.ToString(CultureInfo.InvariantCulture),
        "$" => shell.ShellId.ToString(CultureInfo.InvariantCulture),
        "!" => shell.LastBackground == 0 ? "" : shell.LastBackground.ToString(CultureInfo.InvariantCulture),
        "#" => (shell.Parameters.Count - 1).ToString(CultureInfo.InvariantCulture),
        "@" or "*" => string.Join(' ', shell.Parameters.Skip(1)),
        var name when char.IsAsciiDigit(name[0]) => int.TryParse(name, CultureInfo.InvariantCulture, out int number) && number < shell.Parameters.Count ? shell.Parameters[number] : "",
        var name => self.Variables[name] ?? "",
    };
}
