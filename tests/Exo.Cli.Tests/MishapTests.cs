// SPDX-License-Identifier: MIT
using Exo.Cli.Administration;
using Exo.Cli.HostTree;
using Exo.Cli.Output;
using Exo.Cli.Transfer;
using Exo.Cli.Verbs;
using Exo.FileSystems.CFFS;
using Exo.Tests;

namespace Exo.Cli.Tests;

/// <summary>What goes wrong leaves what was there as it was, and says so in a line.</summary>
public sealed class MishapTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("4K")]
    [InlineData("1M")]
    [InlineData("7E")]
    public void A_volume_that_cannot_be_made_leaves_no_file(string size)
    {
        Assert.Contains("disk.img", ExoProcess.Exo("mkfs", _folder["disk.img"], "--size", size).Refused(1), StringComparison.Ordinal);
        Assert.False(File.Exists(_folder["disk.img"]));
        File.WriteAllBytes(_folder["blank.img"], new byte[8192]);
        ExoProcess.Exo("mkfs", _folder["blank.img"], "--size", size == "4K" ? "12K" : size).Refused(1);
        Assert.Equal(8192, new FileInfo(_folder["blank.img"]).Length);
    }

    [Fact]
    public void A_size_below_that_of_the_file_is_refused()
    {
        ExoProcess.Exo("mkfs", _folder["disk.img"], "--size", "16M").Succeeded();
        Assert.Contains("16M", ExoProcess.Exo("mkfs", _folder["disk.img"], "--size", "8M", "--force").Refused(2), StringComparison.Ordinal);
        ExoProcess.Exo("fsck", _folder["disk.img"]).Succeeded();
    }

    [Theory]
    [InlineData("host", "--socket")]
    [InlineData("nbd", "--socket")]
    [InlineData("serve", "--listen", "127.0.0.1:0", "--observe")]
    public void A_file_where_a_socket_is_to_be_is_not_removed(string verb, params string[] words)
    {
        ExoProcess.Exo("mkfs", _folder["disk.img"], "--size", "16M").Succeeded();
        File.WriteAllText(_folder["notes.txt"], "precious");
        Assert.Contains("notes.txt", ExoProcess.Exo([verb, _folder["disk.img"], .. words, _folder["notes.txt"]]).Refused(1), StringComparison.Ordinal);
        Assert.Equal("precious", File.ReadAllText(_folder["notes.txt"]));
        Assert.Contains("nobody listens there", ExoProcess.Exo("top", "--socket", _folder["notes.txt"]).Refused(1), StringComparison.Ordinal);
        Assert.Contains("does not exist", ExoProcess.Exo([verb, _folder["disk.img"], .. words, _folder["none/s"]]).Refused(1), StringComparison.Ordinal);
        Assert.Contains("no such socket", ExoProcess.Exo("top", "--socket", _folder["none/s"]).Refused(1), StringComparison.Ordinal);
    }

    [Fact]
    public void The_end_of_the_terminal_ends_a_server_as_a_signal_does()
    {
        ExoProcess.Exo("mkfs", _folder["disk.img"], "--size", "16M").Succeeded();
        using ExoProcess host = ExoProcess.Start("exo.dll", "host", _folder["disk.img"], "--socket", _folder["s"]);
        host.WaitForLine("library OSes attach");
        host.Signal("HUP");
        Assert.Contains("unmounted", host.Wait().Succeeded().Output, StringComparison.Ordinal);
        Assert.False(File.Exists(_folder["s"]));
    }

    [Fact]
    public void A_copy_to_another_image_can_be_interrupted()
    {
        using CffsVolume from = CffsVolume.Create(_folder["from.img"], new CffsCreateOptions { SizeBytes = 16 << 20, Seed = 1 });
        using CffsVolume to = CffsVolume.Create(_folder["to.img"], new CffsCreateOptions { SizeBytes = 16 << 20, Seed = 2 });
        from.CreateDirectory("/d");
        for (int i = 0; i < 100; i++)
        {
            from.WriteAllBytes($"/d/{i}", "text"u8.ToArray());
        }

        CopyTreeRequest request = new("/d"u8.ToArray(), "/copy"u8.ToArray(), Shares: true) { Target = to };
        Assert.ThrowsAny<OperationCanceledException>(() => request.CarryOut(from, new StepCounts(), new CancellationToken(canceled: true)));
        Assert.Empty(to.ReadDirectory("/"));
        Assert.Equal(100L, ((CopyTreeResult)request.CarryOut(from, new StepCounts(), CancellationToken.None)).Report.Files);
        Assert.Equal("text"u8.ToArray(), to.ReadAllBytes("/copy/99"));
    }

    [Fact]
    public void An_import_that_is_stopped_leaves_no_half_file_and_what_was_to_be_replaced()
    {
        Directory.CreateDirectory(_folder["host"]);
        byte[] large = new byte[24 << 20];
        new Random(1).NextBytes(large);
        File.WriteAllText(_folder["host/a"], "new");
        File.WriteAllBytes(_folder["host/large"], large);
        ExoProcess.Exo("mkfs", _folder["disk.img"], "--size", "16M").Succeeded();
        Assert.Contains("are there, the rest is not", ExoProcess.Exo("import", _folder["disk.img"], _folder["host"]).Refused(1), StringComparison.Ordinal);
        using (CffsVolume volume = CffsVolume.Open(_folder["disk.img"]))
        {
            Assert.DoesNotContain(volume.ReadDirectory("/"), entry => entry.NameString == "large");
            volume.WriteAllBytes("/large", "old"u8.ToArray());
            volume.WriteAllBytes("/a", "old"u8.ToArray());
        }

        ExoProcess.Exo("import", _folder["disk.img"], _folder["host"]).Refused(1);
        using (CffsVolume volume = CffsVolume.Open(_folder["disk.img"]))
        {
            Assert.Equal("old"u8.ToArray(), volume.ReadAllBytes("/large"));
        }

        File.WriteAllText(_folder["host/large"], "small by now");
        ExoProcess.Exo("import", _folder["disk.img"], _folder["host"]).Succeeded();
        using (CffsVolume volume = CffsVolume.Open(_folder["disk.img"]))
        {
            Assert.Equal("small by now"u8.ToArray(), volume.ReadAllBytes("/large"));
            Assert.Equal("new"u8.ToArray(), volume.ReadAllBytes("/a"));
            Assert.Equal(2, volume.ReadDirectory("/").Count);
        }

        ExoProcess.Exo("fsck", _folder["disk.img"]).Succeeded();
    }

    [Fact]
    public void An_export_that_is_stopped_leaves_no_half_file()
    {
        byte[] large = new byte[12 << 20];
        using CffsVolume volume = CffsVolume.Create(_folder["disk.img"], new CffsCreateOptions { SizeBytes = 32 << 20, Seed = 1 });
        new Random(1).NextBytes(large);
        volume.WriteAllBytes("/large", large);
        Directory.CreateDirectory(_folder["out"]);
        using CancellationTokenSource stop = new();
        using Timer soon = new(_ => Stop(), null, 0, 1);
        Assert.ThrowsAny<OperationCanceledException>((Action)(() =>
        {
            for (int round = 0; ; round++)
            {
                Directory.CreateDirectory(_folder[$"out/{round}"]);
                using HostDirectory folder = HostDirectory.Open(_folder[$"out/{round}"]);
                new TreeExport(volume, new StepCounts(), stop.Token).Run("/"u8.ToArray(), folder);
            }
        }));
        Assert.All(Directory.GetFiles(_folder["out"], "large", SearchOption.AllDirectories), file => Assert.Equal(large.Length, new FileInfo(file).Length));

        // As soon as a file is there, and so most often while it is written.
        void Stop()
        {
            if (File.Exists(_folder["out/0/large"]))
            {
                stop.Cancel();
            }
        }
    }

    [Fact]
    public void A_remount_without_a_mount_program_is_one_line()
    {
        IOException none = Assert.Throws<IOException>(() => MountVerb.Remount("/mnt", "remount,ro", ["/nonexistent/mount"]));
        Assert.Contains("/nonexistent/mount", none.Message, StringComparison.Ordinal);
        File.WriteAllText(_folder["mount"], "");
        Exception cannotRun = Assert.ThrowsAny<Exception>(() => MountVerb.Remount("/mnt", "remount,ro", [_folder["mount"]]));
        Assert.NotNull(Failure.Describe(cannotRun));
    }

    [Fact]
    public void A_bug_is_one_line_and_tells_where_it_was_met_when_asked()
    {
        string line = ExoCommand.DescribeBug(new InvalidOperationException("two\nlines"));
        Assert.Contains("InvalidOperationException", line, StringComparison.Ordinal);
        Assert.Contains(ExoCommand.StackTraceVariable, line, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', line);
    }
}
