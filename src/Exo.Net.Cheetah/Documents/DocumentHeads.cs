// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah;

/// <summary>Lines of further fields that a document's heads have.</summary>
/// <param name="Whole">Those of 200 and 206.</param>
/// <param name="NotModified">Those of 304: without what describes bytes.</param>
internal sealed record DocumentFields(byte[] Whole, byte[] NotModified)
{
    public static readonly DocumentFields None = new([], []);
}

/// <summary>What the options say of documents' heads: media types by extension, fields by path.</summary>
internal sealed class DocumentHeads
{
    /// <summary>Bytes of all further fields that one document may have.</summary>
    public const int FieldBytesMax = 4096;

    public static readonly DocumentHeads Default = new([], new Dictionary<string, string>());

    private readonly (byte[][] Parts, DocumentField Field)[] fields;
    private readonly Dictionary<string, string> types;

    /// <exception cref="ArgumentException">Something is no pattern, no field or no media type; <see cref="ArgumentException.ParamName"/> is the option.</exception>
    public DocumentHeads(IReadOnlyList<DocumentField> fields, IReadOnlyDictionary<string, string> mediaTypes)
    {
        this.fields = [.. fields.Select(field => (Parts(field), field))];
        types = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach ((string extension, string type) in mediaTypes)
        {
            string bare = extension.TrimStart('.');
            if (bare.Length == 0 || bare.AsSpan().ContainsAny('/', '.') || !Ascii.IsValid(bare))
            {
                throw Wrong($"'{extension}' is no extension like wasm.", nameof(CheetahServerOptions.MediaTypes));
            }

            if (!type.Contains('/', StringComparison.Ordinal) || type.Length > 255 || !IsValue(type))
            {
                throw Wrong($"'{type}' is no media type like text/plain.", nameof(CheetahServerOptions.MediaTypes));
            }

            types[bare] = type;
        }
    }

    /// <summary>The media type by the path's extension.</summary>
    public string TypeOf(ReadOnlySpan<byte> path)
    {
        ReadOnlySpan<byte> name = path[(path.LastIndexOf((byte)'/') + 1)..];
        int dot = name.LastIndexOf((byte)'.');
        return types.Count > 0 && dot >= 0 && types.TryGetValue(Encoding.Latin1.GetString(name[(dot + 1)..]), out string? type) ? type : MediaTypes.ForPath(path);
    }

    /// <summary>The fields of a path's document; of several of one name the first.</summary>
    public DocumentFields FieldsOf(ReadOnlySpan<byte> path)
    {
        if (fields.Length == 0)
        {
            return DocumentFields.None;
        }

        var names = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        var whole = new StringBuilder();
        var notModified = new StringBuilder();
        foreach ((byte[][] parts, DocumentField field) in fields)
        {
            string line = $"{field.Name}: {field.Value}\r\n";
            if (Matches(parts, path) && names.Add(field.Name) && whole.Length + line.Length <= FieldBytesMax)
            {
                whole.Append(line);
                notModified.Append(field.Name.Equals("Content-Language", StringComparison.OrdinalIgnoreCase) ? "" : line);
            }
        }

        return whole.Length == 0 ? DocumentFields.None : new DocumentFields(Encoding.ASCII.GetBytes(whole.ToString()), Encoding.ASCII.GetBytes(notModified.ToString()));
    }

    private static ArgumentException Wrong(string what, string option) => new(what, option);

    private static byte[][] Parts(DocumentField field)
    {
        if (field.Pattern.Length == 0 || field.Pattern[0] is not ('/' or '*'))
        {
            throw Wrong($"'{field.Pattern}' is no pattern like /a/* or *.css.", nameof(CheetahServerOptions.DocumentFields));
        }

        byte[] name = Encoding.Latin1.GetBytes(field.Name);
        if (name.Length == 0 || name.AsSpan().ContainsAnyExcept(HttpText.TokenBytes) || ResponseBuffer.IsServers(name) || IsDocuments(field.Name))
        {
            throw Wrong($"'{field.Name}' is no name of a field, or one that the server sets.", nameof(CheetahServerOptions.DocumentFields));
        }

        if (!IsValue(field.Value) || field.Name.Length + field.Value.Length + 4 > FieldBytesMax / 4)
        {
            throw Wrong($"The value of {field.Name} is not printable ASCII, or longer than {FieldBytesMax / 4} bytes with its name.", nameof(CheetahServerOptions.DocumentFields));
        }

        return [.. field.Pattern.Split('*').Select(Encoding.UTF8.GetBytes)];
    }

    private static bool IsValue(string text) => text.Length > 0 && !text.AsSpan().ContainsAnyExceptInRange(' ', '~');

    // What only the server knows of a document.
    private static bool IsDocuments(string name) => name.ToUpperInvariant() is "ETAG" or "LAST-MODIFIED" or "ACCEPT-RANGES" or "CONTENT-RANGE" or "CONTENT-ENCODING" or "VARY" or "LOCATION" or "ALLOW";

    // What stands before the first *, then the others in their order, each as early as it comes, and the last at the end.
    private static bool Matches(byte[][] parts, ReadOnlySpan<byte> path)
    {
        if (parts.Length == 1)
        {
            return path.SequenceEqual(parts[0]);
        }

        if (!path.StartsWith(parts[0]))
        {
            return false;
        }

        path = path[parts[0].Length..];
        foreach (byte[] part in parts.AsSpan(1, parts.Length - 2))
        {
            int at = path.IndexOf(part);
            if (at < 0)
            {
                return false;
            }

            path = path[(at + part.Length)..];
        }

        return path.EndsWith(parts[^1]);
    }
}
