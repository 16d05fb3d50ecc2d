// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net;
using System.Text;
using CsCheck;
using Exo.Net.Cheetah.Logging;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tests.Logging;

public class AccessLogLineTests
{
    private static readonly long Then = new DateTimeOffset(2000, 10, 10, 20, 55, 36, TimeSpan.Zero).ToUnixTimeSeconds();

    private static string Line(AccessLogFormat format, TimeZoneInfo zone, string address, string request, int status, long bodyBytes, string? referer, string? agent, long? unixSeconds = null)
    {
        byte[] texts = Encoding.Latin1.GetBytes(request + referer + agent);
        var record = new AccessRecord
        {
            Status = status,
            UnixSeconds = unixSeconds ?? Then,
            BodyBytes = bodyBytes,
            Remote = InternetAddress.Parse(address),
            RequestLineBytes = request.Length,
            RefererBytes = referer?.Length ?? -1,
            UserAgentBytes = agent?.Length ?? -1,
        };
        byte[] room = new byte[AccessLogLine.LengthBytesMax(texts.Length)];
        return Encoding.Latin1.GetString(room, 0, new AccessLogLine(format, zone).Format(room, record, texts));
    }

    private static TimeZoneInfo Zone(double hours) => TimeZoneInfo.CreateCustomTimeZone("test", TimeSpan.FromHours(hours), null, null);

    [Fact]
    public void The_lines_are_those_of_the_documentation_of_Apache()
    {
        // https://httpd.apache.org/docs/2.4/logs.html#accesslog, but for the user, whom nobody asks here.
        Assert.Equal(
            "127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] \"GET /apache_pb.gif HTTP/1.0\" 200 2326\n",
            Line(AccessLogFormat.Common, Zone(-7), "127.0.0.1", "GET /apache_pb.gif HTTP/1.0", 200, 2326, "not said", "not said"));
        Assert.Equal(
            "127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] \"GET /apache_pb.gif HTTP/1.0\" 200 2326 \"http://www.example.com/start.html\" \"Mozilla/4.08 [en] (Win98; I ;Nav)\"\n",
            Line(AccessLogFormat.Combined, Zone(-7), "127.0.0.1", "GET /apache_pb.gif HTTP/1.0", 200, 2326, "http://www.example.com/start.html", "Mozilla/4.08 [en] (Win98; I ;Nav)"));
    }

    [Theory]
    [InlineData(0, "[10/Oct/2000:20:55:36 +0000]")]
    [InlineData(5.75, "[11/Oct/2000:02:40:36 +0545]")]
    [InlineData(-3.5, "[10/Oct/2000:17:25:36 -0330]")]
    public void Times_are_local(double hours, string time) =>
        Assert.Contains(time, Line(AccessLogFormat.Common, Zone(hours), "::1", "GET / HTTP/1.1", 200, 1, null, null), StringComparison.Ordinal);

    [Fact]
    public void What_is_not_there_is_a_dash_and_what_is_empty_is_empty() =>
        Assert.Equal(
            "2001:db8::1 - - [10/Oct/2000:20:55:36 +0000] \"-\" 408 - \"-\" \"\"\n",
            Line(AccessLogFormat.Combined, TimeZoneInfo.Utc, "2001:db8::1", "", 408, 0, null, ""));

    [Theory]
    [InlineData("plain ~ text", "plain ~ text")]
    [InlineData("\" 200 5\n127.0.0.1 - -", "\\\" 200 5\\n127.0.0.1 - -")]
    [InlineData("a\\\"b", "a\\\\\\\"b")]
    [InlineData("\b\n\r\t\v\f\0\x1b\x7f", "\\b\\n\\r\\t\\v\\x0c\\x00\\x1b\\x7f")]
    [InlineData("\u00e4\u00ff", "\\xe4\\xff")]
    public void Bytes_are_escaped_as_by_Apache(string text, string escaped)
    {
        byte[] room = new byte[4 * text.Length];
        Assert.Equal(escaped, Encoding.Latin1.GetString(room, 0, AccessLogLine.Escape(room, Encoding.Latin1.GetBytes(text))));
    }

    [Fact]
    public void Whatever_clients_send_a_line_is_one_line_of_nine_or_eleven_fields() =>
        Gen.Select(Gen.Byte.Array[0, 40], Gen.Byte.Array[0, 40], Gen.Byte.Array[0, 40], Gen.Bool).Sample((request, referer, agent, combined) =>
        {
            string line = Line(combined ? AccessLogFormat.Combined : AccessLogFormat.Common, TimeZoneInfo.Utc, "10.0.0.1", Text(request), 400, 0, Text(referer), Text(agent));
            Assert.All(line[..^1], letter => Assert.InRange(letter, ' ', '~'));
            Assert.EndsWith("\n", line, StringComparison.Ordinal);
            List<string> quoted = Quoted(line);
            Assert.Equal(combined ? 3 : 1, quoted.Count);
            Assert.Equal(request.Length == 0 ? "-" : Text(request), quoted[0]);
            if (combined)
            {
                Assert.Equal([Text(referer), Text(agent)], quoted[1..]);
            }
        });

    [Fact]
    public void Addresses_are_written_as_RFC_5952_wants_them()
    {
        string[] canonical = ["0.0.0.0", "255.255.255.255", "10.1.2.3", "::", "::1", "1::", "fe80::1", "2001:db8::1:0:0:1", "2001:db8:0:1:1:1:1:1", "1:2:3:4:5:6:7:8", "0:0:1::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "0:1::", "1:0:2:0:3:0:4:0"];
        Assert.All(canonical, text => Assert.Equal(text, Text(InternetAddress.Parse(text))));
        Gen.Select(Gen.ULong, Gen.ULong, Gen.ULong, Gen.ULong).Sample((high, low, highMask, lowMask) =>
        {
            var address = new InternetAddress(high & highMask, low & lowMask);
            Assert.Equal(address, InternetAddress.Parse(Text(address)));
        });
        Assert.All(Enumerable.Range(0, 256), groups =>
        {
            ulong Half(int bits) => Enumerable.Range(0, 4).Aggregate(0UL, (word, i) => (word << 16) | (uint)((bits >> i) & 1));
            var address = new InternetAddress(Half(groups), Half(groups >> 4));
            string expected = new IPAddress(Bytes(address)).ToString();
            Assert.True(expected == Text(address) || expected.Contains('.', StringComparison.Ordinal), Text(address));   // the base library writes ::1:0 with dots
        });
    }

    private static string Text(byte[] bytes) => Encoding.Latin1.GetString(bytes);

    private static byte[] Bytes(InternetAddress address)
    {
        byte[] bytes = new byte[InternetAddress.V6Bytes];
        return bytes[..address.Emit(bytes)];
    }

    private static string Text(InternetAddress address)
    {
        byte[] room = new byte[InternetAddress.TextBytesMax];
        return Encoding.ASCII.GetString(room, 0, address.Format(room));
    }

    // What stands between quotes, as it was before it was escaped: read as whoever reads logs does.
    private static List<string> Quoted(string line)
    {
        var all = new List<string>();
        for (int at = line.IndexOf('"'); at >= 0; at = line.IndexOf('"', at + 1))
        {
            var text = new StringBuilder();
            for (at++; line[at] != '"'; at++)
            {
                if (line[at] != '\\')
                {
                    text.Append(line[at]);
                    continue;
                }

                char letter = line[++at];
                text.Append(letter switch
                {
                    'b' => '\b',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\v',
                    'x' => (char)int.Parse(line.AsSpan(at + 1, 2), NumberStyles.HexNumber, CultureInfo.InvariantCulture),
                    _ => letter,
                });
                at += letter == 'x' ? 2 : 0;
            }

            all.Add(text.ToString());
        }

        return all;
    }
}
