// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using CsCheck;
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah.Tests.Http;

public partial class AcceptedCodingsTests
{
    // br, zstd, gzip, identity in thousandths.
    private static string Read(params string[] lines)
    {
        var accepted = new AcceptedCodings();
        foreach (string line in lines)
        {
            if (!accepted.TryAdd(Encoding.Latin1.GetBytes(line)))
            {
                return "malformed";
            }
        }

        return string.Join(' ', ContentCoding.All.Select(coding => accepted.QualityOf(coding)).Append(accepted.IdentityQuality));
    }

    [Theory]
    [InlineData("", "0 0 0 0")]
    [InlineData("gzip", "0 0 1000 0")]
    [InlineData("GZip", "0 0 1000 0")]
    [InlineData("x-gzip", "0 0 1000 0")]
    [InlineData("gzip, deflate, br, zstd", "1000 1000 1000 0")]
    [InlineData("deflate", "0 0 0 0")]
    [InlineData("compress, gzip", "0 0 1000 0")]
    [InlineData("*", "1000 1000 1000 1000")]
    [InlineData("*;q=0", "0 0 0 0")]
    [InlineData("br;q=0.5, *;q=0.1", "500 100 100 100")]
    [InlineData("br, *;q=0", "1000 0 0 0")]
    [InlineData("gzip;q=1.0, identity; q=0.5, *;q=0", "0 0 1000 500")]
    [InlineData("identity;q=0", "0 0 0 0")]
    [InlineData("gzip;q=0", "0 0 0 0")]
    [InlineData("gzip;q=0.", "0 0 0 0")]
    [InlineData("gzip;q=1.", "0 0 1000 0")]
    [InlineData("gzip;q=1.000", "0 0 1000 0")]
    [InlineData("gzip;q=0.001", "0 0 1 0")]
    [InlineData("gzip;Q=0.12", "0 0 120 0")]
    [InlineData("gzip\t ; \tq=0.999 ,\t, br", "1000 0 999 0")]
    [InlineData("gzip;q=0, gzip", "0 0 0 0")]
    [InlineData("gzip, x-gzip;q=0.2", "0 0 200 0")]
    [InlineData(",,,", "0 0 0 0")]
    [InlineData("brotli, zst, gz", "0 0 0 0")]
    [InlineData("gzip;q=1.001", "malformed")]
    [InlineData("gzip;q=2", "malformed")]
    [InlineData("gzip;q=0.0001", "malformed")]
    [InlineData("gzip;q=-0", "malformed")]
    [InlineData("gzip;q=.5", "malformed")]
    [InlineData("gzip;q=", "malformed")]
    [InlineData("gzip;q", "malformed")]
    [InlineData("gzip;", "malformed")]
    [InlineData("gzip; q =1", "malformed")]
    [InlineData("gzip;q= 1", "malformed")]
    [InlineData("gzip;q=1;q=0", "malformed")]
    [InlineData("gzip;level=9", "malformed")]
    [InlineData("gzip;q=0,5", "0 0 0 0")]
    [InlineData("gzip br", "malformed")]
    [InlineData("\"gzip\"", "malformed")]
    [InlineData(";q=1", "malformed")]
    [InlineData("gzip;q=0.5\u00e4", "malformed")]
    [InlineData("g\u00e4zip", "malformed")]
    [InlineData("gzip;q=0:5", "malformed")]
    public void A_field_value_is_read(string value, string expected) => Assert.Equal(expected, Read(value));

    [Fact]
    public void Several_lines_are_one_list() => Assert.Equal("1000 0 200 0", Read("gzip;q=0.2", "", "br"));

    [GeneratedRegex(@"^(?<coding>[!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:[ \t]*;[ \t]*[qQ]=(?<q>0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?$")]
    private static partial Regex Element();

    // By the grammar and the rules, without a thought for speed.
    private static string Model(string value)
    {
        var said = new Dictionary<string, int>();
        foreach (string element in value.Split(',').Select(element => element.Trim(' ', '\t')).Where(element => element.Length > 0))
        {
            Match match = Element().Match(element);
            if (!match.Success)
            {
                return "malformed";
            }

            string coding = match.Groups["coding"].Value.ToLowerInvariant();
            coding = coding == "x-gzip" ? "gzip" : coding;
            int quality = match.Groups["q"].Success ? (int)(decimal.Parse(match.Groups["q"].Value.TrimEnd('.'), CultureInfo.InvariantCulture) * 1000) : 1000;
            said[coding] = Math.Min(quality, said.GetValueOrDefault(coding, quality));
        }

        return string.Join(' ', new[] { "br", "zstd", "gzip", "identity" }.Select(coding => said.GetValueOrDefault(coding, said.GetValueOrDefault("*", 0))));
    }

    private static readonly string[] Pieces =
    [
        "gzip", "br", "zstd", "identity", "*", "x-gzip", "deflate", "GZIP", ",", ", ", " ,\t", ";", "; ", ";q=", ";Q=", "q=", "0", "1", "0.5", "0.001", "1.000", "1.0000", ".", "=", " ", "\t", "\"", "q", "a", "\u00ff",
    ];

    [Fact]
    public void Values_made_of_the_grammars_pieces_are_read_as_the_grammar_says() =>
        Gen.Int[0, Pieces.Length - 1].Array[0, 14].Select(picked => string.Concat(picked.Select(index => Pieces[index]))).Sample(value => Assert.Equal(Model(value), Read(value)), iter: 100_000);

    [Fact]
    public void Any_bytes_are_read_or_refused_as_the_grammar_says() =>
        Gen.OneOf(Gen.Char[' ', '~'], Gen.Char['\u0080', '\u00ff'], Gen.Const('\t')).Array[0, 40].Sample(value => Assert.Equal(Model(new string(value)), Read(new string(value))), iter: 100_000);
}
