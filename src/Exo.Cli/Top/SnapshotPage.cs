// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using Exo.Net.Cheetah;

namespace Exo.Cli.Top;

/// <summary>
/// A web page that shows an exokernel, as documents of a Cheetah server: <c>/</c> is the page, with its style and its script in it and nothing from elsewhere, and <c>/snapshot.json</c> is what it draws, taken when it is asked for and at most five times a second.
/// </summary>
/// <param name="look">Takes a snapshot as JSON. An <see cref="IOException"/> is answered with 503.</param>
internal sealed class SnapshotPage(Func<CancellationToken, Task<byte[]>> look) : IDocumentSource
{
    private static readonly TimeSpan s_currentFor = TimeSpan.FromMilliseconds(200);
    private static readonly Lazy<byte[]> s_page = new(ReadPage);
    private static readonly DateTimeOffset s_pageDate = DateTimeOffset.UtcNow;

    public async ValueTask<DocumentLookup> FindAsync(ReadOnlyMemory<byte> path, CancellationToken cancellationToken)
    {
        if (path.Span.SequenceEqual("/index.html"u8))
        {
            return Found(s_page.Value, s_pageDate, "text/html; charset=utf-8", takenAt: null);
        }

        if (!path.Span.SequenceEqual("/snapshot.json"u8))
        {
            return new DocumentLookup(DocumentLookupStatus.NotFound);
        }

        long takenAt = Stopwatch.GetTimestamp();
        try
        {
            return Found(await look(cancellationToken).ConfigureAwait(false), DateTimeOffset.UtcNow, "application/json", takenAt);
        }
        catch (IOException)
        {
            return new DocumentLookup(DocumentLookupStatus.Unavailable);
        }
    }

    public bool IsCurrent(DocumentContent content) => content.State is not long takenAt || Stopwatch.GetElapsedTime(takenAt) < s_currentFor;

    private static DocumentLookup Found(byte[] bytes, DateTimeOffset date, string type, object? takenAt)
    {
        UInt128 version = BinaryPrimitives.ReadUInt128BigEndian(SHA256.HashData(bytes));
        return DocumentLookup.Found(DocumentContent.FromBytes(bytes, date, version, type, takenAt));
    }

    /// <summary>The page, with a policy that lets its own style and script run, by their digests, and nothing else.</summary>
    private static byte[] ReadPage()
    {
        const string Place = "<!-- Content-Security-Policy -->";
        using StreamReader reader = new(typeof(SnapshotPage).Assembly.GetManifestResourceStream("top.html")!);
        string page = reader.ReadToEnd();
        string policy = $"default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; style-src '{Digest(page, "style")}'; script-src '{Digest(page, "script")}'";
        return Encoding.UTF8.GetBytes(page.Replace(Place, $"<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">", StringComparison.Ordinal));
    }

    private static string Digest(string page, string element)
    {
        int from = page.IndexOf($"<{element}>", StringComparison.Ordinal) + element.Length + 2;
        int until = page.IndexOf($"</{element}>", StringComparison.Ordinal);
        return $"sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(page[from..until])))}";
    }
}
