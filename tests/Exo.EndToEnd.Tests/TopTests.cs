// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS;
using Exo.Host;
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary>A running exokernel as its user looks at it: in the terminal, from programs, and in a browser.</summary>
public sealed partial class TopTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private string Socket => _folder["disk.sock"];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_host_is_looked_at_in_the_terminal_and_by_programs_until_it_goes()
    {
        using ExoProcess host = StartHost();
        ExoProcess.Run("Tenant.dll", Socket, "diary", "write", "3", "Rain again.").Succeeded();
        using HostClient client = HostClient.Attach(Socket);
        for (int i = 0; i < 100; i++)
        {
            client.Ping();
        }

        string text = ExoProcess.Exo("top", "--socket", Socket, "--once").Succeeded().Output;
        Assert.Contains($"exo host {_folder["disk.img"]}, process {host.Id}", text, StringComparison.Ordinal);
        Assert.Matches($"{Environment.ProcessId} +\\S+ +{Geteuid()} +waiting +100 ", text);
        Assert.Contains("notes.index", text, StringComparison.Ordinal);
        string[] lines = ExoProcess.Exo("top", "--socket", Socket, "--once", "--json").Succeeded().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        ExokernelSnapshot snapshot = ExokernelSnapshot.FromJson(System.Text.Encoding.UTF8.GetBytes(Assert.Single(lines)));
        Assert.Equal((host.Id, 100), (snapshot.ProcessId, Assert.Single(snapshot.Clients).Requests));

        using ExoProcess watching = ExoProcess.Start("exo.dll", "top", "--socket", Socket, "--json", "--interval", "0.1");
        watching.WaitForLine("\"requests\":100,");
        client.Ping();
        watching.WaitForLine("\"requests\":101,");
        host.Kill();
        ExoResult ended = watching.Wait();
        Assert.Equal(1, ended.ExitCode);
        Assert.Contains("has gone", ended.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_browser_shows_what_the_host_says()
    {
        Chromium browser = new(_folder.Path);
        using ExoProcess host = StartHost("--http", "127.0.0.1:0");
        string url = Url(host);
        ExoProcess.Run("Tenant.dll", Socket, "diary", "write", "3", "Rain again.").Succeeded();
        using HostClient client = HostClient.Attach(Socket);
        client.Ping();
        using HttpClient web = new() { BaseAddress = new Uri(url) };
        byte[] json = await web.GetByteArrayAsync("snapshot.json", TestContext.Current.CancellationToken);
        ExokernelSnapshot snapshot = ExokernelSnapshot.FromJson(json);
        string document = browser.Document(url + "?interval=300");

        Assert.Equal($"exo host {_folder["disk.img"]}", WebUtility.HtmlDecode(Match(document, "<h1 id=\"name\">(.*?)</h1>")));
        Assert.Equal($"process {host.Id}", Match(document, "<p id=\"process\">(.*?)</p>"));
        Assert.Equal("live", Match(document, "<p id=\"status\"[^>]*>(.*?)</p>"));
        Assert.True(int.Parse(Match(document, "data-pictures=\"(\\d+)\""), CultureInfo.InvariantCulture) >= 2);
        Assert.Equal(Shown(snapshot.Frames!.Held), Match(document, "id=\"frames-held\">(.*?)</div>"));
        Assert.Equal(Shown(snapshot.Registry!.InCore), Match(document, "id=\"blocks-in-core\">(.*?)</div>"));
        Assert.Equal(Shown(snapshot.Registry.Dirty), Match(document, "id=\"blocks-dirty\">(.*?)</div>"));
        Assert.Equal(Shown((long)snapshot.Registry.FreeBlocks), Match(document, "id=\"blocks-free\">(.*?)</div>"));
        string clients = Match(document, "(<section id=\"clients\">.*?</section>)");
        Assert.Contains($"<td class=\"n\">{Environment.ProcessId}</td>", clients, StringComparison.Ordinal);
        Assert.Contains("0 of 4,096", clients, StringComparison.Ordinal);
        Assert.Contains("<td class=\"n\">1</td>", clients, StringComparison.Ordinal);
        for (int i = 1; i < 1234; i++)
        {
            client.Ping();
        }

        clients = Match(browser.Document(url), "(<section id=\"clients\">.*?</section>)");
        Assert.Contains("<td class=\"n\">1,234</td>", clients, StringComparison.Ordinal);
        Assert.Contains("notes.index", Match(document, "(<section id=\"templates\">.*?</section>)"), StringComparison.Ordinal);
        Assert.Matches("<section id=\"environments\" hidden", document);

        PixelImage wide = browser.Picture(url, 1280, 900);
        Assert.Equal((1280, 900), (wide.Width, wide.Height));
        Assert.InRange(wide.BlankPart, 0.2, 0.95);
        Assert.True(wide.Colours > 50, $"{wide.Colours} colours");
        PixelImage narrow = browser.Picture(url, 500, 1200);
        Assert.InRange(narrow.BlankPart, 0.2, 0.95);
    }

    [Fact]
    public void A_page_outlives_the_hosts_that_it_shows()
    {
        ExoProcess host = StartHost();
        using ExoProcess top = ExoProcess.Start("exo.dll", "top", "--socket", Socket, "--http", "127.0.0.1:0");
        using HttpClient web = new() { BaseAddress = new Uri(Url(top)) };
        Assert.Equal(host.Id, ProcessOf(Until(web, HttpStatusCode.OK)));
        host.Kill();
        host.Dispose();
        Until(web, HttpStatusCode.ServiceUnavailable);
        using ExoProcess again = ExoProcess.Start("exo.dll", "host", _folder["disk.img"], "--socket", Socket);
        again.WaitForLine("attach to");
        Assert.Equal(again.Id, ProcessOf(Until(web, HttpStatusCode.OK)));

        static int ProcessOf(byte[] json) => ExokernelSnapshot.FromJson(json).ProcessId;
    }

    [Fact]
    public async Task A_web_server_is_looked_at_too()
    {
        string image = _folder["site.img"];
        using (CffsVolume volume = CffsVolume.Create(image, new CffsCreateOptions { SizeBytes = 16 << 20 }))
        {
            volume.WriteAllBytes("/hello.txt", "Hello"u8.ToArray());
        }

        string socket = _folder["serve.sock"];
        using ExoProcess server = ExoProcess.Start("exo.dll", "serve", image, "--listen", "127.0.0.1:0", "--observe", socket);
        using HttpClient web = new() { BaseAddress = new Uri(Url(server)) };
        Assert.Equal("Hello", await web.GetStringAsync("hello.txt", TestContext.Current.CancellationToken));
        string text = ExoProcess.Exo("top", "--socket", socket, "--once").Succeeded().Output;
        Assert.Matches($"exo serve {Regex.Escape(image)}, process {server.Id}", text);
        Assert.Matches("requests +1 ", text);
        Assert.Contains("cffs.slots", text, StringComparison.Ordinal);
    }

    /// <summary>The map of <c>exo map</c> is a picture that a browser draws.</summary>
    [Fact]
    public void A_browser_draws_the_map()
    {
        Chromium browser = new(_folder.Path);
        using (CffsVolume volume = CffsVolume.Create(_folder["small.img"], new CffsCreateOptions { SizeBytes = 8 << 20, Seed = 1 }))
        {
            volume.WriteAllBytes("/file", new byte[3 << 20]);
        }

        ExoProcess.Exo("map", _folder["small.img"], "-o", _folder["map.svg"]).Succeeded();
        PixelImage map = browser.Picture(new Uri(_folder["map.svg"]).AbsoluteUri, 900, 900);
        Assert.InRange(map.BlankPart, 0.1, 0.97);
        Assert.True(map.Colours > 5, $"{map.Colours} colours");
    }

    private static string Shown(long number) => number.ToString("N0", CultureInfo.InvariantCulture);

    private static string Match(string document, string pattern)
    {
        Match match = Regex.Match(document, pattern, RegexOptions.Singleline);
        Assert.True(match.Success, $"'{pattern}' is not in\n{document}");
        return match.Groups[1].Value;
    }

    private static string Url(ExoProcess process) => Address().Match(process.WaitForLine("http://")).Value;

    private static byte[] Until(HttpClient web, HttpStatusCode status)
    {
        while (true)
        {
            using HttpResponseMessage answer = web.GetAsync("snapshot.json", TestContext.Current.CancellationToken).GetAwaiter().GetResult();
            if (answer.StatusCode == status)
            {
                return answer.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken).GetAwaiter().GetResult();
            }

            Assert.Contains(answer.StatusCode, (HttpStatusCode[])[HttpStatusCode.OK, HttpStatusCode.ServiceUnavailable]);
        }
    }

    private static string Geteuid() => HostTreeManifest.Run(Path.GetTempPath(), "id -u").Trim();

    [GeneratedRegex("http://[^ ]+")]
    private static partial Regex Address();

    private ExoProcess StartHost(params string[] more)
    {
        using (FileStream image = File.Create(_folder["disk.img"]))
        {
            image.SetLength(64 << 20);
        }

        ExoProcess host = ExoProcess.Start("exo.dll", ["host", _folder["disk.img"], "--socket", Socket, "--format", .. more]);
        host.WaitForLine(more.Length > 0 ? "shown on" : "attach to");
        return host;
    }
}
