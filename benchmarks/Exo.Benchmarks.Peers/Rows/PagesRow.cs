// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net;
using System.Text;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.FileSystems.CFFS;
using Exo.Net.Cheetah;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>
/// HTML-based grouping: pages of a site, cold, and then all that each includes over six connections, as a browser asks for them, until the last byte. The site is imported page by page and served with what pages include
/// fetched ahead; beside it, imported directory by directory and served file by file.
/// </summary>
internal sealed class PagesRow(string name, bool fetchesBoth) : IPeerRow
{
    private const int Pages = 500;
    private const int Folders = 20;
    private const int Pictures = 5;
    private const int Connections = 6;

    private static readonly string[] s_shared = ["/css/main.css", "/css/print.css", "/js/main.js"];

    private string _grouped = "";
    private string _plain = "";
    private int _round;

    public string Name => name;

    public string Work => $"{Folders} of {Pages} pages, one in each directory, each with {s_shared.Length} files that all share and {Pictures} pictures of its own, asked for cold one after the other: mean time to the last byte";

    public string Peer => fetchesBoth ? "imported directory by directory, includes fetched ahead too" : "imported directory by directory, nothing fetched ahead";

    public string Unit => "ms";

    public bool MoreIsBetter => false;

    public string? Missing() => Tool.NotRoot();

    public void Prepare(WorkFolder folder)
    {
        string site = folder["site"];
        Random random = new(1);
        foreach (string path in s_shared)
        {
            Write(site, path, "/* shared */", 20_000, random);
        }

        for (int page = 0; page < Pages; page++)
        {
            Write(site, PathOf(page), string.Concat(IncludesOf(page).Select(TagOf)) + "<plaintext>", 8000, random);
            foreach (string picture in IncludesOf(page).Skip(s_shared.Length))
            {
                Write(site, picture, "", random.Next(4000, 20_000), random);
            }
        }

        _grouped = Import(folder["grouped.img"], site, "--group-pages");
        _plain = Import(folder["plain.img"], site);
    }

    public double RunExo() => Visit(_grouped, fetches: true);

    public double RunPeer() => Visit(_plain, fetchesBoth);

    public void Dispose()
    {
    }

    private static string PathOf(int page) => string.Create(CultureInfo.InvariantCulture, $"/{page % Folders}/page{page}.html");

    private static string[] IncludesOf(int page) => [.. s_shared, .. Enumerable.Range(0, Pictures).Select(i => string.Create(CultureInfo.InvariantCulture, $"/img/{page % Folders}/{page}-{i}.png"))];

    private static string TagOf(string path) => path.EndsWith(".css", StringComparison.Ordinal) ? $"<link rel=stylesheet href={path}>" : path.EndsWith(".js", StringComparison.Ordinal) ? $"<script src={path}></script>" : $"<img src={path}>";

    private static void Write(string site, string path, string beginning, int lengthBytes, Random random)
    {
        byte[] bytes = new byte[lengthBytes];
        random.NextBytes(bytes);
        _ = Encoding.ASCII.GetBytes(beginning, bytes);
        string file = Path.Combine(site, path[1..]);
        _ = Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllBytes(file, bytes);
    }

    private static string Import(string image, string site, params string[] options)
    {
        Tool.Run("dotnet", Tool.Exo("mkfs", image, "--size", "256M"));
        Tool.Run("dotnet", Tool.Exo(["import", image, site, .. options]));
        return image;
    }

    private double Visit(string image, bool fetches)
    {
        Tool.DropCaches();
        using CffsVolume volume = CffsVolume.Open(image, new CffsOpenOptions { ReadOnly = true, CacheBytes = 128L << 20 });
        CheetahServer server = new(new CheetahServerOptions { EndPoint = new IPEndPoint(IPAddress.Loopback, 0) }, new CffsDocumentSource(volume) { FetchesIncludes = fetches }, volume.Frames);
        server.Start();
        using HttpClient client = new(new SocketsHttpHandler { MaxConnectionsPerServer = Connections }) { BaseAddress = new Uri($"http://{server.EndPoint}") };

        // The same pages for both sides of a round, none of whose pictures a directory's grouping has brought with another's. A path that is not there makes the connections.
        Task.WaitAll(Enumerable.Range(0, Connections).Select(_ => client.GetAsync(new Uri("/none", UriKind.Relative))).ToArray<Task>());
        Random random = new(_round++ / 2);
        int[] pages = [.. Enumerable.Range(0, Folders).Select(folder => folder + (Folders * random.Next(Pages / Folders)))];
        double seconds = Tool.Seconds(() => VisitAsync(client, pages).GetAwaiter().GetResult());
        server.StopAsync(TimeSpan.FromSeconds(5)).GetAwaiter().GetResult();
        server.DisposeAsync().AsTask().GetAwaiter().GetResult();
        return seconds * 1000 / Folders;
    }

    private static async Task VisitAsync(HttpClient client, int[] pages)
    {
        foreach (int page in pages)
        {
            _ = await client.GetByteArrayAsync(new Uri(PathOf(page), UriKind.Relative)).ConfigureAwait(false);
            await Task.WhenAll(IncludesOf(page).Select(path => client.GetByteArrayAsync(new Uri(path, UriKind.Relative)))).ConfigureAwait(false);
        }
    }
}
