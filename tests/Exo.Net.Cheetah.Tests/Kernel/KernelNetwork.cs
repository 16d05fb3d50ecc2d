// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Tests;
using Microsoft.Win32.SafeHandles;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>
/// A network namespace of its own with a TAP in it, or a veth pair: the kernel's TCP at 10.9.0.1 and fd09::1, and a device for a stack of ours at the other end. Gone when
/// disposed.
/// </summary>
internal sealed partial class KernelNetwork : IDisposable
{
    private const int NewNetworkNamespace = 0x40000000;

    private static int s_number;

    private readonly string space = $"exo-tcp-{Environment.ProcessId}-{Interlocked.Increment(ref s_number)}";

    public KernelNetwork(bool superPackets = true, bool overVeth = false, bool takesHandlers = false, int? transmitRingSlots = null)
    {
        Requires.Root();
        Requires.Program("ip");
        Requires.File("/dev/net/tun");
        Frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        try
        {
            Ip("netns", "add", space);
            if (overVeth)
            {
                Ip("-n", space, "link", "add", "exo-tap", "type", "veth", "peer", "name", "exo-v");
                Ip("-n", space, "link", "set", "exo-v", "addrgenmode", "none", "up");
                Device = In(() => PacketSocketDevice.Open("exo-v", Frames, transmitRingSlots is { } slots ? new PacketSocketOptions { TakesHandlers = takesHandlers, TransmitRingSlots = slots } : new PacketSocketOptions { TakesHandlers = takesHandlers }));
            }
            else
            {
                Device = In(() => TapDevice.Open("exo-tap", Frames, new TapOptions { ReceiveSuperPackets = superPackets }));
            }

            Ip("-n", space, "link", "set", "lo", "up");
            Ip("-n", space, "addr", "add", "10.9.0.1/24", "dev", "exo-tap");
            Ip("-n", space, "addr", "add", "fd09::1/64", "dev", "exo-tap", "nodad");
            Ip("-n", space, "link", "set", "exo-tap", "up");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public FramePool Frames { get; }

    public NetworkDevice Device { get; } = null!;

    /// <summary>Runs something on a thread that lives in the namespace; sockets made there stay there.</summary>
    public T In<T>(Func<T> action)
    {
        T result = default!;
        ExceptionDispatchInfo? failure = null;
        Thread thread = new(() =>
        {
            try
            {
                using SafeFileHandle file = File.OpenHandle($"/run/netns/{space}");
                Assert.Equal(0, SetNamespace((int)file.DangerousGetHandle(), NewNetworkNamespace));
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

    /// <summary>Runs a program in the namespace; its output.</summary>
    public byte[] Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo("ip", ["netns", "exec", space, program, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        using var output = new MemoryStream();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        process.StandardOutput.BaseStream.CopyTo(output);
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program}: {errors.Result}");
        return output.ToArray();
    }

    public void Dispose()
    {
        Device?.Dispose();
        if (File.Exists($"/run/netns/{space}"))
        {
            Ip("netns", "del", space);
        }

        Frames.Dispose();
    }

    private static void Ip(params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo("ip", arguments) { RedirectStandardError = true })!;
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"ip {string.Join(' ', arguments)}: {error}");
    }

    [LibraryImport("libc", EntryPoint = "setns", SetLastError = true)]
    private static partial int SetNamespace(int descriptor, int kind);
}
