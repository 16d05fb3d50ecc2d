// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Net.Cheetah.Tests.Sockets;

namespace Exo.Net.Cheetah.Tests.Documents;

/// <summary>A document and what lies beside it, changed at random, and what a server has to answer with.</summary>
/// <param name="random">Chooses.</param>
/// <param name="put">Makes or replaces a file, with its time in seconds since 1970.</param>
/// <param name="remove">Takes one away.</param>
internal sealed class VariantModel(Random random, Action<string, byte[], long> put, Action<string> remove)
{
    private static readonly (string Name, string Suffix)[] Codings = [("br", ".br"), ("zstd", ".zst"), ("gzip", ".gz")];

    private readonly Dictionary<string, (byte[] Bytes, long Time)> files = [];
    private int count;

    public const string Path = "/a.css";

    /// <summary>One change.</summary>
    public void Change()
    {
        string name = Path + (random.Next(3) == 0 ? "" : Codings[random.Next(3)].Suffix);
        if (random.Next(4) == 0)
        {
            if (files.Remove(name))
            {
                remove(name);
            }

            return;
        }

        // Times are few, so that a variant is often older than the original, and often as old.
        byte[] bytes = Encoding.ASCII.GetBytes($"{name} {++count} {new string('x', random.Next(200))}");
        files[name] = (bytes, 1_700_000_000 + random.Next(3));
        put(name, bytes, files[name].Time);
    }

    /// <summary>The codings of an Accept-Encoding field; null: there is no field.</summary>
    public string[]? Accepted() => random.Next(8) == 0 ? null : [.. Codings.Select(coding => coding.Name).Where(_ => random.Next(2) == 0)];

    public static string Request(string[]? accepted, string more = "") =>
        $"GET {Path} HTTP/1.1\r\nHost: x\r\n{(accepted is null ? "" : $"Accept-Encoding: {string.Join(", ", accepted)}\r\n")}{more}\r\n";

    /// <summary>Checks an answer to <see cref="Request"/>.</summary>
    public void IsAnswered(string[]? accepted, string head, byte[] body)
    {
        if (!files.TryGetValue(Path, out (byte[] Bytes, long Time) original))
        {
            Assert.StartsWith("HTTP/1.1 404", head, StringComparison.Ordinal);
            return;
        }

        Assert.StartsWith("HTTP/1.1 200", head, StringComparison.Ordinal);
        var variants = Codings.Where(coding => files.TryGetValue(Path + coding.Suffix, out (byte[] Bytes, long Time) file) && file.Time >= original.Time)
            .Select(coding => (coding.Name, files[Path + coding.Suffix].Bytes)).ToList();
        (string name, byte[] bytes) = variants.Where(variant => accepted?.Contains(variant.Name) == true).OrderBy(variant => variant.Bytes.Length).FirstOrDefault(("", original.Bytes));
        Assert.Equal(bytes, body);
        Assert.Contains("Content-Type: text/css; charset=utf-8\r\n", head, StringComparison.Ordinal);
        Assert.Equal(name.Length > 0, head.Contains("Content-Encoding", StringComparison.Ordinal));
        Assert.True(name.Length == 0 || head.Contains($"\r\nContent-Encoding: {name}\r\n", StringComparison.Ordinal), head);
        Assert.Equal(variants.Count > 0, head.Contains("\r\nVary: Accept-Encoding\r\n", StringComparison.Ordinal));
    }
}
