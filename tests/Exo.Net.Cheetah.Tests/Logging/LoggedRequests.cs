// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Net.Cheetah.Tests.Sockets;

namespace Exo.Net.Cheetah.Tests.Logging;

/// <summary>Requests of every kind, and the line that each makes: the same on sockets and on a raw device.</summary>
internal static class LoggedRequests
{
    private static readonly (string Request, string RequestLine, int Status, string? Fields)[] Table =
    [
        ("GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a HTTP/1.1", 200, null),
        ("GET /a HTTP/1.0\r\n\r\n", "GET /a HTTP/1.0", 200, null),
        ("GET /large HTTP/1.1\r\nHost: h\r\n\r\n", "GET /large HTTP/1.1", 200, null),
        ("GET /empty HTTP/1.1\r\nHost: h\r\n\r\n", "GET /empty HTTP/1.1", 200, null),
        ("\r\nGET /a?q=1 HTTP/1.1\r\nHost: h\r\nReferer: http://r/\r\nUser-Agent:  an agent \r\n\r\n", "GET /a?q=1 HTTP/1.1", 200, "\"http://r/\" \"an agent\""),
        ("HEAD /a HTTP/1.1\r\nHost: h\r\nuser-agent: x\r\n\r\n", "HEAD /a HTTP/1.1", 200, "\"-\" \"x\""),
        ("HEAD /none HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD /none HTTP/1.1", 404, null),
        ("GET /a HTTP/1.1\r\nHost: h\r\nRange: bytes=2-4\r\n\r\n", "GET /a HTTP/1.1", 206, null),
        ("GET /a HTTP/1.1\r\nHost: h\r\nRange: bytes=2-4,6-7,-1\r\n\r\n", "GET /a HTTP/1.1", 206, null),
        ("GET /a HTTP/1.1\r\nHost: h\r\nRange: bytes=1000-\r\n\r\n", "GET /a HTTP/1.1", 416, null),
        ("GET /a HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\n\r\n", "GET /a HTTP/1.1", 304, null),
        ("GET /a HTTP/1.1\r\nHost: h\r\nIf-Match: \"no\"\r\n\r\n", "GET /a HTTP/1.1", 412, null),
        ("GET /dir HTTP/1.1\r\nHost: h\r\n\r\n", "GET /dir HTTP/1.1", 308, null),
        ("GET /dir HTTP/1.0\r\n\r\n", "GET /dir HTTP/1.0", 301, null),
        ("GET /none HTTP/1.1\r\nHost: h\r\n\r\n", "GET /none HTTP/1.1", 404, null),
        ("GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", "GET /%zz HTTP/1.1", 400, null),
        ("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "POST /a HTTP/1.1", 405, null),
        ("BREW /a HTTP/1.1\r\nHost: h\r\n\r\n", "BREW /a HTTP/1.1", 501, null),
        ("GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 70000\r\n\r\n", "GET /a HTTP/1.1", 413, null),
        ("GET /a HTTP/3.0\r\n\r\n", "GET /a HTTP/3.0", 505, null),
        ("GET /a HTTP/1.1\r\nReferer: r\r\n\r\n", "GET /a HTTP/1.1", 400, "\"r\" \"-\""),
        ("GET /a HTTP/1.1\nHost: h\n\n", "GET /a HTTP/1.1", 400, null),
        ("\x16\x03\x01\x02\0\x01\0\x01\xfc", @"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400, null),
        ("GET /a\"\\\t\x7f\xe4 HTTP/1.1\r\nHost: h\r\n\r\n", @"GET /a\""\\\t\x7f\xe4 HTTP/1.1", 400, null),
        ("GET /\r127.0.0.1 HTTP/1.1\r\nHost: h\r\n\r\n", @"GET /\r127.0.0.1 HTTP/1.1", 400, null),
        ("GET /a HTTP/1.1\r\nHost: h\r\nReferer: \" 200 \xe4\\\r\nUser-Agent: \"\"\r\n\r\n", "GET /a HTTP/1.1", 200, @"""\"" 200 \xe4\\"" ""\""\"""""),
        ("GET /" + new string('x', 9000) + " HTTP/1.1\r\nHost: h\r\n\r\n", "GET /" + new string('x', 8192 - 5), 414, null),
        ("GET /a HTTP/1.1\r\nUser-Agent: u\r\nX: " + new string('x', 17000) + "\r\n\r\n", "GET /a HTTP/1.1", 431, "\"-\" \"u\""),
    ];

    public static TheoryData<int> All => [.. Enumerable.Range(0, Table.Length)];

    public static string Request(int index) => Table[index].Request;

    public static void Fill(MemoryDocumentSource documents)
    {
        documents.Set("/a", TestServer.Bytes(10));
        documents.Set("/large", TestServer.Bytes(300_000));
        documents.Set("/empty", []);
        documents.Set("/dir/index.html", TestServer.Bytes(20));
    }

    /// <summary>The line for a response as the client has it: its status and the bytes of its body are what the line says.</summary>
    public static string Line(int index, string client, string time, byte[] response)
    {
        (_, string requestLine, int status, string? fields) = Table[index];
        string text = Encoding.Latin1.GetString(response);
        Assert.StartsWith($"HTTP/1.1 {status} ", text, StringComparison.Ordinal);
        int bodyBytes = response.Length - text.IndexOf("\r\n\r\n", StringComparison.Ordinal) - 4;
        return $"{client} - - [{time}] \"{requestLine}\" {status} {(bodyBytes == 0 ? "-" : bodyBytes)} {fields ?? "\"-\" \"-\""}";
    }
}
