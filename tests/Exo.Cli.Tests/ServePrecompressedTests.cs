// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.IO.Compression;
using Exo.Tests;

namespace Exo.Cli.Tests;

/// <summary><c>exo serve --precompressed</c>, asked by <c>curl --compressed</c>.</summary>
public sealed class ServePrecompressedTests
{
    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public void Curl_gets_what_lies_beside_the_file_when_the_server_is_told_so(bool isImage, bool isTold)
    {
        Requires.Program("curl");
        using TempFolder folder = new();
        string site = folder["site"], what = site, text = string.Concat(Enumerable.Range(0, 500).Select(i => $"line {i}\n"));
        Directory.CreateDirectory(site);
        File.WriteAllText(Path.Combine(site, "a.txt"), text);
        using (GZipStream encoder = new(File.Create(Path.Combine(site, "a.txt.gz")), CompressionLevel.Optimal))
        {
            encoder.Write(System.Text.Encoding.ASCII.GetBytes(text));
        }

        if (isImage)
        {
            what = folder["site.img"];
            ExoProcess.Exo("mkfs", what, "--size", "64M").Succeeded();
            ExoProcess.Exo("import", what, site).Succeeded();
        }

        using ExoProcess server = ExoProcess.Start("exo.dll", ["serve", what, "--listen", "127.0.0.1:0", .. (string[])(isTold ? ["--precompressed"] : [])]);
        string url = server.WaitForLine("http://").Split(" on ")[1].Trim();
        using Process curl = Process.Start(new ProcessStartInfo("curl", ["-sS", "--max-time", "20", "--compressed", "-o", folder["got"], "-D", folder["head"], url + "a.txt"]))!;
        curl.WaitForExit();
        Assert.Equal(0, curl.ExitCode);
        Assert.Equal(text, File.ReadAllText(folder["got"]));
        Assert.Equal(isTold, File.ReadAllText(folder["head"]).Contains("Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n", StringComparison.Ordinal));
        server.Signal("TERM");
        server.Wait().Succeeded();
    }
}
