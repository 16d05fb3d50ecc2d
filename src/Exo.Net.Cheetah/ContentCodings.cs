// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah;

/// <summary>Content codings (RFC 9110 section 8.4.1) that a document may lie at hand in, compressed beforehand: <see cref="CheetahServerOptions.Precompressed"/>.</summary>
[Flags]
public enum ContentCodings
{
    /// <summary>None.</summary>
    None = 0,

    /// <summary>gzip (RFC 1952), a path's variant at path<c>.gz</c>.</summary>
    Gzip = 1,

    /// <summary>br (RFC 7932), at path<c>.br</c>.</summary>
    Brotli = 2,

    /// <summary>zstd (RFC 8878), at path<c>.zst</c>; browsers take windows of at most 8 MiB (RFC 9659), which is what <c>zstd -19</c> makes and <c>--ultra</c> and <c>--long</c> exceed.</summary>
    Zstandard = 4,

    /// <summary>All of them.</summary>
    All = Gzip | Brotli | Zstandard,
}
