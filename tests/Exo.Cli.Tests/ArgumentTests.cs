// SPDX-License-Identifier: MIT
using System.Text;
using CsCheck;
using Exo.Cli.Arguments;
using Exo.Cli.Output;
using Exo.Cli.Verbs;

namespace Exo.Cli.Tests;

public sealed class ArgumentTests
{
    // Bytes that begin escapes and multi-byte characters.
    private static readonly byte[] Awkward = [(byte)'\\', (byte)'\n', (byte)'x', 0xC3, 0xA9, 0xE2, 0x80];

    [Theory]
    [InlineData("0", 0)]
    [InlineData("4096", 4096)]
    [InlineData("4096B", 4096)]
    [InlineData("64k", 64L << 10)]
    [InlineData("64K", 64L << 10)]
    [InlineData("1M", 1L << 20)]
    [InlineData("1MiB", 1L << 20)]
    [InlineData("1 MiB", 1L << 20)]
    [InlineData("1MB", 1_000_000)]
    [InlineData("1.5G", 3L << 29)]
    [InlineData("0.5K", 512)]
    [InlineData("2T", 2L << 40)]
    [InlineData("2TB", 2_000_000_000_000)]
    [InlineData("7E", 7L << 60)]
    [InlineData("9223372036854775807", long.MaxValue)]
    public void Sizes_are_read_as_coreutils_reads_them(string text, long bytes)
    {
        Assert.True(ByteSize.TryParse(text, out long parsed));
        Assert.Equal(bytes, parsed);
    }

    [Theory]
    [InlineData("")]
    [InlineData(null)]
    [InlineData("G")]
    [InlineData("-1")]
    [InlineData("+1")]
    [InlineData("1Q")]
    [InlineData("1KiBs")]
    [InlineData("1iB")]
    [InlineData("1.")]
    [InlineData(".5K")]
    [InlineData("1.2.3K")]
    [InlineData("0.3K")]
    [InlineData("8E")]
    [InlineData("9223372036854775808")]
    [InlineData("1e6")]
    [InlineData("0x10")]
    [InlineData("１K")]
    public void What_is_no_size_or_does_not_come_out_whole_is_refused(string? text)
    {
        Assert.False(ByteSize.TryParse(text, out _));
    }

    [Fact]
    public void Any_number_of_bytes_reads_back()
    {
        Gen.Long[0, long.MaxValue].Sample(bytes =>
            ByteSize.TryParse(bytes.ToString(System.Globalization.CultureInfo.InvariantCulture), out long parsed) && parsed == bytes);
    }

    [Fact]
    public void No_text_breaks_the_size_and_address_parsers()
    {
        Gen.String[Gen.OneOf(Gen.Char['0', '9'], Gen.Int[0, 9].Select(i => ".:[]KiB -%"[i]), Gen.Char), 0, 50].Sample(text =>
        {
            if (ByteSize.TryParse(text, out long bytes))
            {
                Assert.True(bytes >= 0);
            }

            if (ListenAddress.TryParse(text, out System.Net.IPEndPoint endPoint))
            {
                Assert.InRange(endPoint.Port, 0, 65535);
            }
        });
    }

    [Theory]
    [InlineData(0, "0")]
    [InlineData(1023, "1023")]
    [InlineData(1024, "1.0K")]
    [InlineData(10_240, "10K")]
    [InlineData(1L << 30, "1.0G")]
    [InlineData(long.MaxValue, "8.0E")]
    public void Sizes_are_written_with_two_or_three_digits(long bytes, string text)
    {
        Assert.Equal(text, ByteSize.Format(bytes));
    }

    [Theory]
    [InlineData("127.0.0.1:8080", "127.0.0.1:8080")]
    [InlineData("localhost:0", "127.0.0.1:0")]
    [InlineData("8080", "127.0.0.1:8080")]
    [InlineData("*:80", "0.0.0.0:80")]
    [InlineData(":80", "0.0.0.0:80")]
    [InlineData("[::1]:65535", "[::1]:65535")]
    public void Addresses_are_read(string text, string endPoint)
    {
        Assert.True(ListenAddress.TryParse(text, out System.Net.IPEndPoint parsed));
        Assert.Equal(endPoint, parsed.ToString());
    }

    [Theory]
    [InlineData("")]
    [InlineData("127.0.0.1")]
    [InlineData("127.0.0.1:")]
    [InlineData("127.0.0.1:65536")]
    [InlineData("127.0.0.1:-1")]
    [InlineData("10.1:80")]
    [InlineData("::1:80")]
    [InlineData("[::1:80")]
    [InlineData("[127.0.0.1]:80")]
    [InlineData("example.org:80")]
    public void Other_addresses_are_refused(string text)
    {
        Assert.False(ListenAddress.TryParse(text, out _));
    }

    [Fact]
    public void Escaped_names_read_back_and_stay_on_one_line()
    {
        Gen.OneOf(Gen.Byte, Gen.Int[0, 6].Select(i => Awkward[i])).Array[0, 40].Sample(name =>
        {
            string text = ByteText.Escape(name);
            Assert.Equal(name, ByteText.Unescape(text));
            Assert.DoesNotContain(text, char.IsControl);
        });
    }

    [Theory]
    [InlineData("a\\")]
    [InlineData("\\q")]
    [InlineData("\\x1")]
    [InlineData("\\xg0")]
    public void Malformed_escapes_are_refused(string text)
    {
        Assert.Null(ByteText.Unescape(text));
    }

    [Fact]
    public void Names_that_would_reorder_a_line_are_escaped()
    {
        Assert.Equal("a\\xe2\\x80\\xaegnp.exe", ByteText.Escape(Encoding.UTF8.GetBytes("a\u202egnp.exe")));
        Assert.Equal("naïve ☃", ByteText.Escape(Encoding.UTF8.GetBytes("naïve ☃")));
    }

    [Theory]
    [InlineData(null, "/")]
    [InlineData("", "/")]
    [InlineData("/", "/")]
    [InlineData("//", "/")]
    [InlineData("a", "/a")]
    [InlineData("/a//b/./c/", "/a/b/c")]
    [InlineData("a\\x62", "/ab")]
    public void Paths_are_made_absolute(string? text, string path)
    {
        Assert.Equal(path, Encoding.UTF8.GetString(Symbols.Normalise(text)));
    }
}
