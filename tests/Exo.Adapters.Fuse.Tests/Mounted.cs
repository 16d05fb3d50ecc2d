// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Adapters.Fuse;
using Exo.Adapters.Fuse.Mounting;
using Exo.FileSystems.CFFS;

namespace Exo.Tests;

/// <summary>A new volume, mounted for one test. At the end it is unmounted whatever happened, and must pass the check.</summary>
internal sealed class Mounted : IDisposable
{
    private readonly TempFolder _folder = new();
    private FuseMount _mount;
    private CffsVolume _volume;
    private readonly Timer _watch;
    private int _wasCutOff;

    // Longer than any test takes. A call that the mount does not answer by then gets an error instead of hanging the run.
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);
    private readonly TimeSpan _limit;

    public Mounted(FuseMountOptions? options = null, long sizeBytes = 256 << 20, TimeSpan? limit = null, CffsOpenOptions? open = null)
    {
        _limit = limit ?? Limit;
        Requires.File("/dev/fuse");
        Requires.That(options?.Transport != FuseTransport.IoUring || FuseRingSwitch.IsThere, "FUSE over io_uring is not there, or this user may not switch it on");
        Requires.That(Environment.IsPrivilegedProcess || File.Exists("/usr/bin/fusermount3"), "mounting needs root or fusermount3");
        Image = _folder["disk.img"];
        Directory = _folder["mnt"];
        System.IO.Directory.CreateDirectory(Directory);
        _volume = CffsVolume.Create(Image, new CffsCreateOptions { SizeBytes = sizeBytes, Open = open ?? new CffsOpenOptions() });
        try
        {
            _mount = FuseMount.Start(_volume, Directory, FromImage(options));
            _watch = new Timer(_ => CutOff(), null, _limit, Timeout.InfiniteTimeSpan);
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

    /// <summary>What is mounted.</summary>
    public CffsVolume Volume => _volume;

    public string this[string name] => Path.Combine(Directory, name);

    /// <summary>Runs a shell script in the mount's root; it must succeed. Returns what it printed.</summary>
    public string Shell(string script)
    {
        ProcessStartInfo start = new("/bin/sh");
        start.ArgumentList.Add("-ec");
        start.ArgumentList.Add($"cd \"$1\"\n{script}");
        start.ArgumentList.Add("sh");
        start.ArgumentList.Add(Directory);
        start.Environment["HOME"] = _folder.Path;
        return Run(start, _limit);
    }

    /// <summary>Runs a program; it must succeed. Returns what it printed.</summary>
    public string Run(string program, string[] arguments) => Run(new ProcessStartInfo(program, arguments), _limit);

    /// <summary>Unmounts, checks, opens the volume anew and mounts it again.</summary>
    public void Remount(FuseMountOptions? options = null)
    {
        End();
        _volume = CffsVolume.Open(Image);
        _mount = FuseMount.Start(_volume, Directory, FromImage(options));
    }

    public void Dispose()
    {
        try
        {
            End();
            _watch.Dispose();
            Assert.True(_wasCutOff == 0, $"the mount was cut off after {_limit.TotalSeconds} s: a call hung");
        }
        finally
        {
            _watch.Dispose();
            CutOff();
            _folder.Dispose();
        }
    }

    /// <summary>Runs a program to its end, but not for ever; it must succeed. Returns what it printed.</summary>
    public static string Run(ProcessStartInfo start, TimeSpan? limit = null)
    {
        TimeSpan wait = limit ?? Limit;
        start.RedirectStandardOutput = start.RedirectStandardError = true;
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(wait))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"{start.FileName} did not end within {wait.TotalSeconds} s");
        }

        Assert.True(Task.WaitAll([output, error], TimeSpan.FromSeconds(10)), $"{start.FileName} ended with {process.ExitCode} and left a process behind that holds its output");
        Assert.True(process.ExitCode == 0, $"exit code {process.ExitCode}\n{output.Result}\n{error.Result}");
        return output.Result;
    }

    /// <summary>As the command does it, the mount says what is mounted, if the test does not: then it is from a block device where that can be.</summary>
    private FuseMountOptions FromImage(FuseMountOptions? options)
    {
        FuseMountOptions given = options ?? new FuseMountOptions();
        return given.Source == new FuseMountOptions().Source ? given with { Source = Image } : given;
    }

    private void End()
    {
        _mount.Dispose();
        Assert.True(_mount.Completion.Wait(Limit), "the mount did not end");
        _volume.Dispose();
        ExoResult check = ExoProcess.Exo("fsck", Image);
        Assert.True(check.ExitCode == 0, check.Output + check.Error);
    }

    // MNT_FORCE is what abort in the FUSE control file system does: everybody who waits for an answer gets an error.
    private void CutOff()
    {
        using Process last = Process.Start(new ProcessStartInfo("umount", ["-f", "-l", Directory]) { RedirectStandardError = true })!;
        last.WaitForExit(TimeSpan.FromSeconds(10));
        if (last.HasExited && last.ExitCode == 0)
        {
            _wasCutOff = 1;
        }
    }
}
