// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using CsCheck;
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah.Tests.Http;

public class ChunkedBodyTests
{
    private const int BytesMax = 500;
    private const int FieldsMax = 5;

    private static byte[] Bytes(string text) => Encoding.Latin1.GetBytes(text);

    /// <summary>What a body comes to when its bytes come in pieces that end at these places, and then all of it.</summary>
    private static string Read(byte[] body, params int[] cuts)
    {
        ChunkedBody chunked = default;
        foreach (int cut in cuts)
        {
            chunked.Advance(body.AsSpan(0, Math.Min(cut, body.Length)), BytesMax, FieldsMax);
        }

        switch (chunked.Advance(body, BytesMax, FieldsMax))
        {
            case ParseStatus.NeedMore:
                return "more";
            case ParseStatus.Refused:
                return $"refused {chunked.RefusalStatus}";
            default:
                byte[] data = new byte[chunked.DataBytes];
                chunked.CopyTo(body, data);
                return $"{chunked.LengthBytes}: {Encoding.Latin1.GetString(data)}";
        }
    }

    [Theory]
    [InlineData("0\r\n\r\n", "5: ")]
    [InlineData("000\r\n\r\nGET", "7: ")]
    [InlineData("5\r\nhello\r\n0\r\n\r\n", "15: hello")]
    [InlineData("5\r\nhello\r\nA\r\n, exokerne\r\n1\r\nl\r\n0\r\n\r\nnext", "36: hello, exokernel")]
    [InlineData("a\r\n0123456789\r\n0\r\n\r\n", "20: 0123456789")]
    [InlineData("00000005\r\nhello\r\n0\r\n\r\n", "22: hello")]
    [InlineData("5;name\r\nhello\r\n0;a=b;c=\"d e\"\r\n\r\n", "32: hello")]
    [InlineData("2\r\n\r\n\r\n0\r\n\r\n", "12: \r\n")]
    [InlineData("0\r\nDigest: x\r\nOther:\r\n\r\n", "24: ")]
    [InlineData("", "more")]
    [InlineData("5", "more")]
    [InlineData("5\r\nhello\r\n0\r\n", "more")]
    [InlineData("5\r\nhello\r\n0\r\nDigest: x\r\n", "more")]
    public void Well_formed_bodies_are_read(string body, string what) => Assert.Equal(what, Read(Bytes(body)));

    /// <summary>What servers have been talked into reading in two ways, and other malformed bodies.</summary>
    [Theory]
    [InlineData("\r\n", 400)]
    [InlineData("\n", 400)]
    [InlineData("5\nhello\r\n0\r\n\r\n", 400)]
    [InlineData("5\r\nhello\n0\r\n\r\n", 400)]
    [InlineData("5\r\nhello\r0\r\n\r\n", 400)]
    [InlineData("5\r\nhelloX", 400)]
    [InlineData("5\r\nhell\r\n0\r\n\r\n", 400)]
    [InlineData("5\r\r\nhello\r\n0\r\n\r\n", 400)]
    [InlineData("5 \r\nhello\r\n0\r\n\r\n", 400)]
    [InlineData(" 5\r\nhello\r\n0\r\n\r\n", 400)]
    [InlineData("5 ;a\r\nhello\r\n0\r\n\r\n", 400)]
    [InlineData("5\t\r\nhello\r\n0\r\n\r\n", 400)]
    [InlineData("0x5\r\nhello\r\n0\r\n\r\n", 400)]
    [InlineData("+5\r\nhello\r\n0\r\n\r\n", 400)]
    [InlineData("-1\r\n", 400)]
    [InlineData("5,5\r\nhello\r\n", 400)]
    [InlineData("g\r\n", 400)]
    [InlineData(";a\r\n", 400)]
    [InlineData("000000005\r\nhello\r\n0\r\n\r\n", 400)]
    [InlineData("10000000000000005\r\nhello\r\n0\r\n\r\n", 400)]
    [InlineData("5;a\nb\r\nhello\r\n0\r\n\r\n", 400)]
    [InlineData("5;a\rb\r\nhello\r\n0\r\n\r\n", 400)]
    [InlineData("5;a\0\r\nhello\r\n0\r\n\r\n", 400)]
    [InlineData("0\r\n\n", 400)]
    [InlineData("0\r\nno colon\r\n\r\n", 400)]
    [InlineData("0\r\nName : x\r\n\r\n", 400)]
    [InlineData("0\r\nName: x\n\r\n", 400)]
    [InlineData("0\r\n folded\r\n\r\n", 400)]
    [InlineData("1F5\r\n", 413)]
    [InlineData("7FFFFFFF\r\n", 413)]
    [InlineData("FFFFFFFF\r\n", 413)]
    [InlineData("0\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\n\r\n", 431)]
    public void Malformed_and_excessive_bodies_are_refused(string body, int status) => Assert.Equal($"refused {status}", Read(Bytes(body)));

    [Fact]
    public void A_line_or_a_trailer_without_end_is_refused_when_it_is_too_long()
    {
        Assert.Equal("more", Read(Bytes("5;" + new string('a', 253))));
        Assert.Equal("refused 400", Read(Bytes("5;" + new string('a', 254))));
        Assert.Equal("more", Read(Bytes("0\r\na:" + new string('a', BytesMax - 6))));
        Assert.Equal("refused 413", Read(Bytes("0\r\na:" + new string('a', BytesMax - 5))));
    }

    /// <summary>Any chunks, however they are written and wherever they are cut, come to their bytes; what follows is not touched.</summary>
    [Fact]
    public void Chunks_come_to_their_bytes_however_they_are_cut()
    {
        Gen<(byte[][] Chunks, int Style, int[] Cuts)> bodies = Gen.Select(Gen.Byte.Array[1, 40].Array[0, 6], Gen.Int[0, 3], Gen.Int[0, 400].Array[0, 8]);
        bodies.Sample(
            sample =>
            {
                List<byte> body = [];
                foreach (byte[] chunk in sample.Chunks)
                {
                    string size = chunk.Length.ToString(sample.Style % 2 == 0 ? "x" : "X4", CultureInfo.InvariantCulture);
                    body.AddRange([.. Bytes(size + (sample.Style > 1 ? ";e=\"1\"" : "") + "\r\n"), .. chunk, .. "\r\n"u8]);
                }

                body.AddRange(Bytes(sample.Style > 1 ? "0;e\r\nA: b\r\n\r\n" : "0\r\n\r\n"));
                string expected = $"{body.Count}: {Encoding.Latin1.GetString([.. sample.Chunks.SelectMany(chunk => chunk)])}";
                body.AddRange("GET / HTTP/1.1"u8);
                int[] cuts = [.. sample.Cuts.Order()];
                return body.Count > BytesMax || Read([.. body], cuts) == expected;
            },
            iter: 20_000);
    }

    /// <summary>Bytes that are nearly a body: what they come to does not depend on how they were cut, and nothing is read as data that is not.</summary>
    [Fact]
    public void Any_bytes_come_to_the_same_however_they_are_cut()
    {
        string[] words = ["0", "1", "5", "a", "FF", "\r\n", "\r", "\n", ";", "x=y", "hello", " ", "\t", ":", "A: b", "\r\n\r\n", "0\r\n\r\n", "3\r\nabc\r\n", "\0"];
        Gen.Select(Gen.Int[0, words.Length - 1].Array[0, 25], Gen.Int[0, 150].Array[0, 10]).Sample(
            (chosen, cuts) =>
            {
                byte[] body = Bytes(string.Concat(chosen.Select(word => words[word])));
                Array.Sort(cuts);
                string whole = Read(body);
                return Read(body, cuts) == whole && (whole[0] is 'm' or 'r' || whole == Reference(Encoding.Latin1.GetString(body)));
            },
            iter: 50_000);
    }

    // By the grammar, with regular expressions.
    private static string Reference(string body)
    {
        StringBuilder data = new();
        int at = 0;
        while (true)
        {
            System.Text.RegularExpressions.Match line = System.Text.RegularExpressions.Regex.Match(body[at..], "^([0-9a-fA-F]{1,8})(;[^\\x00-\\x08\\x0a-\\x1f\\x7f]*)?\r\n");
            if (!line.Success)
            {
                return "no chunk";
            }

            int size = int.Parse(line.Groups[1].Value, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            at += line.Length;
            if (size == 0)
            {
                System.Text.RegularExpressions.Match trailer = System.Text.RegularExpressions.Regex.Match(body[at..], "^([A-Za-z0-9=]+:[^\\x00-\\x08\\x0a-\\x1f\\x7f]*\r\n)*\r\n");
                return trailer.Success ? $"{at + trailer.Length}: {data}" : "no trailer";
            }

            if (at + size + 2 > body.Length || body.Substring(at + size, 2) != "\r\n")
            {
                return "no data";
            }

            data.Append(body, at, size);
            at += size + 2;
        }
    }
}
