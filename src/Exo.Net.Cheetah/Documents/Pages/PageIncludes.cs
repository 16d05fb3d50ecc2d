// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah.Pages;

/// <summary>
/// What a page includes of its own server: paths of documents, each once, in the order in which a browser learns of them. Style sheets that are among them are scanned by whoever has their contents, which adds what
/// they include in turn. It says what the documents' text says, whether the documents exist or not; scripts are not run. Bounded in number, so that a hostile page costs no more than a long one.
/// </summary>
internal sealed class PageIncludes
{
    /// <summary>The most documents of one page.</summary>
    public const int Most = 256;

    /// <summary>So much of a page or style sheet is scanned; the rest is not looked at.</summary>
    public const int ScannedBytesMax = 1 << 20;

    // References that are resolved, found or not: resolving costs as much as a long path has bytes.
    private const int ReferencesMax = 16 * Most;

    private readonly List<byte[]> _paths = [];
    private int _references;
    private readonly HashSet<byte[]>.AlternateLookup<ReadOnlySpan<byte>> _known = new HashSet<byte[]>(PathComparer.Instance).GetAlternateLookup<ReadOnlySpan<byte>>();

    /// <param name="path">Decoded path of the page, which does not include itself.</param>
    /// <param name="html">The page.</param>
    public PageIncludes(ReadOnlySpan<byte> path, ReadOnlySpan<byte> html)
    {
        _ = _known.Add(path);
        AddPage(path, html[..Math.Min(html.Length, ScannedBytesMax)]);
    }

    /// <summary>The documents; more may come with each style sheet.</summary>
    public IReadOnlyList<byte[]> Paths => _paths;

    /// <summary>Whether a document is a page, by its name.</summary>
    public static bool IsPage(ReadOnlySpan<byte> path) => MediaTypes.ForPath(path) is { } type && (type.StartsWith("text/html", StringComparison.Ordinal) || type == "application/xhtml+xml");

    /// <summary>Whether a document is a style sheet, by its name.</summary>
    public static bool IsStyleSheet(ReadOnlySpan<byte> path) => MediaTypes.ForPath(path).StartsWith("text/css", StringComparison.Ordinal);

    /// <summary>Adds what a style sheet includes.</summary>
    /// <param name="path">Decoded path of the style sheet.</param>
    /// <param name="css">The style sheet.</param>
    public void AddStyleSheet(ReadOnlySpan<byte> path, ReadOnlySpan<byte> css)
    {
        CssReferences references = new(css[..Math.Min(css.Length, ScannedBytesMax)]);
        while (references.TryRead(out ReadOnlySpan<byte> reference))
        {
            Add(path, reference);
        }
    }

    private void AddPage(ReadOnlySpan<byte> basePath, ReadOnlySpan<byte> html)
    {
        Span<byte> newBase = stackalloc byte[DocumentReference.PathBytesMax];
        bool hasBase = false;
        HtmlTags tags = new(html);
        while (_paths.Count < Most && tags.TryRead(out HtmlTag tag))
        {
            if (!tag.Style.IsEmpty)
            {
                AddStyleSheet(basePath, tag.Style);
            }

            if (tag.Is("img"u8) || tag.Is("source"u8))
            {
                Add(basePath, tag.Source);
                AddSet(basePath, tag.SourceSet);
            }
            else if (tag.Is("script"u8) || tag.Is("input"u8))
            {
                Add(basePath, tag.Source);
            }
            else if (tag.Is("video"u8))
            {
                Add(basePath, tag.Poster);
            }
            else if (tag.Is("link"u8) && IsFetched(tag.Relation))
            {
                Add(basePath, tag.Reference);
            }
            else if (tag.Is("style"u8))
            {
                AddStyleSheet(basePath, tag.Text);
            }
            else if (tag.Is("base"u8) && !tag.Reference.IsEmpty && !hasBase)
            {
                // One that leads to another server takes with it what is relative.
                hasBase = true;
                basePath = DocumentReference.TryResolve(basePath, tag.Reference, newBase, out int length) ? newBase[..length].ToArray() : default;
            }
        }
    }

    /// <summary>The candidates of a <c>srcset</c>: which of them a browser takes depends on its window.</summary>
    private void AddSet(ReadOnlySpan<byte> basePath, ReadOnlySpan<byte> set)
    {
        while (true)
        {
            set = set.TrimStart(" \t\n\f\r,"u8);
            if (set.IsEmpty)
            {
                return;
            }

            int end = set.IndexOfAny(" \t\n\f\r"u8);
            ReadOnlySpan<byte> candidate = end < 0 ? set : set[..end];
            set = set[candidate.Length..];
            if (candidate[^1] == ',')
            {
                Add(basePath, candidate.TrimEnd((byte)','));
                continue;
            }

            Add(basePath, candidate);
            int comma = set.IndexOf((byte)',');
            set = comma < 0 ? default : set[comma..];
        }
    }

    private static bool IsFetched(ReadOnlySpan<byte> relation)
    {
        bool isFetched = false;
        foreach (Range range in relation.SplitAny(" \t\n\f\r"u8))
        {
            ReadOnlySpan<byte> word = relation[range];
            if (Ascii.EqualsIgnoreCase(word, "alternate"u8))
            {
                return false;
            }

            isFetched |= Ascii.EqualsIgnoreCase(word, "stylesheet"u8) || Ascii.EqualsIgnoreCase(word, "icon"u8) || Ascii.EqualsIgnoreCase(word, "preload"u8)
                || Ascii.EqualsIgnoreCase(word, "modulepreload"u8);
        }

        return isFetched;
    }

    private void Add(ReadOnlySpan<byte> basePath, ReadOnlySpan<byte> reference)
    {
        Span<byte> path = stackalloc byte[DocumentReference.PathBytesMax];
        if (reference.IsEmpty || _paths.Count == Most || _references == ReferencesMax)
        {
            return;
        }

        _references++;
        if (DocumentReference.TryResolve(basePath, reference, path, out int length) && path[length - 1] != '/' && !_known.Contains(path[..length]))
        {
            byte[] added = path[..length].ToArray();
            _ = _known.Set.Add(added);
            _paths.Add(added);
        }
    }
}
