// SPDX-License-Identifier: MIT
using System.Globalization;
using ExOS.Processes;

namespace ExOS.Shell;

/// <summary>
/// The grammar, by recursive descent:
/// <code>
/// list      = and-or { (";" | "&amp;" | line feed) and-or }
/// and-or    = pipeline { ("&amp;&amp;" | "||") pipeline }
/// pipeline  = [ "!" ] command { "|" command }
/// command   = simple | "{" list "}" | "(" list ")" | if | while | until | for, and redirections
/// </code>
/// </summary>
internal sealed class Parser
{
    // So deep may commands be in commands: the parser, and what runs them, is recursive.
    private const int DepthMax = 100;

    private static readonly string[] s_closers = ["then", "else", "elif", "fi", "do", "done", "}"];
    private readonly string _text;
    private readonly List<Token> _tokens;
    private int _at;
    private int _depth;

    private Parser(string text)
    {
        _text = text;
        _tokens = Lexer.Tokens(text);
    }

    /// <exception cref="SyntaxException">The text is not a list of commands, or not a whole one.</exception>
    public static Sequence Parse(string text)
    {
        Parser parser = new(text);
        Sequence list = parser.ParseList();
        return parser.Current.Operator == "" ? list : throw parser.Unexpected();
    }

    private Token Current => _tokens[_at];

    private string? Reserved => Current.Word?.Plain;

    private Sequence ParseList()
    {
        if (++_depth > DepthMax)
        {
            throw new SyntaxException("commands are nested too deeply");
        }

        List<(Node, bool, string)> items = [];
        while (true)
        {
            SkipLines();
            if (Current.Operator is "" or ")" || (Reserved is { } word && s_closers.Contains(word)))
            {
                _depth--;
                return new Sequence(items);
            }

            int start = Current.Start;
            Node node = ParseAndOr();
            string text = _text[start.._tokens[_at - 1].End];
            bool isBackground = Current.Operator == "&";
            items.Add((node, isBackground, text));
            if (Current.Operator is "&" or ";" or "\n")
            {
                _at++;
            }
            else if (Current.Operator is not ("" or ")"))
            {
                throw Unexpected();
            }
        }
    }

    private Node ParseAndOr()
    {
        Node first = ParsePipeline();
        List<(bool, Node)> rest = [];
        while (Current.Operator is "&&" or "||")
        {
            bool isAnd = Current.Operator == "&&";
            _at++;
            SkipLines();
            rest.Add((isAnd, ParsePipeline()));
        }

        return rest.Count == 0 ? first : new AndOr(first, rest);
    }

    private Pipeline ParsePipeline()
    {
        bool isNegated = Reserved == "!";
        _at += isNegated ? 1 : 0;
        List<Command> commands = [ParseCommand()];
        while (Current.Operator == "|")
        {
            _at++;
            SkipLines();
            commands.Add(ParseCommand());
        }

        return new Pipeline(commands, isNegated);
    }

    private Command ParseCommand()
    {
        int start = Current.Start;
        Command command = (Current.Operator, Reserved) switch
        {
            ("(", _) => ParseGroup(")", isSubshell: true),
            (_, "{") => ParseGroup("}", isSubshell: false),
            (_, "if") => ParseIf(),
            (_, "while" or "until") => ParseWhile(),
            (_, "for") => ParseFor(),
            _ => ParseSimple(),
        };
        if (command is not SimpleCommand)
        {
            List<Redirection> redirections = [];
            while (TryParseRedirection() is { } redirection)
            {
                redirections.Add(redirection);
            }

            command = command with { Redirections = redirections };
        }

        return command with { Text = _text[start.._tokens[_at - 1].End] };
    }

    private SimpleCommand ParseSimple()
    {
        List<(string, Word)> assignments = [];
        List<Word> words = [];
        List<Redirection> redirections = [];
        while (true)
        {
            if (TryParseRedirection() is { } redirection)
            {
                redirections.Add(redirection);
            }
            else if (Current.Word is { } word)
            {
                if (words.Count == 0 && TryParseAssignment(word) is { } assignment)
                {
                    assignments.Add(assignment);
                }
                else
                {
                    words.Add(word);
                }

                _at++;
            }
            else
            {
                return assignments.Count + words.Count + redirections.Count > 0 ? new SimpleCommand(assignments, words, redirections, "") : throw Unexpected();
            }
        }
    }

    private static (string Name, Word Value)? TryParseAssignment(Word word)
    {
        if (word.Parts is not [{ Kind: WordPartKind.Literal, IsQuoted: false, Text: var text }, ..] || text.IndexOf('=', StringComparison.Ordinal) is not (> 0 and var equals))
        {
            return null;
        }

        string name = text[..equals];
        return ProcessVariables.IsName(name) ? (name, new Word([new WordPart(WordPartKind.Literal, text[(equals + 1)..], IsQuoted: false), .. word.Parts.Skip(1)])) : null;
    }

    private Redirection? TryParseRedirection()
    {
        int? descriptor = null;
        Token token = Current;
        if (Reserved is { Length: 1 } digit && char.IsAsciiDigit(digit[0]) && _tokens[_at + 1] is { Operator: "<" or ">" or ">>" or ">&" or "<&" } next && next.Start == Current.End)
        {
            descriptor = int.Parse(digit, CultureInfo.InvariantCulture);
            token = next;
        }

        if (token.Operator is not ("<" or ">" or ">>" or ">&" or "<&"))
        {
            return null;
        }

        _at += descriptor is null ? 1 : 2;
        Word target = Current.Word ?? throw Unexpected();
        _at++;
        return new Redirection(descriptor ?? (token.Operator[0] == '<' ? 0 : 1), token.Operator == "<&" ? ">&" : token.Operator, target);
    }

    private Group ParseGroup(string end, bool isSubshell)
    {
        _at++;
        Sequence body = ParseList();
        if ((isSubshell ? Current.Operator : Reserved) != end)
        {
            throw Unexpected();
        }

        _at++;
        return new Group(body, isSubshell, [], "");
    }

    private If ParseIf()
    {
        List<(Node, Node)> branches = [];
        do
        {
            _at++;
            Sequence condition = ParseList();
            Expect("then");
            branches.Add((condition, ParseList()));
        }
        while (Reserved == "elif");
        Node? otherwise = null;
        if (Reserved == "else")
        {
            _at++;
            otherwise = ParseList();
        }

        Expect("fi");
        return new If(branches, otherwise, [], "");
    }

    private While ParseWhile()
    {
        bool isUntil = Reserved == "until";
        _at++;
        Sequence condition = ParseList();
        return new While(condition, ParseBody(), isUntil, [], "");
    }

    private For ParseFor()
    {
        _at++;
        string name = Reserved is { } text && ProcessVariables.IsName(text) ? text : throw Unexpected();
        _at++;
        List<Word> words = [];
        if (Reserved == "in")
        {
            for (_at++; Current.Word is { } word; _at++)
            {
                words.Add(word);
            }
        }
        else
        {
            words.Add(new Word([new WordPart(WordPartKind.Variable, "@", IsQuoted: true)]));
        }

        while (Current.Operator is ";" or "\n")
        {
            _at++;
        }

        return new For(name, words, ParseBody(), [], "");
    }

    private Sequence ParseBody()
    {
        Expect("do");
        Sequence body = ParseList();
        Expect("done");
        return body;
    }

    private void Expect(string word)
    {
        if (Reserved != word)
        {
            throw Unexpected();
        }

        _at++;
    }

    private void SkipLines()
    {
        while (Current.Operator == "\n")
        {
            _at++;
        }
    }

    private SyntaxException Unexpected() => Current.Operator == ""
        ? new SyntaxException("the command has no end", isIncomplete: true)
        : new SyntaxException($"unexpected {(Current.Operator == "\n" ? "end of line" : $"'{_text[Current.Start..Current.End]}'")}");
}
