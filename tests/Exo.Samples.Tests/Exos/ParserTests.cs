// SPDX-License-Identifier: MIT
using CsCheck;
using ExOS.Shell;

namespace Exo.Samples.Tests.Exos;

/// <summary>The shell's grammar and patterns.</summary>
public sealed class ParserTests
{
    [Theory]
    [InlineData("if true; then")]
    [InlineData("echo 'a")]
    [InlineData("echo \"a")]
    [InlineData("echo $(ls")]
    [InlineData("a &&")]
    [InlineData("a |")]
    [InlineData("( a; b")]
    [InlineData("for x in 1 2; do")]
    [InlineData("echo \\")]
    public void What_may_still_become_a_command_is_incomplete(string text) =>
        Assert.True(Assert.Throws<SyntaxException>(() => Parser.Parse(text)).IsIncomplete);

    [Theory]
    [InlineData("a ;; b")]
    [InlineData("| a")]
    [InlineData("a ) b")]
    [InlineData("fi")]
    [InlineData("&& a")]
    [InlineData("echo >\n")]
    [InlineData("for 1 in a; do b; done")]
    [InlineData("echo ${a b}")]
    public void What_can_never_be_one_is_an_error(string text) =>
        Assert.False(Assert.Throws<SyntaxException>(() => Parser.Parse(text)).IsIncomplete);

    private static readonly string[] s_pieces =
    [
        "if", "then", "fi", "while", "do", "done", "for", "in", "a", " ", "\n", ";", "&", "|", "&&", "(", ")", "{", "}", "'", "\"", "$", "$(", "${", "\\", "<", ">", "2>", "=", "x=", "#", "!", "*", "[",
    ];

    [Fact]
    public void Any_text_is_parsed_or_refused() => Gen.Int[0, s_pieces.Length - 1].List[0, 20].Sample(
        pieces =>
        {
            try
            {
                _ = Parser.Parse(string.Concat(pieces.Select(piece => s_pieces[piece])));
            }
            catch (SyntaxException)
            {
                // A refusal is an answer.
            }
        },
        iter: 20_000,
        threads: 1);

    [Fact]
    public void Depth_is_bounded_and_length_is_not()
    {
        Assert.False(Assert.Throws<SyntaxException>(() => Parser.Parse(new string('(', 100_000))).IsIncomplete);
        Assert.Equal("[0]\n", ExosBench.Script(string.Concat(Enumerable.Repeat("test 1 && ", 20_000)) + "test 1"));
    }

    [Fact]
    public void A_commands_own_text_means_the_same() =>
        Assert.Equal("a 'b c' > d", ((Pipeline)((AndOr)Parser.Parse(" x && a 'b c' > d ; y").Items[0].Node).Rest[0].Node).Commands[0].Text);

    [Theory]
    [InlineData("*", "abc", true)]
    [InlineData("a*c", "abbc", true)]
    [InlineData("a*c", "abbd", false)]
    [InlineData("?b", "ab", true)]
    [InlineData("[a-c]x", "bx", true)]
    [InlineData("[!a-c]x", "bx", false)]
    [InlineData("\\*", "*", true)]
    [InlineData("\\*", "a", false)]
    [InlineData("[", "[", true)]
    [InlineData("*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false)]
    public void Patterns_match_names(string pattern, string name, bool matches) => Assert.Equal(matches, Glob.IsMatch(pattern, name));
}
