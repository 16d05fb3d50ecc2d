// SPDX-License-Identifier: MIT
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Exo.Cli.Output;

/// <summary>JSON on standard output: indented, camelCase, one object per call.</summary>
internal static class JsonOutput
{
    public static void Write(Action<Utf8JsonWriter> members)
    {
        using Stream output = Console.OpenStandardOutput();
        using (Utf8JsonWriter json = new(output, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            members(json);
            json.WriteEndObject();
        }

        output.WriteByte((byte)'\n');
    }

    /// <summary>
    /// A name: <c>NAME</c> as text; when the bytes are not UTF-8 also <c>NAMEHex</c> with the bytes, because JSON strings cannot hold them.
    /// </summary>
    public static void WriteName(this Utf8JsonWriter json, string property, ReadOnlySpan<byte> name)
    {
        bool isText = ByteText.TryText(name, out string text);
        json.WriteString(property, text);
        if (!isText)
        {
            json.WriteString(property + "Hex", Convert.ToHexStringLower(name));
        }
    }
}
