// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Text;
using Exo.Cli.Verbs;
using Exo.Tests;

namespace Exo.Cli.Tests;

/// <summary>The command as a process: help, wrong usage, and failures that need no sound image.</summary>
public sealed class CommandLineTests
{
    [Fact]
    public void Help()
    {
        StringBuilder all = new();
        List<string[]> verbs = [[]];
        foreach (Command verb in ExoCommand.Build().Subcommands)
        {
            verbs.Add([verb.Name]);
            verbs.AddRange(verb.Subcommands.Select(part => (string[])[verb.Name, part.Name]));
        }

        foreach (string[] verb in verbs)
        {
            string[] args = [.. verb, "--help"];
            ExoResult result = ExoProcess.Exo(args).Succeeded();
            Assert.Equal("", result.Error);
            all.Append("$ exo ").AppendJoin(' ', args).Append('\n').Append(result.Output).Append('\n');
        }

        Snapshot.Verify(all.ToString());
    }

    [Theory]
    [InlineData(2)]
    [InlineData(2, "nosuch")]
    [InlineData(2, "mkfs")]
    [InlineData(2, "mkfs", "/nonexistent/x.img")]
    [InlineData(2, "mkfs", "/nonexistent/x.img", "--size")]
    [InlineData(2, "mkfs", "/nonexistent/x.img", "--size", "12Q")]
    [InlineData(2, "mkfs", "/nonexistent/x.img", "--bogus")]
    [InlineData(2, "mkfs", "/nonexistent/x.img", "--size", "0")]
    [InlineData(2, "mkfs", "/nonexistent/x.img", "--size", "100")]
    [InlineData(2, "mkfs", "", "--size", "64M")]
    [InlineData(2, "ls", "")]
    [InlineData(2, "import", "", "b")]
    [InlineData(2, "import", "a", "")]
    [InlineData(2, "import", "a", "b", "--sync-every", "x")]
    [InlineData(2, "import", "a", "b", "--report-synced", "")]
    [InlineData(2, "export", "a", "")]
    [InlineData(2, "resize", "a", "0")]
    [InlineData(2, "resize", "a", "100")]
    [InlineData(2, "map", "a", "-o", "")]
    [InlineData(2, "xcp", "a", "/b", "/c", "--to", "")]
    [InlineData(2, "mount", "", "b")]
    [InlineData(2, "mount", "a", "")]
    [InlineData(2, "mount", "a", "b", "--cache", "1023K")]
    [InlineData(2, "umount", "")]
    [InlineData(2, "nbd", "")]
    [InlineData(2, "nbd", "a", "--socket", "")]
    [InlineData(2, "host", "", "--socket", "s")]
    [InlineData(2, "host", "a", "--socket", "")]
    [InlineData(2, "templates", "")]
    [InlineData(2, "top", "--socket", "")]
    [InlineData(2, "top", "--socket", "s", "--interval", "x")]
    [InlineData(2, "top", "--socket", "s", "--sort", "size")]
    [InlineData(2, "serve", "")]
    [InlineData(2, "serve", "a", "--cache", "0")]
    [InlineData(2, "serve", "a", "--cache", "7E")]
    [InlineData(2, "serve", "a", "--max-connections", "x")]
    [InlineData(2, "serve", "a", "--observe", "")]
    [InlineData(2, "ls", "--bogus")]
    [InlineData(2, "ls", "a", "b", "c")]
    [InlineData(2, "cat", "a")]
    [InlineData(2, "import", "a")]
    [InlineData(2, "import", "a", "b", "--sync-every", "-1")]
    [InlineData(2, "serve", "a", "--listen", "1.2.3")]
    [InlineData(2, "serve", "a", "--listen", "127.0.0.1:99999")]
    [InlineData(2, "serve", "a", "--max-connections", "0")]
    [InlineData(2, "serve", "a", "--max-request-line", "63")]
    [InlineData(2, "serve", "a", "--idle-timeout", "1d")]
    [InlineData(2, "serve", "a", "--idle-timeout", "0")]
    [InlineData(2, "serve", "a", "--log-format", "xml")]
    [InlineData(2, "serve", "a", "--status", "status")]
    [InlineData(2, "serve", "a", "--status-public")]
    [InlineData(2, "serve", "a", "--device", "tap:exo0", "--address", "10.0.0.2/24", "--status", "/-/status")]
    [InlineData(2, "serve", "a", "--device", "tap:exo0", "--address", "10.0.0.2/24", "--listen", "10.0.0.3:80")]
    [InlineData(2, "serve", "a", "--device", "tap:exo0", "--address", "10.0.0.2/24", "--listen", "127.0.0.1:80")]
    [InlineData(2, "serve", "a", "--device", "tap:exo0", "--address", "10.0.0.2/24", "--backlog", "10")]
    [InlineData(2, "serve", "a", "--device", "tap:exo0", "--address", "10.0.0.2/24", "--receive-window", "1K")]
    [InlineData(2, "serve", "a", "--device", "tap:exo0", "--address", "10.0.0.2/24", "--receive-window", "64K", "--status", "/s", "--status-public")]
    [InlineData(2, "serve", "a", "--device", "tap:exo0", "--address", "10.0.0.2/24", "--keep-alive-probes", "0")]
    [InlineData(2, "serve", "a", "--device", "tap:exo0", "--address", "10.0.0.2/24", "--keep-alive-interval", "0")]
    [InlineData(2, "serve", "a", "--device", "tap:exo0", "--address", "10.0.0.2/24", "--max-resets", "0")]
    [InlineData(2, "serve", "a", "--keep-alive", "30s")]
    [InlineData(2, "serve", "a", "--log-ring", "1M")]
    [InlineData(2, "serve", "a", "--log", "x", "--log-ring", "1K")]
    [InlineData(2, "serve", "a", "--log", "x", "--log-flush", "2m")]
    [InlineData(2, "serve", "a", "--log", "x", "--log-when-full", "perhaps")]
    [InlineData(2, "serve", "a", "--drain-time", "25h")]
    [InlineData(2, "serve", "a", "--dot-names")]
    [InlineData(2, "serve", "a", "--cache-control", "")]
    [InlineData(2, "serve", "a", "--cache-control", "/a=\u00e4")]
    [InlineData(2, "serve", "a", "--header", "*=ETag: x")]
    [InlineData(2, "serve", "a", "--header", "a=X: y")]
    [InlineData(2, "serve", "a", "--header", "X: y")]
    [InlineData(2, "serve", "a", "--media-type", "wasm")]
    [InlineData(2, "serve", "a", "--media-type", "a/b=text/plain")]
    [InlineData(2, "serve", "a", "--error-page", "403=/x")]
    [InlineData(2, "serve", "a", "--error-page", "404=x")]
    [InlineData(2, "serve", "/tmp", "--max-watches", "-1")]
    [InlineData(2, "udf")]
    [InlineData(2, "udf", "frob")]
    [InlineData(2, "udf", "run", "--bogus")]
    [InlineData(2, "udf", "run", "0g")]
    [InlineData(2, "udf", "run", "012")]
    [InlineData(2, "udf", "run", "--compiled", "--interpreted")]
    [InlineData(2, "udf", "run", "--compiled", "--no-verify")]
    [InlineData(2, "udf", "verify", "--memory", "-1")]
    [InlineData(16, "fsck")]
    [InlineData(16, "fsck", "")]
    [InlineData(16, "fsck", "--bogus")]
    [InlineData(16, "fsck", "--dry-run", "disk.img")]
    public void Wrong_usage_is_one_line_and_its_own_exit_code(int exitCode, params string[] args)
    {
        string line = ExoProcess.Exo(args).Refused(exitCode);
        Assert.StartsWith("exo", line, StringComparison.Ordinal);
        Assert.Contains("--help", line, StringComparison.Ordinal);
        Assert.DoesNotContain("System.", line, StringComparison.Ordinal);
        Assert.DoesNotContain("a bug", line, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1, "ls")]
    [InlineData(1, "tree")]
    [InlineData(1, "stat")]
    [InlineData(1, "df")]
    [InlineData(1, "serve")]
    [InlineData(1, "nbd")]
    [InlineData(1, "templates")]
    [InlineData(1, "host", "--socket", "/nonexistent/s")]
    [InlineData(8, "fsck")]
    public void An_image_that_is_not_there_or_empty_is_one_line_in_words_of_the_command(int exitCode, string verb, params string[] more)
    {
        string line = ExoProcess.Exo([verb, "/nonexistent/disk.img", .. more]).Refused(exitCode);
        Assert.Contains("/nonexistent/disk.img: no such file", line, StringComparison.Ordinal);
        using TempFolder folder = new();
        File.WriteAllBytes(folder["disk.img"], []);
        line = ExoProcess.Exo([verb, folder["disk.img"], .. more]).Refused(exitCode);
        Assert.Contains("disk.img is empty", line, StringComparison.Ordinal);
        Assert.DoesNotContain("CreateBytes", line, StringComparison.Ordinal);
    }

    [Fact]
    public void Something_else_than_an_image_is_refused_and_not_touched()
    {
        using TempFolder folder = new();
        byte[] holiday = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("my holiday pictures ", 60_000)));
        File.WriteAllBytes(folder["photos.tar"], holiday);
        foreach (string verb in (string[])["ls", "tree", "df", "serve"])
        {
            Assert.Contains("photos.tar", ExoProcess.Exo(verb, folder["photos.tar"]).Refused(1), StringComparison.Ordinal);
        }

        ExoProcess.Exo("fsck", folder["photos.tar"]).Refused(8);
        ExoProcess.Exo("import", folder["photos.tar"], folder.Path).Refused(1);
        ExoProcess.Exo("mkfs", folder["photos.tar"]).Refused(1);
        Assert.Contains("photos.tar", ExoProcess.Exo("mkfs", folder["photos.tar"], "--size", "16M").Refused(1), StringComparison.Ordinal);
        ExoProcess.Exo("ls", folder.Path).Refused(1);
        Assert.Equal(holiday, File.ReadAllBytes(folder["photos.tar"]));
    }

    [Fact]
    public void The_version_is_a_line()
    {
        Assert.Matches(@"^\d+\.\d+\.\d+", ExoProcess.Exo("--version").Succeeded().Output);
    }
}
