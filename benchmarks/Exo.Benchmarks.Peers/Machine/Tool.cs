// SPDX-License-Identifier: MIT
using System.Diagnostics;

namespace Exo.Benchmarks.Peers.Machine;

/// <summary>Programs of the machine.</summary>
internal static class Tool
{
    /// <summary>The first of these programs that is not installed, as a reason to skip.</summary>
    public static string? Missing(params string[] names)
    {
        string[] folders = [.. (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':'), "/usr/sbin", "/sbin"];
        foreach (string name in names)
        {
            if (!folders.Any(folder => File.Exists(Path.Combine(folder, name))))
            {
                return $"{name} is not installed";
            }
        }

        return null;
    }

    public static string? NotRoot() => Environment.UserName == "root" ? null : "needs root (loop devices, mounts)";

    /// <summary>Runs a program to its end; its standard output.</summary>
    /// <exception cref="InvalidOperationException">It failed; the message has its last words.</exception>
    public static string Run(string program, params string[] arguments)
    {
        using Process process = Start(program, arguments);
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0
            ? output
            : throw new InvalidOperationException($"{program} {string.Join(' ', arguments)}: exit code {process.ExitCode}: {errors.Result.Trim()}");
    }

    public static Process Start(string program, params string[] arguments)
    {
        ProcessStartInfo start = new(program) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        return Process.Start(start) ?? throw new InvalidOperationException($"{program} did not start");
    }

    /// <summary>The exo command that was built with this program.</summary>
    public static string[] Exo(params string[] arguments) => [Path.Combine(AppContext.BaseDirectory, "exo.dll"), .. arguments];

    /// <summary>A file with all its blocks allocated and written, unless it is there already: allocating them is no part of what is measured.</summary>
    public static void Allocate(string path, long sizeBytes)
    {
        if (File.Exists(path) && new FileInfo(path).Length == sizeBytes)
        {
            return;
        }

        byte[] zeros = new byte[1 << 20];
        using FileStream file = File.Create(path);
        for (long at = 0; at < sizeBytes; at += zeros.Length)
        {
            file.Write(zeros, 0, (int)Math.Min(zeros.Length, sizeBytes - at));
        }

        file.Flush(flushToDisk: true);
    }

    /// <summary>Seconds that something takes.</summary>
    public static double Seconds(Action action)
    {
        long start = Stopwatch.GetTimestamp();
        action();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <summary>Everything written, and nothing of it in the system's cache.</summary>
    public static void DropCaches()
    {
        Run("sync");
        File.WriteAllText("/proc/sys/vm/drop_caches", "3");
    }
}
