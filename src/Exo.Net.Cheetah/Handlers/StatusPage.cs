// SPDX-License-Identifier: MIT
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Exo.Core.Memory;

namespace Exo.Net.Cheetah;

/// <summary>
/// A page that shows what a server is doing, and the same as text for Prometheus, as deferred handlers: every reactor counts its own connections on its own thread, and the last one lets the
/// response be written. The page needs nothing from elsewhere and runs no script.
/// </summary>
internal sealed class StatusPage(CheetahServer server, CheetahServerOptions options, FramePool frames)
{
    private const string Style =
        "body{font:14px system-ui,sans-serif;margin:2em;color:#222;background:#fff}h1{font-size:1.4em}h2{font-size:1.1em;margin:1.2em 0 .3em}" +
        "table{border-collapse:collapse}td{padding:.15em 1em .15em 0;border-bottom:1px solid #ddd}td+td{text-align:right;font-variant-numeric:tabular-nums}" +
        "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td{border-color:#444}}";

    private static readonly byte[] s_policy = Encoding.ASCII.GetBytes(
        $"default-src 'none'; style-src 'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(Style)))}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");

    private readonly long started = options.Time.GetTimestamp();

    /// <summary>A table with both paths and what is in another one.</summary>
    public CheetahHandlers AddTo(CheetahHandlers handlers) => handlers.Copy()
        .AddDeferred("GET", options.StatusPath!, (in request, _) => Answer(request, WritePage))
        .AddDeferred("GET", $"{options.StatusPath}/metrics", (in request, _) => Answer(request, WriteMetrics));

    private ValueTask<CheetahHandler> Answer(in CheetahRequest request, Action<IReadOnlyList<StatusValue>, CheetahResponse> write) =>
        options.StatusIsPublic || request.IsFromLoopback
            ? AnswerAsync(write)
            : ValueTask.FromResult<CheetahHandler>((in _, response) =>
            {
                response.Status = 403;
                response.Write("The status of this server is shown to clients on its own machine only.\n"u8);
            });

    private async ValueTask<CheetahHandler> AnswerAsync(Action<IReadOnlyList<StatusValue>, CheetahResponse> write)
    {
        IReadOnlyList<StatusValue> values = await StatusValues.TakeAsync(server, frames, options.Time.GetElapsedTime(started)).ConfigureAwait(false);
        return (in _, response) =>
        {
            response.AddField("Cache-Control"u8, "no-store"u8);
            response.AddField("X-Content-Type-Options"u8, "nosniff"u8);
            write(values, response);
        };
    }

    private void WritePage(IReadOnlyList<StatusValue> values, CheetahResponse response)
    {
        response.ContentType = "text/html; charset=utf-8"u8;
        response.AddField("Content-Security-Policy"u8, s_policy);
        response.Write("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>Cheetah</title><style>"u8);
        response.Write(Style);
        response.Write("</style><h1>Cheetah at "u8);
        response.Write(Escaped(server.EndPoint.ToString()));
        response.Write("</h1>\n"u8);
        string? group = null;
        foreach (StatusValue value in values)
        {
            if (value.Group != group)
            {
                response.Write(group is null ? "" : "</table>\n");
                group = value.Group;
                response.Write($"<h2>{Escaped(group)}</h2>\n<table>\n");
            }

            response.Write($"<tr><td>{Escaped(value.Help)}<td>{Escaped(value.Text ?? value.Value.ToString("N0", System.Globalization.CultureInfo.InvariantCulture))}\n");
        }

        response.Write("</table>\n<p><a href=\""u8);
        response.Write(Escaped($"{Uri.EscapeDataString(options.StatusPath![(options.StatusPath!.LastIndexOf('/') + 1)..])}/metrics"));
        response.Write("\">as text</a></html>\n"u8);
    }

    // https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
    private static void WriteMetrics(IReadOnlyList<StatusValue> values, CheetahResponse response)
    {
        response.ContentType = "text/plain; version=0.0.4; charset=utf-8"u8;
        foreach (StatusValue value in values)
        {
            string label = value.Text is null ? "" : $"{{text=\"{value.Text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal)}\"}}";
            response.Write($"# HELP cheetah_{value.Name} {value.Help}\n# TYPE cheetah_{value.Name} {(value.IsCounter ? "counter" : "gauge")}\ncheetah_{value.Name}{label} ");
            response.Write(value.Value);
            response.Write("\n"u8);
        }
    }

    private static string Escaped(string text) => WebUtility.HtmlEncode(text);
}
