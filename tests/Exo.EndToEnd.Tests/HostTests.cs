// SPDX-License-Identifier: MIT
using Exo.Host;
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary>The host as a user runs it, and library OSes in processes of their own.</summary>
public sealed class HostTests(ITestOutputHelper log)
{
    [Fact]
    public void Library_OSes_in_several_processes_share_a_disk()
    {
        using TempFolder folder = new();
        string image = NewImage(folder);
        string socket = folder["disk.sock"];
        using (ExoProcess host = ExoProcess.Start("exo.dll", "host", image, "--socket", socket, "--format"))
        {
            host.WaitForLine("attach to");
            ExoProcess.Run("Tenant.dll", socket, "diary", "write", "3", "Rain again.").Succeeded();
            ExoProcess.Run("Tenant.dll", socket, "recipes", "write", "3", "Soup.").Succeeded();
            Assert.Equal("Rain again.\n", ExoProcess.Run("Tenant.dll", socket, "diary", "read", "3").Succeeded().Output);
            Assert.Equal("3: Soup.\n", ExoProcess.Run("Tenant.dll", socket, "recipes", "list").Succeeded().Output);
            host.Signal("TERM");
            Assert.Contains("unmounted", host.Wait().Succeeded().Output, StringComparison.Ordinal);
        }

        // Another host, another day.
        using ExoProcess again = ExoProcess.Start("exo.dll", "host", image, "--socket", socket);
        again.WaitForLine("attach to");
        Assert.Equal("Rain again.\n", ExoProcess.Run("Tenant.dll", socket, "diary", "read", "3").Succeeded().Output);
    }

    [Fact]
    public void Tenants_killed_at_any_moment_harm_neither_the_others_nor_what_they_made_durable()
    {
        const int Rounds = 12;
        Random random = new(20261130);
        using TempFolder folder = new();
        string socket = folder["disk.sock"];
        using ExoProcess host = ExoProcess.Start("exo.dll", "host", NewImage(folder), "--socket", socket, "--format", "--blocks", "1M", "--frames", "1M", "--clients", "3");
        host.WaitForLine("attach to");
        using ExoProcess honest = ExoProcess.Start("Tenant.dll", socket, "honest", "churn", "1");
        honest.WaitForLine("1 ");
        for (int round = 0; round < Rounds; round++)
        {
            using ExoProcess victim = ExoProcess.Start("Tenant.dll", socket, "victim", "churn", $"{round}");
            victim.WaitForLine($"{random.Next(1, 8)} ");
            Thread.Sleep(random.Next(30)); // the moment of the kill is what is random; the outcome must not depend on it
            victim.Kill();

            // Every note is whole, the old one or the new one: the tenant's own checksums say so.
            ExoResult list = ExoProcess.Run("Tenant.dll", socket, "victim", "list").Succeeded();
            Assert.NotEqual("", list.Output);
            Assert.False(honest.HasExited);
            log.WriteLine($"round {round}: {list.Output.Count(c => c == '\n')} notes, all whole");
        }

        honest.Kill();
        ExoProcess.Run("Tenant.dll", socket, "honest", "list").Succeeded();
        host.Signal("TERM");
        Assert.Contains("unmounted", host.Wait().Succeeded().Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Library_OSes_keep_to_their_quotas_and_are_told_so_on_one_line()
    {
        using TempFolder folder = new();
        string socket = folder["disk.sock"];
        using ExoProcess host = ExoProcess.Start("exo.dll", "host", NewImage(folder), "--socket", socket, "--format", "--space", "40K", "--clients-per-user", "2", "--requests", "1000000", "--weight", "0=3");
        host.WaitForLine("attach to");
        int written = 0;
        ExoResult last;
        do
        {
            last = ExoProcess.Run("Tenant.dll", socket, "diary", "write", $"{written}", $"note {written}");
            written += last.ExitCode == 0 ? 1 : 0;
        }
        while (last.ExitCode == 0 && written < 20);
        Assert.Equal((1, ""), (last.ExitCode, last.Output));
        Assert.Contains("may have 10", Assert.Single(last.Error.TrimEnd().Split('\n')), StringComparison.Ordinal);
        Assert.InRange(written, 1, 9);

        // What was let in is there, and a note can be written over.
        Assert.Equal(written, ExoProcess.Run("Tenant.dll", socket, "diary", "list").Succeeded().Output.Count(c => c == '\n'));
        ExoProcess.Run("Tenant.dll", socket, "diary", "write", "0", "another").Succeeded();
        using (AttachWhenThereIsRoom(socket))
        using (AttachWhenThereIsRoom(socket))
        {
            ExoResult second = ExoProcess.Run("Tenant.dll", socket, "diary", "list");
            Assert.Equal(1, second.ExitCode);
            Assert.Contains("as many as it may", Assert.Single(second.Error.TrimEnd().Split('\n')), StringComparison.Ordinal);
        }

        host.Signal("TERM");
        Assert.Contains("unmounted", host.Wait().Succeeded().Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_killed_host_leaves_the_disk_as_a_crash_does_and_tells_its_clients()
    {
        using TempFolder folder = new();
        string image = NewImage(folder);
        string socket = folder["disk.sock"];
        string[] arguments = ["host", image, "--socket", socket];
        using (ExoProcess host = ExoProcess.Start("exo.dll", [.. arguments, "--format"]))
        {
            host.WaitForLine("attach to");
            using ExoProcess tenant = ExoProcess.Start("Tenant.dll", socket, "diary", "churn", "1");
            tenant.WaitForLine("5 ");
            using HostClient client = HostClient.Attach(socket);
            host.Kill();
            Assert.NotEqual(0, tenant.Wait().ExitCode);
            Assert.Equal(HostStatus.Disconnected, Assert.Throws<HostException>(client.Ping).Status);
        }

        using ExoProcess again = ExoProcess.Start("exo.dll", arguments);
        again.WaitForLine("attach to");
        Assert.NotEqual("", ExoProcess.Run("Tenant.dll", socket, "diary", "list").Succeeded().Output);
    }

    /// <summary>Who has just ended may still be cleaned up after.</summary>
    private static HostClient AttachWhenThereIsRoom(string socket)
    {
        while (true)
        {
            try
            {
                return HostClient.Attach(socket);
            }
            catch (HostException refused) when (refused.Status == HostStatus.TooManyClients)
            {
                Thread.Yield();
            }
        }
    }

    private static string NewImage(TempFolder folder)
    {
        using FileStream image = File.Create(folder["disk.img"]);
        image.SetLength(64 << 20);
        return image.Name;
    }
}
