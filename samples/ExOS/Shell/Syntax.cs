// SPDX-License-Identifier: MIT
namespace ExOS.Shell;

/// <summary>A piece of a word.</summary>
/// <param name="Kind">What it stands for.</param>
/// <param name="Text">The literal text, the variable's name, or the command.</param>
/// <param name="IsQuoted">Whether it stands in quotes: then it is not split into fields, and nothing in it is a pattern.</param>
internal sealed record WordPart(WordPartKind Kind, string Text, bool IsQuoted);

internal enum WordPartKind
{
    Literal,
    Variable,
    Command,
}

/// <summary>A word: pieces without a space between them.</summary>
internal sealed record Word(IReadOnlyList<WordPart> Parts)
{
    /// <summary>The text, if the word is one literal without quotes: an operator or reserved word, or a name.</summary>
    public string? Plain => Parts is [{ Kind: WordPartKind.Literal, IsQuoted: false } only] ? only.Text : null;
}

/// <summary>Where a descriptor leads during a command.</summary>
/// <param name="Descriptor">Which one.</param>
/// <param name="Operator"><c>&lt;</c>, <c>&gt;</c>, <c>&gt;&gt;</c>, or <c>&gt;&amp;</c> (also <c>&lt;&amp;</c>): the word is a descriptor.</param>
/// <param name="Target">A path, or a number.</param>
internal sealed record Redirection(int Descriptor, string Operator, Word Target);

/// <summary>What a parser makes of a text. A command keeps its text: a forked child parses it again, because memory is all that it has of its parent's.</summary>
internal abstract record Node;

/// <summary><c>a; b &amp; c</c>.</summary>
internal sealed record Sequence(IReadOnlyList<(Node Node, bool IsBackground, string Text)> Items) : Node;

/// <summary><c>a &amp;&amp; b || c</c>: each of the rest runs if what ran last has succeeded, or has not.</summary>
internal sealed record AndOr(Node First, IReadOnlyList<(bool IsAnd, Node Node)> Rest) : Node;

/// <summary><c>a | b</c>, <c>! a</c>.</summary>
internal sealed record Pipeline(IReadOnlyList<Command> Commands, bool IsNegated) : Node;

internal abstract record Command(IReadOnlyList<Redirection> Redirections, string Text) : Node;

/// <summary><c>NAME=value command word &gt; file</c>.</summary>
internal sealed record SimpleCommand(IReadOnlyList<(string Name, Word Value)> Assignments, IReadOnlyList<Word> Words, IReadOnlyList<Redirection> Redirections, string Text) : Command(Redirections, Text);

/// <summary><c>{ list; }</c>, or <c>( list )</c> in a process of its own.</summary>
internal sealed record Group(Node Body, bool IsSubshell, IReadOnlyList<Redirection> Redirections, string Text) : Command(Redirections, Text);

/// <summary><c>if a; then b; elif c; then d; else e; fi</c>.</summary>
internal sealed record If(IReadOnlyList<(Node Condition, Node Body)> Branches, Node? Else, IReadOnlyList<Redirection> Redirections, string Text) : Command(Redirections, Text);

/// <summary><c>while a; do b; done</c>.</summary>
internal sealed record While(Node Condition, Node Body, bool IsUntil, IReadOnlyList<Redirection> Redirections, string Text) : Command(Redirections, Text);

/// <summary><c>for x in words; do b; done</c>.</summary>
internal sealed record For(string Name, IReadOnlyList<Word> Words, Node Body, IReadOnlyList<Redirection> Redirections, string Text) : Command(Redirections, Text);

/// <summary>The text is not a command.</summary>
/// <param name="message">Why.</param>
/// <param name="isIncomplete">Whether it may become one when more follows.</param>
internal sealed class SyntaxException(string message, bool isIncomplete = false) : Exception(message)
{
    public bool IsIncomplete => isIncomplete;
}
