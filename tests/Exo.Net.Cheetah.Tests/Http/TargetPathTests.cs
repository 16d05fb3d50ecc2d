// SPDX-License-Identifier: MIT
using System.Text;
using CsCheck;
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah.Tests.Http;

public class TargetPathTests
{
    private static string? Decode(string target)
    {
        byte[] bytes = Encoding.Latin1.GetBytes(target);
        byte[] room = new byte[Math.Max(1, bytes.Length)];
        return TargetPath.TryDecode(bytes, room, out int length) ? Encoding.Latin1.GetString(room, 0, length) : null;
    }

    [Theory]
    [InlineData("/", "/")]
    [InlineData("", "/")]
    [InlineData("/a", "/a")]
    [InlineData("/a/", "/a/")]
    [InlineData("/a//b///c", "/a/b/c")]
    [InlineData("//evil.example/", "/evil.example/")]
    [InlineData("/a/./b", "/a/b")]
    [InlineData("/a/../b", "/b")]
    [InlineData("/a/b/..", "/a/")]
    [InlineData("/a/.", "/a/")]
    [InlineData("/a/..", "/")]
    [InlineData("/a/b/../../c", "/c")]
    [InlineData("/%61%2Fb", null)]
    [InlineData("/a%20b", "/a b")]
    [InlineData("/a%2520", "/a%20")]
    [InlineData("/%2e%2E/a", null)]
    [InlineData("/a/%2e%2e/b", "/b")]
    [InlineData("/a/.%2e/b", "/b")]
    [InlineData("/..", null)]
    [InlineData("/../etc/passwd", null)]
    [InlineData("/a/../../etc", null)]
    [InlineData("/%00", null)]
    [InlineData("/a%0d%0ab", null)]
    [InlineData("/a%5cb", null)]
    [InlineData("/a%7f", null)]
    [InlineData("/%", null)]
    [InlineData("/%4", null)]
    [InlineData("/%zz", null)]
    [InlineData("/...", "/...")]
    [InlineData("/.hidden", "/.hidden")]
    [InlineData("/%c3%a9", "/\u00C3\u00A9")]
    [InlineData("/%c0%ae%c0%ae/x", "/\u00C0\u00AE\u00C0\u00AE/x")]
    public void Paths_are_decoded_once_and_resolved(string target, string? expected) => Assert.Equal(expected, Decode(target));

    // A model with a list of segments.
    private static string? Model(string target)
    {
        var decoded = new StringBuilder();
        for (int i = 0; i < target.Length; i++)
        {
            if (target[i] != '%')
            {
                decoded.Append(target[i]);
                continue;
            }

            if (i + 2 >= target.Length || !Uri.IsHexDigit(target[i + 1]) || !Uri.IsHexDigit(target[i + 2]))
            {
                return null;
            }

            char c = (char)Convert.ToByte(target.Substring(i + 1, 2), 16);
            if (c is < ' ' or '\x7F' or '/' or '\\')
            {
                return null;
            }

            decoded.Append(c);
            i += 2;
        }

        var kept = new List<string>();
        string[] segments = decoded.ToString().Split('/')[1..];
        foreach (string segment in segments)
        {
            if (segment == "..")
            {
                if (kept.Count == 0)
                {
                    return null;
                }

                kept.RemoveAt(kept.Count - 1);
            }
            else if (segment is not ("" or "."))
            {
                kept.Add(segment);
            }
        }

        bool folder = segments[^1] is "" or "." or "..";
        return kept.Count == 0 ? "/" : "/" + string.Join('/', kept) + (folder ? "/" : "");
    }

    private static readonly Gen<string> Target =
        Gen.OneOf<string>("/", "/", "a", "bc", ".", "..", "%2e", "%2E", "%2f", "%20", "%", "%25", "%00", "%5c", "%c3%a9").Array[0, 14]
            .Select(parts => "/" + string.Concat(parts));

    [Fact]
    public void Any_target_resolves_as_the_model_says() => Target.Sample(t => Assert.Equal(Model(t), Decode(t)), iter: 20_000);

    [Fact]
    public void What_is_decoded_is_a_fixed_point_and_encodes_back() => Target.Sample(t =>
    {
        if (Decode(t) is not { } path)
        {
            return;
        }

        Assert.StartsWith("/", path, StringComparison.Ordinal);
        Assert.DoesNotContain("//", path, StringComparison.Ordinal);
        Assert.DoesNotContain("/../", path + "/", StringComparison.Ordinal);
        byte[] room = new byte[path.Length * 3];
        int length = TargetPath.Encode(Encoding.Latin1.GetBytes(path), room);
        Assert.Equal(path, Decode(Encoding.ASCII.GetString(room, 0, length)));
    });
}
