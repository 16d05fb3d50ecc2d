// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary>The ASP.NET Core sample as a process: what it answers, and what is on the disk afterwards.</summary>
public sealed class ServiceSampleTests : IDisposable
{
    private readonly TempFolder folder = new();
    private readonly HttpClient client = new();

    private string Image => folder["service.img"];

    public void Dispose()
    {
        client.Dispose();
        folder.Dispose();
    }

    [Fact]
    public async Task Files_are_stored_replaced_listed_served_and_removed()
    {
        using ExoProcess service = Start(out Uri address);
        Assert.Contains("Files in one image", await client.GetStringAsync(address), StringComparison.Ordinal);

        byte[] contents = new byte[3_000_000];
        new Random(1).NextBytes(contents);
        Assert.Equal(HttpStatusCode.Created, await PutAsync(address, "files/a%20b.bin", contents));
        using HttpResponseMessage stored = await client.GetAsync(new Uri(address, "files/a%20b.bin"));
        Assert.Equal(contents, await stored.Content.ReadAsByteArrayAsync());

        using HttpRequestMessage part = new(HttpMethod.Get, new Uri(address, "files/a%20b.bin"));
        part.Headers.Range = new RangeHeaderValue(1_000_000, 1_000_009);
        using HttpResponseMessage partial = await client.SendAsync(part);
        Assert.Equal(HttpStatusCode.PartialContent, partial.StatusCode);
        Assert.Equal(contents[1_000_000..1_000_010], await partial.Content.ReadAsByteArrayAsync());

        Array.Reverse(contents);
        Assert.Equal(HttpStatusCode.NoContent, await PutAsync(address, "files/a%20b.bin", contents));
        using HttpRequestMessage conditional = new(HttpMethod.Get, new Uri(address, "files/a%20b.bin"));
        conditional.Headers.IfNoneMatch.Add(stored.Headers.ETag!);
        using HttpResponseMessage replaced = await client.SendAsync(conditional);
        Assert.Equal(contents, await replaced.Content.ReadAsByteArrayAsync());

        using JsonDocument list = JsonDocument.Parse(await client.GetStringAsync(new Uri(address, "files")));
        JsonElement row = Assert.Single(list.RootElement.EnumerateArray());
        Assert.Equal(("a b.bin", contents.Length), (row.GetProperty("name").GetString(), row.GetProperty("bytes").GetInt32()));

        Assert.Equal(HttpStatusCode.BadRequest, await PutAsync(address, "files/.hidden", contents));
        Assert.Equal(HttpStatusCode.NotFound, (await client.GetAsync(new Uri(address, "files/nothing"))).StatusCode);
        Assert.Equal(HttpStatusCode.NoContent, (await client.DeleteAsync(new Uri(address, "files/a%20b.bin"))).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await client.DeleteAsync(new Uri(address, "files/a%20b.bin"))).StatusCode);

        service.Signal("TERM");
        service.Wait().Succeeded();
        Assert.Empty(ExoProcess.Exo("ls", Image, "/.unfinished").Succeeded().Output);
        ExoProcess.Exo("fsck", Image).Succeeded();
    }

    [Fact]
    public async Task The_health_check_says_how_the_volume_is()
    {
        ExoProcess.Exo("mkfs", Image, "--size", "24M").Succeeded();
        using (ExoProcess service = Start(out Uri address))
        {
            JsonElement volume = await HealthAsync(address);
            Assert.Equal("Healthy", volume.GetProperty("status").GetString());
            Assert.True(volume.GetProperty("data").GetProperty("unmountedCleanly").GetBoolean());
            Assert.InRange(volume.GetProperty("data").GetProperty("availableBytes").GetInt64(), 18L << 20, 24L << 20);
            service.Kill();
        }

        using (ExoProcess service = Start(out Uri address))
        {
            JsonElement volume = await HealthAsync(address);
            Assert.False(volume.GetProperty("data").GetProperty("unmountedCleanly").GetBoolean());
            Assert.Equal(HttpStatusCode.Created, await PutAsync(address, "files/much", new byte[volume.GetProperty("data").GetProperty("availableBytes").GetInt64() - (1 << 19)]));
            volume = await HealthAsync(address);
            Assert.Equal("Degraded", volume.GetProperty("status").GetString());
            Assert.Equal(HttpStatusCode.InsufficientStorage, await PutAsync(address, "files/more", new byte[5 << 20]));
            Assert.Equal(HttpStatusCode.NotFound, (await client.GetAsync(new Uri(address, "files/more"))).StatusCode);
            service.Kill();
        }
    }

    /// <summary>The image is sparse, and the file system that it lies on is full: what the volume has free cannot be written.</summary>
    [Fact]
    public async Task The_health_check_fails_while_the_disk_does()
    {
        Requires.Root();
        Requires.Program("mount");
        string full = Directory.CreateDirectory(folder["full"]).FullName;
        HostTreeManifest.Run(folder.Path, "mount -t tmpfs -o size=32m exo-test full");
        try
        {
            string image = Path.Combine(full, "service.img");
            ExoProcess.Exo("mkfs", image, "--size", "64M").Succeeded();
            using ExoProcess service = ExoProcess.Start("Service.dll", "--image", image, "--urls", "http://127.0.0.1:0", "--contentRoot", folder.Path);
            Uri address = AddressOf(service);
            Assert.Equal(HttpStatusCode.Created, await PutAsync(address, "files/before", new byte[100_000]));
            Assert.Equal("Healthy", (await HealthAsync(address)).GetProperty("status").GetString());

            HostTreeManifest.Run(full, "dd if=/dev/zero of=filler bs=4k 2>/dev/null || true");
            Assert.Equal(HttpStatusCode.InternalServerError, await PutAsync(address, "files/more", new byte[10 << 20]));
            using (HttpResponseMessage sick = await client.GetAsync(new Uri(address, "health")))
            {
                Assert.Equal(HttpStatusCode.ServiceUnavailable, sick.StatusCode);
                using JsonDocument report = JsonDocument.Parse(await sick.Content.ReadAsStringAsync());
                Assert.Equal("Unhealthy", report.RootElement.GetProperty("volume").GetProperty("status").GetString());
                Assert.Contains("space", report.RootElement.GetProperty("volume").GetProperty("description").GetString(), StringComparison.OrdinalIgnoreCase);
            }

            File.Delete(Path.Combine(full, "filler"));
            Assert.Equal("Healthy", (await HealthAsync(address)).GetProperty("status").GetString());
            Assert.Equal(HttpStatusCode.Created, await PutAsync(address, "files/after", new byte[100_000]));
            service.Signal("TERM");
            service.Wait().Succeeded();
            ExoProcess.Exo("fsck", image).Succeeded();
        }
        finally
        {
            HostTreeManifest.Run(folder.Path, "umount full");
        }
    }

    [Fact]
    public async Task A_service_that_is_killed_in_the_middle_of_an_upload_has_the_old_file()
    {
        byte[] old = Encoding.ASCII.GetBytes(new string('o', 500_000));
        using (ExoProcess service = Start(out Uri address))
        {
            Assert.Equal(HttpStatusCode.Created, await PutAsync(address, "files/it", old));
            using TcpClient half = new();
            await half.ConnectAsync(address.Host, address.Port);
            await half.GetStream().WriteAsync("PUT /files/it HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"u8.ToArray());
            await half.GetStream().WriteAsync(new byte[600_000]);
            Assert.Equal(old, await client.GetByteArrayAsync(new Uri(address, "files/it")));
            service.Kill();
        }

        using (ExoProcess service = Start(out Uri address))
        {
            Assert.Equal(old, await client.GetByteArrayAsync(new Uri(address, "files/it")));
            service.Signal("TERM");
            service.Wait().Succeeded();
        }

        Assert.Empty(ExoProcess.Exo("ls", Image, "/.unfinished").Succeeded().Output);
        ExoProcess.Exo("fsck", Image).Succeeded();
    }

    private ExoProcess Start(out Uri address)
    {
        ExoProcess service = ExoProcess.Start("Service.dll", "--image", Image, "--urls", "http://127.0.0.1:0", "--contentRoot", folder.Path);
        address = AddressOf(service);
        return service;
    }

    private static Uri AddressOf(ExoProcess service)
    {
        string line = service.WaitForLine("Now listening on: ");
        return new Uri(line[line.IndexOf("http", StringComparison.Ordinal)..].Trim());
    }

    private async Task<HttpStatusCode> PutAsync(Uri address, string path, byte[] contents)
    {
        using HttpResponseMessage answer = await client.PutAsync(new Uri(address, path), new ByteArrayContent(contents));
        return answer.StatusCode;
    }

    private async Task<JsonElement> HealthAsync(Uri address)
    {
        using JsonDocument report = JsonDocument.Parse(await client.GetStringAsync(new Uri(address, "health")));
        return report.RootElement.GetProperty("volume").Clone();
    }
}
