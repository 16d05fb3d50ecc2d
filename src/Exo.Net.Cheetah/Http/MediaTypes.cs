// SPDX-License-Identifier: MIT
using System.Collections.Frozen;
using System.Text;

namespace Exo.Net.Cheetah.Http;

/// <summary>Content-Type by file name extension; text carries its charset (RFC 9110 section 8.3).</summary>
internal static class MediaTypes
{
    private const string Default = "application/octet-stream";

    private static readonly FrozenDictionary<string, string> ByExtension = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase)
    {
        ["html"] = "text/html; charset=utf-8",
        ["htm"] = "text/html; charset=utf-8",
        ["css"] = "text/css; charset=utf-8",
        ["js"] = "text/javascript; charset=utf-8",
        ["mjs"] = "text/javascript; charset=utf-8",
        ["txt"] = "text/plain; charset=utf-8",
        ["md"] = "text/markdown; charset=utf-8",
        ["csv"] = "text/csv; charset=utf-8",
        ["xml"] = "text/xml; charset=utf-8",
        ["ics"] = "text/calendar; charset=utf-8",
        ["vtt"] = "text/vtt; charset=utf-8",
        ["json"] = "application/json",
        ["map"] = "application/json",
        ["webmanifest"] = "application/manifest+json",
        ["xhtml"] = "application/xhtml+xml",
        ["atom"] = "application/atom+xml",
        ["rss"] = "application/rss+xml",
        ["pdf"] = "application/pdf",
        ["wasm"] = "application/wasm",
        ["zip"] = "application/zip",
        ["gz"] = "application/gzip",
        ["tar"] = "application/x-tar",
        ["7z"] = "application/x-7z-compressed",
        ["svg"] = "image/svg+xml",
        ["png"] = "image/png",
        ["apng"] = "image/apng",
        ["jpg"] = "image/jpeg",
        ["jpeg"] = "image/jpeg",
        ["gif"] = "image/gif",
        ["webp"] = "image/webp",
        ["avif"] = "image/avif",
        ["bmp"] = "image/bmp",
        ["ico"] = "image/vnd.microsoft.icon",
        ["mp3"] = "audio/mpeg",
        ["ogg"] = "audio/ogg",
        ["opus"] = "audio/ogg",
        ["wav"] = "audio/wav",
        ["flac"] = "audio/flac",
        ["mp4"] = "video/mp4",
        ["webm"] = "video/webm",
        ["ttf"] = "font/ttf",
        ["otf"] = "font/otf",
        ["woff"] = "font/woff",
        ["woff2"] = "font/woff2",
    }.ToFrozenDictionary(StringComparer.OrdinalIgnoreCase);

    /// <summary>The type for a document's path.</summary>
    public static string ForPath(ReadOnlySpan<byte> path)
    {
        ReadOnlySpan<byte> name = path[(path.LastIndexOf((byte)'/') + 1)..];
        int dot = name.LastIndexOf((byte)'.');
        return dot < 0 ? Default : ByExtension.GetValueOrDefault(Encoding.Latin1.GetString(name[(dot + 1)..]), Default);
    }
}
