// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Adapters.Fuse;
using Exo.FileSystems.CFFS;

namespace Exo.Tests;

/// <summary>A new volume, mounted for one test. At the end it is unmounted whatever happened, and must pass the check.</summary>
internal sealed class Mounted : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly FuseMount _mount;
    private readonly CffsVolume _volume;

    public Mounted(FuseMountOptions? options = null, long sizeBytes = 256 << 20)
    {
        Requires.File("/dev/fuse");
        Requires.That(Environment.IsPrivilegedProcess || File.Exists("/usr/bin/fusermount3"), "mounting needs root or fusermount3");
        Image = _folder["disk.img"];
        Directory = _folder["mnt"];
        System.IO.Directory.CreateDirectory(Directory);
        _volume = CffsVolume.Create(Image, new CffsCreateOptions { SizeBytes = sizeBytes });
        try
        {
            _mount = FuseMount.Start(_volume, Directory, options);
        }
        catch
        {
            _volume.Dispose();
            _folder.Dispose();
            throw;
        }
    }

    public string Image { get; }

    public string Directory { get; }

    public FuseMount Mount => _mount;

    public string this[string name] => Path.Combine(Directory, name);

    /// <summary>Runs a shell script in the mount's root; it must succeed. Returns what it printed.</summary>
    public string Shell(string script)
    {
        ProcessStartInfo start = new("/bin/sh") { RedirectStandardOutput = true, RedirectStandardError = true };
        start.ArgumentList.Add("-ec");
        start.ArgumentList.Add($"cd \"$1\"\n{script}");
        start.ArgumentList.Add("sh");
        start.ArgumentList.Add(Directory);
        start.Environment["HOME"] = _folder.Path;
        using Process shell = Process.Start(start)!;
        Task<string> error = shell.StandardError.ReadToEndAsync();
        string output = shell.StandardOutput.ReadToEnd();
        shell.WaitForExit();
        Assert.True(shell.ExitCode == 0, $"exit code {shell.ExitCode}\n{output}\n{error.Result}");
        return output;
    }

    public void Dispose()
    {
        try
        {
            _mount.Dispose();
            _volume.Dispose();
            ExoResult check = ExoProcess.Exo("fsck", Image);
            Assert.True(check.ExitCode == 0, check.Output + check.Error);
        }
        finally
        {
            using (Process last = Process.Start(new ProcessStartInfo("umount", ["-l", Directory]) { RedirectStandardError = true })!)
            {
                last.WaitForExit();
            }

            _folder.Dispose();
        }
    }
}
