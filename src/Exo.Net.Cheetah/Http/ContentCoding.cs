// SPDX-License-Identifier: MIT
using System.Text;

namespace Exo.Net.Cheetah.Http;

/// <summary>One content coding: its name in fields and how the paths of its variants end.</summary>
internal sealed class ContentCoding
{
    /// <summary>All that there are, in the order in which equals are preferred.</summary>
    public static readonly ContentCoding[] All =
    [
        new(0, ContentCodings.Brotli, "br", ".br"), new(1, ContentCodings.Zstandard, "zstd", ".zst"), new(2, ContentCodings.Gzip, "gzip", ".gz"),
    ];

    private ContentCoding(int place, ContentCodings flag, string name, string suffix)
    {
        Place = place;
        Flag = flag;
        Name = name;
        Suffix = Encoding.ASCII.GetBytes(suffix);
        Field = Encoding.ASCII.GetBytes($"Content-Encoding: {name}\r\n");
    }

    /// <summary>Its place in <see cref="All"/>.</summary>
    public int Place { get; }

    public ContentCodings Flag { get; }

    /// <summary>The token of RFC 9110 section 8.4.1.</summary>
    public string Name { get; }

    /// <summary>How the path of a variant ends.</summary>
    public byte[] Suffix { get; }

    /// <summary>The field of a response, with its line end.</summary>
    public byte[] Field { get; }

    /// <summary>The coding that a path says it is in, or null.</summary>
    public static ContentCoding? OfPath(ReadOnlySpan<byte> path)
    {
        foreach (ContentCoding coding in All)
        {
            if (path.EndsWith(coding.Suffix))
            {
                return coding;
            }
        }

        return null;
    }
}
