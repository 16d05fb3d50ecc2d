// SPDX-License-Identifier: MIT
using System.Text;
using CsCheck;
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah.Tests.Http;

public class RequestParserTests
{
    private static readonly RequestLimits Limits = new(RequestLineBytes: 200, HeadBytes: 1000, FieldCount: 10);

    private static byte[] Bytes(string text) => Encoding.Latin1.GetBytes(text);

    // One line that says all the parser knows: the thing two runs are compared by.
    private static string Describe(in RequestParser parser, ReadOnlySpan<byte> request)
    {
        if (parser.Status != ParseStatus.Complete)
        {
            return parser.Status == ParseStatus.Refused ? $"refused {parser.RefusalStatus}" : "more";
        }

        RequestHead h = parser.Head;
        string Of(FieldSlot slot, ReadOnlySpan<byte> r) => slot.Count == 0 ? "-" : $"{slot.Count}:{Encoding.Latin1.GetString(slot.In(r))}";
        return $"{h.Method} {h.Form} 1.{(h.IsHttp11 ? 1 : 0)} head={h.LengthBytes} path={Of(h.Path, request)} query={Of(h.Query, request)} "
            + $"keep={h.KeepsConnection} body={h.ContentLengthBytes}/{h.IsChunked} host={Of(h.Host, request)} range={Of(h.Range, request)} "
            + $"inm={Of(h.IfNoneMatch, request)} im={Of(h.IfMatch, request)} expect={h.ExpectsContinue}/{h.ExpectsUnknown}";
    }

    private static string Parse(string text)
    {
        byte[] bytes = Bytes(text);
        var parser = default(RequestParser);
        parser.Advance(bytes, Limits);
        return Describe(parser, bytes);
    }

    [Fact]
    public void A_plain_request_is_read() => Assert.Equal(
        "Get Origin 1.1 head=60 path=1:/a/b query=1:?x=1 keep=True body=0/False host=1:h:80 range=- inm=1:\"x\" im=- expect=False/False",
        Parse("GET /a/b?x=1 HTTP/1.1\r\nHost: h:80\r\nIf-None-Match:  \"x\" \t\r\n\r\nGET"));

    [Theory]
    [InlineData("HEAD / HTTP/1.0\r\n\r\n", "Head Origin 1.0", "keep=False")]
    [InlineData("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "Get Origin 1.0", "keep=True")]
    [InlineData("GET / HTTP/1.1\r\nHost: a\r\nConnection: Foo , CLOSE\r\n\r\n", "Get Origin 1.1", "keep=False")]
    [InlineData("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", "Get Origin 1.1", "keep=False")]
    [InlineData("GET / HTTP/1.7\r\nHost: a\r\n\r\n", "Get Origin 1.1", "keep=True")]
    [InlineData("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "Get Origin", "head=29")]
    [InlineData("GET http://h:8080/x?y HTTP/1.1\r\nHost: other\r\n\r\n", "Get Absolute", "path=1:/x query=1:?y")]
    [InlineData("GET HTTPS://h HTTP/1.1\r\nHost: h\r\n\r\n", "Get Absolute", "path=1: query=1: ")]
    [InlineData("GET http://[::1]:80/ HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "Get Absolute", "host=1:[::1]:80")]
    [InlineData("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "KnownButNotAllowed Asterisk", "path=-")]
    [InlineData("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", "KnownButNotAllowed Authority", "path=-")]
    [InlineData("BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n", "Unknown Origin", "path=1:/pot")]
    [InlineData("get / HTTP/1.1\r\nHost: h\r\n\r\n", "Unknown Origin", "path=1:/")]
    [InlineData("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", "KnownButNotAllowed", "body=5/False")]
    [InlineData("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0005\r\n\r\nhello", "KnownButNotAllowed", "body=5/False")]
    [InlineData("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", "KnownButNotAllowed", "body=0/True")]
    [InlineData("GET / HTTP/1.1\r\nHost:\r\n\r\n", "Get", "host=1: ")]
    [InlineData("GET / HTTP/1.1\r\nhOsT: h\r\n\r\n", "Get", "host=1:h")]
    [InlineData("GET / HTTP/1.1\r\nHost: h\r\nX: \x80\xFF obs\r\n\r\n", "Get", "keep=True")]
    [InlineData("GET / HTTP/1.1\r\nHost: h\r\nEmpty:\r\n\r\n", "Get", "keep=True")]
    [InlineData("GET / HTTP/1.1\r\nHost: h\r\nIf-None-Match: \"a\"\r\nIf-None-Match: \"b\"\r\n\r\n", "Get", "inm=2:\"a\"")]
    [InlineData("GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\n\r\n", "Get", "expect=True/False")]
    [InlineData("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", "Get", "expect=False/False")]
    [InlineData("GET /a|b^[c] HTTP/1.1\r\nHost: h\r\n\r\n", "Get", "path=1:/a|b^[c]")]
    public void Well_formed_requests_are_read(string text, params string[] parts)
    {
        string description = Parse(text);
        Assert.All(parts, part => Assert.Contains(part, description, StringComparison.Ordinal));
    }

    /// <summary>Requests that servers have been talked into reading in two ways, and other malformed ones.</summary>
    public static TheoryData<string, int> Malformed => new()
    {
        // lines and white space
        { "GET / HTTP/1.1\nHost: h\n\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\nX: y\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\n\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", 400 },
        { "GET / HTTP/1.1\rHost: h\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\r\nHost: h\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\nX: y\r\r\n\r\n", 400 },
        { "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { " GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n\tb\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n \r\nHost: h\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost\t: h\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\nContent-Length : 5\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\n: no name\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\nBad Name: x\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\nBad\u00E9: x\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\nBad(): x\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\n\0X: x\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\nX: a\x01" + "b\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\nX: a\x7F\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: h\r\nX: a\x0B" + "b\r\n\r\n", 400 },

        // length and coding
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5 5\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: five\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5.0\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551621\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \xB2\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked;x=y\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\x0B" + "chunked\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501 },
        { "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },

        // host
        { "GET / HTTP/1.1\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400 },
        { "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: [zz]\r\n\r\n", 400 },
        { "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
        { "GET http://u@h/x HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
        { "GET ftp://h/x HTTP/1.1\r\nHost: a\r\n\r\n", 400 },

        // request line
        { "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400 },
        { "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "GET /  HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "GET\t/\tHTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "GET / a HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "GET /\r\n", 400 },
        { "GET / HTTP/1\r\nHost: h\r\n\r\n", 400 },
        { "GET / HTTP/1.10\r\nHost: h\r\n\r\n", 400 },
        { "GET / http/1.1\r\nHost: h\r\n\r\n", 400 },
        { "GET / HTTP/x.1\r\nHost: h\r\n\r\n", 400 },
        { "GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505 },
        { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505 },
        { "GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505 },
        { "G\u00C9T / HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "GET(x) / HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "GET x HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "GET /a\\b HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "GET /\u00E9 HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "GET /a\x7F HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "GET /a\0 HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "GET /?a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "\x16\x03\x01\x02", 400 },
        { "\0\0\0\0", 400 },
        { "/", 400 },

        // limits
        { "GET /" + new string('a', 300) + " HTTP/1.1\r\nHost: h\r\n\r\n", 414 },
        { "GET /" + new string('a', 300), 414 },
        { new string('A', 300), 414 },
        { "GET / HTTP/1.1\r\nHost: h\r\nX: " + new string('a', 1000) + "\r\n\r\n", 431 },
        { "GET / HTTP/1.1\r\nHost: h\r\n" + string.Concat(Enumerable.Repeat("X: y\r\n", 10)) + "\r\n", 431 },
    };

    [Theory]
    [MemberData(nameof(Malformed))]
    public void Malformed_requests_are_refused(string text, int status) => Assert.Equal($"refused {status}", Parse(text));

    [Theory]
    [InlineData("")]
    [InlineData("G")]
    [InlineData("GET / HTTP/1.1\r")]
    [InlineData("GET / HTTP/1.1\r\nHost: h\r\n")]
    [InlineData("GET / HTTP/1.1\r\nHost: h\r\n\r")]
    [InlineData("\r")]
    public void Unfinished_requests_wait_for_more(string text) => Assert.Equal("more", Parse(text));

    private static readonly Gen<string> Fragment = Gen.OneOf<string>(
        "GET", "HEAD", "POST", " ", "/", "/a?b", "*", "http://h/", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "\r\n", "\r\n", "\r\n\r\n", "\n", "\r",
        "Host: h", "Host:", "Content-Length: 5", "Transfer-Encoding: chunked", "Connection: close", "X: y", ":", "\t", "\0", "%2e", "é");

    private static readonly Gen<string> Stream = Gen.OneOf(
        Fragment.Array[0, 40].Select(string.Concat),
        Gen.Select(Fragment.Array[0, 12], Gen.Int[0, 60]).Select((parts, at) =>
        {
            const string Good = "GET /a/b?c HTTP/1.1\r\nHost: example\r\nRange: bytes=0-1\r\nConnection: keep-alive\r\n\r\n";
            return Good[..Math.Min(at, Good.Length)] + string.Concat(parts) + Good[Math.Min(at, Good.Length)..];
        }),
        Gen.Byte.Array[0, 300].Select(Encoding.Latin1.GetString),
        Gen.Int[0, 1200].Select(n => "GET / HTTP/1.1\r\nHost: h\r\nX: " + new string('x', n) + "\r\n\r\n"),
        Gen.Int[0, 400].Select(n => "GET /" + new string('x', n) + " HTTP/1.1\r\nHost: h\r\n\r\n"));

    [Fact]
    public void Cutting_a_byte_stream_anywhere_changes_nothing() =>
        Gen.Select(Stream, Gen.Int[1, 60].Array[1, 30]).Sample((text, cuts) =>
        {
            byte[] bytes = Bytes(text);
            var whole = default(RequestParser);
            whole.Advance(bytes, Limits);

            var split = default(RequestParser);
            int length = 0;
            for (int i = 0; length < bytes.Length && split.Status == ParseStatus.NeedMore; i++)
            {
                length = Math.Min(bytes.Length, length + cuts[i % cuts.Length]);
                split.Advance(bytes.AsSpan(0, length), Limits);
            }

            Assert.Equal(Describe(whole, bytes), Describe(split, bytes));
        }, iter: 20_000);

    [Fact]
    public void Whatever_is_accepted_has_one_reading() =>
        Stream.Sample(text =>
        {
            byte[] bytes = Bytes(text);
            var parser = default(RequestParser);
            if (parser.Advance(bytes, Limits) != ParseStatus.Complete)
            {
                return;
            }

            // Independent conditions that a naive reading of the same bytes must meet.
            string head = text[..parser.Head.LengthBytes];
            Assert.EndsWith("\r\n\r\n", head, StringComparison.Ordinal);
            Assert.Equal(head.Count(c => c == '\n'), head.Split("\r\n").Length - 1);
            Assert.Equal(head.Count(c => c == '\r'), head.Split("\r\n").Length - 1);
            Assert.DoesNotContain('\0', head);
            string[] fields = [.. head.TrimStart('\r', '\n').Split("\r\n").Skip(1).Where(l => l.Length > 0)];
            Assert.True(fields.Count(f => f.StartsWith("Host", StringComparison.OrdinalIgnoreCase)) <= 1 || !parser.Head.IsHttp11
                || fields.Count(f => f.StartsWith("Host:", StringComparison.OrdinalIgnoreCase)) == 1);
            Assert.False(parser.Head.IsChunked && fields.Any(f => f.StartsWith("Content-Length:", StringComparison.OrdinalIgnoreCase)));
        }, iter: 20_000);
}
