// SPDX-License-Identifier: MIT
using System.Text;
using ExOS.Processes;

namespace ExOS.Shell;

/// <summary>A word, an operator, the end of a line, or the end.</summary>
/// <param name="Operator">The operator; a line feed at the end of a line; empty at the end; null: it is a word.</param>
/// <param name="Word">The word.</param>
/// <param name="Start">Where it begins in the text.</param>
/// <param name="End">Where it ends.</param>
internal readonly record struct Token(string? Operator, Word? Word, int Start, int End);

/// <summary>Takes a text apart by the rules of POSIX for quotes, variables, operators and comments.</summary>
internal sealed class Lexer(string text)
{
    private static readonly string[] s_operators = ["&&", "||", ">>", ">&", "<&", ";", "&", "|", "(", ")", "<", ">", "\n"];
    private readonly List<WordPart> _parts = [];
    private readonly StringBuilder _literal = new();
    private int _at;

    public static List<Token> Tokens(string text)
    {
        Lexer lexer = new(text);
        List<Token> tokens = [];
        do
        {
            tokens.Add(lexer.Next());
        }
        while (tokens[^1].Operator != "");
        return tokens;
    }

    private char Current => _at < text.Length ? text[_at] : '\0';

    private Token Next()
    {
        SkipBlanks();
        int start = _at;
        if (_at >= text.Length)
        {
            return new Token("", null, start, start);
        }

        // A number right before < or > says which descriptor: the parser puts the two together.
        foreach (string known in s_operators)
        {
            if (string.CompareOrdinal(text, _at, known, 0, known.Length) == 0)
            {
                _at += known.Length;
                return new Token(known, null, start, _at);
            }
        }

        return new Token(null, ReadWord(), start, _at);
    }

    private void SkipBlanks()
    {
        while (_at < text.Length)
        {
            if (text[_at] is ' ' or '\t' or '\r')
            {
                _at++;
            }
            else if (text[_at] == '\\' && _at + 1 < text.Length && text[_at + 1] == '\n')
            {
                _at += 2;
            }
            else if (text[_at] == '#')
            {
                int feed = text.IndexOf('\n', _at);
                _at = feed < 0 ? text.Length : feed;
            }
            else
            {
                return;
            }
        }
    }

    private Word ReadWord()
    {
        _parts.Clear();
        while (_at < text.Length && !" \t\r\n;&|()<>".Contains(text[_at], StringComparison.Ordinal))
        {
            switch (text[_at])
            {
                case '\'':
                    int end = text.IndexOf('\'', _at + 1);
                    EndLiteral();
                    _parts.Add(new WordPart(WordPartKind.Literal, end < 0 ? throw new SyntaxException("a quote has no end", isIncomplete: true) : text[(_at + 1)..end], IsQuoted: true));
                    _at = end + 1;
                    break;
                case '"':
                    ReadDoubleQuoted();
                    break;
                case '\\' when _at + 1 < text.Length:
                    EndLiteral();
                    _parts.Add(new WordPart(WordPartKind.Literal, text.Substring(_at + 1, 1), IsQuoted: true));
                    _at += 2;
                    break;
                case '\\':
                    throw new SyntaxException("the line goes on", isIncomplete: true);
                case '$':
                    ReadDollar(isQuoted: false);
                    break;
                default:
                    _literal.Append(text[_at++]);
                    break;
            }
        }

        EndLiteral();
        return new Word([.. _parts]);
    }

    private void ReadDoubleQuoted()
    {
        EndLiteral();
        _at++;
        int before = _parts.Count;
        while (Current != '"')
        {
            if (_at >= text.Length)
            {
                throw new SyntaxException("a quote has no end", isIncomplete: true);
            }

            if (Current == '$')
            {
                ReadDollar(isQuoted: true);
                continue;
            }

            if (Current == '\\' && _at + 1 < text.Length && "$\"\\\n".Contains(text[_at + 1], StringComparison.Ordinal))
            {
                _at++;
            }

            _literal.Append(text[_at++]);
        }

        _at++;
        EndLiteral(isQuoted: true);
        if (_parts.Count == before)
        {
            _parts.Add(new WordPart(WordPartKind.Literal, "", IsQuoted: true));
        }
    }

    private void ReadDollar(bool isQuoted)
    {
        char next = _at + 1 < text.Length ? text[_at + 1] : '\0';
        if (next == '(')
        {
            EndLiteral(isQuoted);
            int end = EndOfCommand(_at + 2);
            _parts.Add(new WordPart(WordPartKind.Command, text[(_at + 2)..end], isQuoted));
            _at = end + 1;
        }
        else if (next == '{')
        {
            EndLiteral(isQuoted);
            int end = text.IndexOf('}', _at);
            string name = end < 0 ? throw new SyntaxException("${ has no end", isIncomplete: true) : text[(_at + 2)..end];
            _parts.Add(new WordPart(WordPartKind.Variable, IsParameter(name) ? name : throw new SyntaxException($"{name}: not a variable's name"), isQuoted));
            _at = end + 1;
        }
        else if (char.IsAsciiLetter(next) || next == '_')
        {
            EndLiteral(isQuoted);
            int end = _at + 1;
            while (end < text.Length && (char.IsAsciiLetterOrDigit(text[end]) || text[end] == '_'))
            {
                end++;
            }

            _parts.Add(new WordPart(WordPartKind.Variable, text[(_at + 1)..end], isQuoted));
            _at = end;
        }
        else if (IsParameter(next.ToString()))
        {
            EndLiteral(isQuoted);
            _parts.Add(new WordPart(WordPartKind.Variable, next.ToString(), isQuoted));
            _at += 2;
        }
        else
        {
            _literal.Append(text[_at++]);
        }
    }

    private static bool IsParameter(string name) => ProcessVariables.IsName(name) || name is "?" or "$" or "!" or "#" or "@" or "*" || (name.Length > 0 && name.All(char.IsAsciiDigit));

    /// <summary>Where the bracket closes that opens a command in a word; quotes and brackets inside are passed over.</summary>
    private int EndOfCommand(int start)
    {
        int depth = 1;
        char quote = '\0';
        for (int i = start; i < text.Length; i++)
        {
            char c = text[i];
            if (quote != '\0')
            {
                i += c == '\\' && quote == '"' ? 1 : 0;
                quote = c == quote ? '\0' : quote;
            }
            else if (c is '\'' or '"')
            {
                quote = c;
            }
            else if (c == '\\')
            {
                i++;
            }
            else
            {
                depth += c == '(' ? 1 : c == ')' ? -1 : 0;
                if (depth == 0)
                {
                    return i;
                }
            }
        }

        throw new SyntaxException("$( has no end", isIncomplete: true);
    }

    private void EndLiteral(bool isQuoted = false)
    {
        if (_literal.Length > 0)
        {
            _parts.Add(new WordPart(WordPartKind.Literal, _literal.ToString(), isQuoted));
            _literal.Clear();
        }
    }
}
