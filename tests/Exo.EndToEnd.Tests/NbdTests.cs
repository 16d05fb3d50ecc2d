// SPDX-License-Identifier: MIT
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary><c>exo nbd</c>: one Exo serves an image, another makes, fills, checks and reads a volume on it.</summary>
public sealed class NbdTests : IDisposable
{
    private readonly TempFolder _folder = new();

    [Fact]
    public void A_volume_lives_on_an_export_of_another_exo()
    {
        string content = Path.Combine(AppContext.BaseDirectory, "content");
        using (FileStream image = File.Create(_folder["disk.img"]))
        {
            image.SetLength(64 << 20);
        }

        string uri;
        using (ExoProcess server = ExoProcess.Start("exo.dll", "nbd", _folder["disk.img"], "--socket", _folder["s"], "--export", "disk one"))
        {
            uri = Uri(server);
            Assert.Contains("/disk%20one?socket=", uri, StringComparison.Ordinal);
            ExoProcess.Exo("mkfs", uri).Succeeded();
            ExoProcess.Exo("import", uri, content).Succeeded();
            ExoProcess.Exo("fsck", uri).Succeeded();
            ExoProcess.Exo("export", uri, _folder["copy"]).Succeeded();
            server.Signal("TERM");
            server.Wait().Succeeded();
        }

        ExoProcess.Exo("fsck", _folder["disk.img"]).Succeeded();
        Assert.Equal(HostTreeManifest.Read(content), HostTreeManifest.Read(_folder["copy"]));
        ExoProcess.Exo("ls", uri).Refused(1); // The server has gone.
    }

    [Fact]
    public void A_read_only_export_over_TCP_can_be_looked_at_and_no_more()
    {
        ExoProcess.Exo("mkfs", _folder["disk.img"], "--size", "16M", "--label", "far").Succeeded();
        using ExoProcess server = ExoProcess.Start("exo.dll", "nbd", _folder["disk.img"], "--listen", "127.0.0.1:0", "--read-only");
        string uri = Uri(server);
        ExoProcess.Exo("df", uri).Succeeded();
        ExoProcess.Exo("mkfs", uri, "--force").Refused(1);
        server.Signal("INT");
        server.Wait().Succeeded();
    }

    [Fact]
    public void Wrong_usage_is_one_line()
    {
        ExoProcess.Exo("mkfs", _folder["disk.img"], "--size", "16M").Succeeded();
        ExoProcess.Exo("nbd", _folder["disk.img"], "--socket", _folder["s"], "--listen", "127.0.0.1:0").Refused(2);
        ExoProcess.Exo("nbd", _folder["none.img"]).Refused(1);
        ExoProcess.Exo("nbd", _folder["disk.img"], "--socket", new string('x', 200)).Refused(2);
        ExoProcess.Exo("ls", "nbd+unix:///").Refused(1);
        ExoProcess.Exo("mkfs", "nbd://127.0.0.1:1/", "--size", "1M").Refused(2);
    }

    public void Dispose() => _folder.Dispose();

    private static string Uri(ExoProcess server) => server.WaitForLine(" on nbd").Split(" on ")[^1].Trim();
}
