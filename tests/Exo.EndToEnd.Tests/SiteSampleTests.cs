// SPDX-License-Identifier: MIT
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary>The sample as a process: the first thing that a stranger runs.</summary>
public sealed class SiteSampleTests : IDisposable
{
    private readonly TempFolder _folder = new();

    [Fact]
    public void The_first_run_formats_the_second_mounts_and_fresh_rebuilds()
    {
        string image = _folder["state/site.img"];
        string first = Serve("--image", image);
        Assert.Contains("format", first, StringComparison.Ordinal);
        Assert.Contains("copy", first, StringComparison.Ordinal);
        string second = Serve("--image", image);
        Assert.DoesNotContain("format", second, StringComparison.Ordinal);
        Assert.Contains("mount", second, StringComparison.Ordinal);
        Assert.DoesNotContain("note:", second, StringComparison.Ordinal);

        string other = Directory.CreateDirectory(_folder["other"]).FullName;
        File.WriteAllText(Path.Combine(other, "index.html"), "<p>other");
        Assert.Contains("--fresh", Serve("--image", image, "--content", other), StringComparison.Ordinal);
        Assert.Contains("format", Serve("--image", image, "--content", other, "--fresh"), StringComparison.Ordinal);
        Assert.Equal("<p>other", ExoProcess.Exo("cat", image, "/index.html").Succeeded().Output);
        Assert.Equal([image], Directory.GetFiles(_folder["state"]));
    }

    [Fact]
    public void What_is_not_ours_is_left_alone()
    {
        string image = _folder["thesis.txt"];
        string text = string.Concat(Enumerable.Repeat("three years of work\n", 100_000));
        File.WriteAllText(image, text);
        Assert.Contains("thesis.txt", ExoProcess.Run("Site.dll", "--image", image, "--listen", "127.0.0.1:0").Refused(1), StringComparison.Ordinal);
        Assert.Contains("thesis.txt", ExoProcess.Run("Site.dll", "--image", image, "--listen", "127.0.0.1:0", "--fresh").Refused(1), StringComparison.Ordinal);
        Assert.Equal(text, File.ReadAllText(image));
    }

    [Fact]
    public void A_folder_that_does_not_fit_or_is_not_there_leaves_nothing_behind()
    {
        string content = Directory.CreateDirectory(_folder["much"]).FullName;
        File.WriteAllBytes(Path.Combine(content, "much"), new byte[12 << 20]);
        string image = _folder["site.img"];
        Assert.Contains("--size", ExoProcess.Run("Site.dll", "--image", image, "--content", content, "--size", "8M").Refused(1), StringComparison.Ordinal);
        Assert.Contains("nosuch", ExoProcess.Run("Site.dll", "--image", image, "--content", _folder["nosuch"]).Refused(1), StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public void An_image_in_use_is_one_line()
    {
        string image = _folder["site.img"];
        using ExoProcess server = ExoProcess.Start("Site.dll", "--image", image, "--listen", "127.0.0.1:0");
        ServeTests.Url(server);
        ExoProcess.Run("Site.dll", "--image", image, "--listen", "127.0.0.1:0").Refused(1);
        ExoProcess.Run("Site.dll", "--image", image, "--listen", "127.0.0.1:0", "--fresh").Refused(1);
        server.Signal("INT");
        server.Wait().Succeeded();
    }

    public void Dispose() => _folder.Dispose();

    private static string Serve(params string[] args)
    {
        using ExoProcess server = ExoProcess.Start("Site.dll", [.. args, "--listen", "127.0.0.1:0"]);
        ServeTests.Url(server);
        server.Signal("TERM");
        return server.Wait().Succeeded().Output;
    }
}
