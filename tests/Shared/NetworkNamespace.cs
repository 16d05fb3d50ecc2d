// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Exo.Tests;

/// <summary>A network namespace of its own, empty but for a loopback interface that is down. Gone when disposed, with all interfaces in it.</summary>
internal sealed partial class NetworkNamespace : IDisposable
{
    private const int NewNetworkNamespace = 0x40000000;

    private static int s_number;

    /// <summary>Makes one.</summary>
    /// <param name="kind">What it is for: part of its name.</param>
    public NetworkNamespace(string kind = "tcp")
    {
        Name = $"exo-{kind}-{Environment.ProcessId}-{Interlocked.Increment(ref s_number)}";
        Host("ip", "netns", "add", Name);
    }

    public string Name { get; }

    /// <summary>Runs something on a thread that lives in the namespace; sockets and processes made there stay there.</summary>
    public T In<T>(Func<T> action) => In(Name, action);

    /// <inheritdoc cref="In{T}(Func{T})"/>
    public static T In<T>(string name, Func<T> action)
    {
        T result = default!;
        ExceptionDispatchInfo? failure = null;
        Thread thread = new(() =>
        {
            try
            {
                Enter(name);
                result = action();
            }
            catch (Exception e)
            {
                failure = ExceptionDispatchInfo.Capture(e);
            }
        });
        thread.Start();
        thread.Join();
        failure?.Throw();
        return result;
    }

    /// <summary>Moves the calling thread into a namespace, for good.</summary>
    public static void Enter(string name)
    {
        using SafeFileHandle file = File.OpenHandle($"/run/netns/{name}");
        Assert.Equal(0, SetNamespace((int)file.DangerousGetHandle(), NewNetworkNamespace));
    }

    /// <summary>Runs a program in the namespace; its output.</summary>
    public byte[] Run(string program, params string[] arguments) => Host("ip", ["netns", "exec", Name, program, .. arguments]);

    /// <summary>Says something about the namespace: <c>ip -n</c> and these words.</summary>
    public void Ip(string words) => Host("ip", ["-n", Name, .. words.Split(' ')]);

    public void Dispose() => Host("ip", "netns", "del", Name);

    /// <summary>Runs a program, which must succeed, in the test's own namespace; its output.</summary>
    public static byte[] Host(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        using var output = new MemoryStream();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        process.StandardOutput.BaseStream.CopyTo(output);
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)}: {errors.Result}");
        return output.ToArray();
    }

    [LibraryImport("libc", EntryPoint = "setns", SetLastError = true)]
    private static partial int SetNamespace(int descriptor, int kind);
}
