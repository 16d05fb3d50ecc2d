// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Tests;

namespace Exo.Cli.Tests;

/// <summary><c>exo serve --log</c>, asked by curl.</summary>
public sealed class ServeLogTests
{
    [Fact]
    public void The_log_tells_what_curl_asked_and_moves_to_a_new_file_when_told()
    {
        Requires.Program("curl");
        using TempFolder folder = new();
        Directory.CreateDirectory(folder["site"]);
        File.WriteAllText(Path.Combine(folder["site"], "index.html"), "<h1>hello</h1>");
        ExoProcess.Exo("mkfs", folder["site.img"], "--size", "64M").Succeeded();
        ExoProcess.Exo("import", folder["site.img"], folder["site"]).Succeeded();
        string log = folder["access.log"], old = folder["access.log.1"];
        using ExoProcess server = ExoProcess.Start("exo.dll", "serve", folder["site.img"], "--listen", "127.0.0.1:0", "--log", log, "--max-request-line", "1024");
        string url = server.WaitForLine("http://").Split(" on ")[1].Trim();
        Curl("-A", "a \"b\"\u00e4", "-e", "http://r/", url);
        Curl("-A", "x", "-r", "1-2", url);
        Curl("-A", "x", "-I", url + "nosuch");
        Curl("-A", "x", "--request-target", "/\" 200 5", url);
        File.Move(log, old);
        server.Signal("HUP");
        Assert.True(SpinWait.SpinUntil(() => File.Exists(log), 60_000));
        Curl("-A", "x", url + new string('y', 1100));
        server.Signal("TERM");
        server.Wait().Succeeded();
        Assert.Equal(
            [
                "\"GET / HTTP/1.1\" 200 14 \"http://r/\" \"a \\\"b\\\"\\xc3\\xa4\"",
                "\"GET / HTTP/1.1\" 206 2 \"-\" \"x\"",
                "\"HEAD /nosuch HTTP/1.1\" 404 - \"-\" \"x\"",
                "\"GET /\\\" 200 5 HTTP/1.1\" 400 58 \"-\" \"-\"",
            ],
            File.ReadAllLines(old).Select(Said));
        Assert.StartsWith("\"GET /yyy", Said(Assert.Single(File.ReadAllLines(log))), StringComparison.Ordinal);
    }

    private static void Curl(params string[] args)
    {
        using Process curl = Process.Start(new ProcessStartInfo("curl", ["-sS", "--max-time", "20", "-o", "/dev/null", .. args]))!;
        curl.WaitForExit();
        Assert.Equal(0, curl.ExitCode);
    }

    private static string Said(string line)
    {
        Assert.StartsWith("127.0.0.1 - - [", line, StringComparison.Ordinal);
        return line.Split("] ", 2)[1];
    }
}
