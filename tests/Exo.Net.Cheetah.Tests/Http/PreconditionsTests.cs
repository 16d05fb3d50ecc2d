// SPDX-License-Identifier: MIT
using System.Text;
using CsCheck;
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah.Tests.Http;

public class PreconditionsTests
{
    private const long Now = 1_800_000_000;
    private const long Modified = 1_700_000_000;
    private const string Tag = "\"v1\"";

    private static readonly RequestLimits Limits = new(4096, 8192, 100);

    private static string Date(long unixSeconds)
    {
        byte[] text = new byte[HttpDate.LengthBytes];
        HttpDate.Format(unixSeconds, text);
        return Encoding.ASCII.GetString(text);
    }

    private static (PreconditionOutcome Outcome, bool Range) Evaluate(params IEnumerable<string> fields)
    {
        byte[] request = Encoding.Latin1.GetBytes("GET / HTTP/1.1\r\nHost: h\r\n" + string.Concat(fields.Select(f => f + "\r\n")) + "\r\n");
        var parser = default(RequestParser);
        Assert.Equal(ParseStatus.Complete, parser.Advance(request, Limits));
        byte[] tag = Encoding.ASCII.GetBytes(Tag);
        return (Preconditions.Evaluate(parser.Head, request, tag, Modified, Now),
            Preconditions.RangeApplies(parser.Head, request, tag, Modified, Now));
    }

    [Theory]
    [InlineData("\"v1\"", true, true)]
    [InlineData("W/\"v1\"", true, false)]
    [InlineData("*", true, true)]
    [InlineData("\"a\", \"v1\"", true, true)]
    [InlineData("\"a\",, W/\"v1\" ,\"c\"", true, false)]
    [InlineData("\"a,v1\", \"b\"", false, false)]
    [InlineData("\"v1", false, false)]
    [InlineData("v1", false, false)]
    [InlineData("", false, false)]
    [InlineData("\"V1\"", false, false)]
    [InlineData("\"a\" \"v1\"", false, false)]
    [InlineData("*, \"v1\"", false, false)]
    public void Lists_of_tags_compare_weakly_and_strongly(string list, bool weak, bool strong)
    {
        byte[] tag = Encoding.ASCII.GetBytes(Tag);
        Assert.Equal(weak, Preconditions.ListMatches(Encoding.ASCII.GetBytes(list), tag, weak: true));
        Assert.Equal(strong, Preconditions.ListMatches(Encoding.ASCII.GetBytes(list), tag, weak: false));
    }

    [Fact]
    public void A_repeated_list_field_counts_as_one_list()
    {
        Assert.Equal(PreconditionOutcome.NotModified, Evaluate("If-None-Match: \"a\"", "X: y", "if-none-match:\"v1\"").Outcome);
        Assert.Equal(PreconditionOutcome.Proceed, Evaluate("If-None-Match: \"a\"", "If-None-Match: \"b\"", "X: \"v1\"").Outcome);
        Assert.Equal(PreconditionOutcome.Proceed, Evaluate("If-Match: \"a\"", "If-Match: \"v1\"").Outcome);
    }

    [Fact]
    public void If_Range_wants_the_same_strong_validator()
    {
        Assert.True(Evaluate().Range);
        Assert.True(Evaluate("If-Range: \"v1\"").Range);
        Assert.False(Evaluate("If-Range: W/\"v1\"").Range);
        Assert.False(Evaluate("If-Range: \"v2\"").Range);
        Assert.True(Evaluate("If-Range: " + Date(Modified)).Range);
        Assert.False(Evaluate("If-Range: " + Date(Modified + 1)).Range);
        Assert.False(Evaluate("If-Range: " + Date(Modified - 1)).Range);
        Assert.False(Evaluate("If-Range: nonsense").Range);
        Assert.False(Evaluate("If-Range: \"v1\"", "If-Range: \"v1\"").Range);
    }

    // RFC 9110 section 13.2.2, read aloud.
    private static PreconditionOutcome Model(bool? ifMatch, int? unmodified, bool? ifNoneMatch, int? modified)
    {
        if (ifMatch is not null)
        {
            if (!ifMatch.Value)
            {
                return PreconditionOutcome.Failed;
            }
        }
        else if (unmodified is not null && Modified > Modified + unmodified)
        {
            return PreconditionOutcome.Failed;
        }

        if (ifNoneMatch is not null)
        {
            return ifNoneMatch.Value ? PreconditionOutcome.NotModified : PreconditionOutcome.Proceed;
        }

        return modified is not null && Modified <= Modified + modified ? PreconditionOutcome.NotModified : PreconditionOutcome.Proceed;
    }

    [Fact]
    public void Any_mix_is_decided_in_the_order_of_the_RFC() =>
        Gen.Select(Gen.Bool.Nullable(), Gen.Int[-2, 2].Nullable(), Gen.Bool.Nullable(), Gen.Int[-2, 2].Nullable(), Gen.Int[0, 23])
            .Sample((ifMatch, unmodified, ifNoneMatch, modified, order) =>
            {
                List<string> fields =
                [
                    .. ifMatch is { } m ? [$"If-Match: {(m ? "\"x\", " + Tag : "\"x\"")}"] : Array.Empty<string>(),
                    .. unmodified is { } u ? [$"If-Unmodified-Since: {Date(Modified + u)}"] : Array.Empty<string>(),
                    .. ifNoneMatch is { } n ? [$"If-None-Match: {(n ? "W/" + Tag : "\"x\"")}"] : Array.Empty<string>(),
                    .. modified is { } s ? [$"If-Modified-Since: {Date(Modified + s)}"] : Array.Empty<string>(),
                ];
                Assert.Equal(
                    Model(ifMatch, unmodified, ifNoneMatch, modified),
                    Evaluate(fields.OrderBy(f => HashCode.Combine(order, f.Length))).Outcome);
            });

    [Theory]
    [InlineData("Sun, 06 Nov 1994 08:49:37 GMT", 784111777L)]
    [InlineData("Sunday, 06-Nov-94 08:49:37 GMT", 784111777L)]
    [InlineData("Sun Nov  6 08:49:37 1994", 784111777L)]
    [InlineData("Thu, 01 Jan 1970 00:00:00 GMT", 0L)]
    [InlineData("Tuesday, 29-Feb-28 00:00:00 GMT", 1835395200L)]
    [InlineData("Wed, 31 Dec 2008 23:59:60 GMT", 1230768000L)]
    [InlineData("Sun, 06 Nov 1994 08:49:37 UTC", null)]
    [InlineData("Sun, 6 Nov 1994 08:49:37 GMT", null)]
    [InlineData("Sun, 31 Feb 1994 08:49:37 GMT", null)]
    [InlineData("Sun, 06 Nov 1994 24:00:00 GMT", null)]
    [InlineData("Sun, 06 nov 1994 08:49:37 GMT", null)]
    [InlineData("Sun, 06 Nov 0000 08:49:37 GMT", null)]
    [InlineData("1994-11-06T08:49:37Z", null)]
    [InlineData("", null)]
    [InlineData("0", null)]
    public void Dates_are_read_in_three_forms(string text, long? expected) =>
        Assert.Equal(expected, HttpDate.TryParse(Encoding.ASCII.GetBytes(text), Now, out long seconds) ? seconds : null);

    [Fact]
    public void Any_second_survives_writing_and_reading() =>
        Gen.Long[-62135596800, 253402300799].Sample(seconds =>
        {
            byte[] text = Encoding.ASCII.GetBytes(Date(seconds));
            Assert.Equal(DateTimeOffset.FromUnixTimeSeconds(seconds).ToString("R"), Encoding.ASCII.GetString(text));
            Assert.True(HttpDate.TryParse(text, Now, out long read));
            Assert.Equal(seconds, read);
        });

    [Fact]
    public void Any_bytes_are_survived_as_a_date() =>
        Gen.OneOf(Gen.Byte.Array[0, 40], Gen.Select(Gen.Int[0, 28], Gen.Byte).Select((at, b) =>
        {
            byte[] text = Encoding.ASCII.GetBytes(Date(Modified));
            text[at] = b;
            return text;
        })).Sample(text => Assert.True(!HttpDate.TryParse(text, Now, out long seconds) || seconds <= 253402300800), iter: 5000);
}
