// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah;

/// <summary>A request as a <see cref="CheetahHandler"/> sees it: the bytes the client has sent, in place, after they have been checked. Valid during the call.</summary>
public readonly ref struct CheetahRequest
{
    private readonly HttpConnection connection;
    private readonly ReadOnlySpan<byte> lines;   // the field lines, each with its line end

    internal CheetahRequest(HttpConnection connection, in RequestHead head, ReadOnlySpan<byte> request, ReadOnlySpan<byte> path, ReadOnlySpan<byte> body)
    {
        this.connection = connection;
        ReadOnlySpan<byte> text = request[..head.LengthBytes].TrimStart("\r\n"u8);
        Method = MethodOf(head, request);
        lines = text[(text.IndexOf("\r\n"u8) + 2)..^2];
        Path = path;
        Query = head.Query.LengthBytes > 0 ? head.Query.In(request)[1..] : default;
        Body = body;
    }

    /// <summary>The method: "GET", "HEAD", "POST", ...</summary>
    public ReadOnlySpan<byte> Method { get; }

    /// <summary>The path, percent-decoded: it begins with "/" and has no empty, "." or ".." segment and no control byte, but need not be UTF-8.</summary>
    public ReadOnlySpan<byte> Path { get; }

    /// <summary>What stands behind the question mark, as it came; empty if nothing does.</summary>
    public ReadOnlySpan<byte> Query { get; }

    /// <summary>The body, whole, and without what cut it into chunks; empty if there is none. Trailer fields are not kept.</summary>
    public ReadOnlySpan<byte> Body { get; }

    /// <summary>The header fields in the order they came.</summary>
    public CheetahFields Fields => new(lines);

    /// <summary>The client's address and port. Allocates, and on sockets asks the kernel.</summary>
    public IPEndPoint RemoteEndPoint => connection.RemoteEndPoint;

    /// <summary>The client is on this machine. Never so on a raw device.</summary>
    public bool IsFromLoopback => connection.IsFromLoopback;

    /// <summary>Finds the first header field of a name, in any case of letters.</summary>
    /// <returns>False if there is none.</returns>
    public bool TryGetField(scoped ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value)
    {
        foreach (CheetahField field in Fields)
        {
            if (HttpText.Is(field.Name, name))
            {
                value = field.Value;
                return true;
            }
        }

        value = default;
        return false;
    }

    /// <summary>The method's token of a request that has been read.</summary>
    internal static ReadOnlySpan<byte> MethodOf(in RequestHead head, ReadOnlySpan<byte> request)
    {
        ReadOnlySpan<byte> text = request[..head.LengthBytes].TrimStart("\r\n"u8);   // an empty line may stand in front
        return text[..text.IndexOf((byte)' ')];
    }
}

/// <summary>One header field of a request.</summary>
public readonly ref struct CheetahField
{
    internal CheetahField(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        Name = name;
        Value = value;
    }

    /// <summary>The name as it came; names mean the same in any case of letters.</summary>
    public ReadOnlySpan<byte> Name { get; }

    /// <summary>The value without surrounding white space: no controls but tabs, perhaps bytes from 0x80 on.</summary>
    public ReadOnlySpan<byte> Value { get; }
}

/// <summary>The header fields of a request, for foreach.</summary>
public ref struct CheetahFields
{
    private ReadOnlySpan<byte> rest;

    internal CheetahFields(ReadOnlySpan<byte> lines) => rest = lines;

    /// <summary>The field at hand.</summary>
    public CheetahField Current { get; private set; }

    /// <summary>Takes the next.</summary>
    /// <returns>False when there is none.</returns>
    public bool MoveNext()
    {
        if (rest.IsEmpty)
        {
            return false;
        }

        // Every line has been checked: a token, a colon, a value, and a line end of two bytes.
        int end = rest.IndexOf((byte)'\n');
        ReadOnlySpan<byte> line = rest[..(end - 1)];
        int colon = line.IndexOf((byte)':');
        Current = new CheetahField(line[..colon], HttpText.Trim(line[(colon + 1)..]));
        rest = rest[(end + 1)..];
        return true;
    }

    /// <summary>These fields.</summary>
    public readonly CheetahFields GetEnumerator() => this;
}
