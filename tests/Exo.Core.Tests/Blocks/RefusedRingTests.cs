// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Core.Tests.Linux;

namespace Exo.Core.Tests.Blocks;

/// <summary>
/// Containers forbid io_uring by a filter on system calls. A thread takes such a filter upon itself and starts this test program again:
/// the child inherits it and runs <see cref="The_device_that_opens_here_works"/> under it.
/// </summary>
public sealed class RefusedRingTests
{
    private const int Setup = 425;
    private const int Enter = 426;
    private const int Register = 427;
    private const string ExpectedDriver = "EXO_TEST_EXPECTED_DRIVER";

    [Theory]
    [InlineData(Setup, 1, "pread", "forbidden")]
    [InlineData(Setup, 13, "pread", "forbidden")]
    [InlineData(Setup, 38, "pread", "no io_uring")]
    [InlineData(Setup, 12, "pread", "no memory")]
    [InlineData(Enter, 1, "pread", "forbidden")]
    [InlineData(Register, 1, "io_uring", "")]
    public void Where_a_filter_refuses_rings_the_other_device_takes_over(int call, int errno, string driver, string note)
    {
        // The filter stays with its thread for good: it gets one of its own, which ends with the child.
        (int exitCode, string output) = (-1, "");
        Exception? failure = null;
        var filtered = new Thread(() => failure = Record.Exception(() =>
        {
            SystemCallFilter.Refuse(call, errno);
            (exitCode, output) = RunChild(driver, note);
        }));
        filtered.Start();
        filtered.Join();
        Assert.Null(failure);
        Assert.True(exitCode == 0, output);
        Assert.Contains("Total: 1,", output, StringComparison.Ordinal);
        Assert.Contains("Skipped: 0", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_device_that_opens_here_works()
    {
        using FramePool pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
        string path = TestDisk.NewPath();
        try
        {
            await using BlockDevice device = BlockDevice.Open(
                path, pool, new BlockDeviceOptions { Create = true, CreateBytes = 1 << 20, RegisterFrames = true });
            string[]? expected = Environment.GetEnvironmentVariable(ExpectedDriver)?.Split('|');
            if (expected is not null)
            {
                Assert.Equal(expected[0], device.Geometry.Driver);
                Assert.Contains(expected[1], device.Geometry.DriverNote, StringComparison.Ordinal);
                if (expected[0] != "io_uring")
                {
                    var refused = Assert.Throws<BlockDeviceException>(() => BlockDevice.Open(
                        path, pool, new BlockDeviceOptions { Driver = BlockDriver.IoUring, Exclusive = false }));
                    Assert.Contains(expected[1], refused.Message, StringComparison.Ordinal);
                }
            }

            Assert.True(pool.TryAllocateRun(pool.RootCredential, 3, out FrameNumber first));
            FrameNumber[] frames = [first, new(first.Value + 1), new(first.Value + 2)];
            for (int i = 0; i < 3; i++)
            {
                pool.Bytes(frames[i]).Fill((byte)(i + 1));
            }

            device.Execute([BlockRequest.Write(new BlockNumber(7), frames.AsMemory(0, 1)), BlockRequest.Discard(new BlockNumber(20), 3)]);
            await device.ExecuteAsync(new[] { BlockRequest.Write(new BlockNumber(8), frames.AsMemory(1, 1), forceUnitAccess: true) });
            Submit(device, BlockRequest.Write(new BlockNumber(9), frames.AsMemory(2, 1)));
            device.Flush();
            pool.Bytes(first, 3).Clear();
            device.Execute([BlockRequest.Read(new BlockNumber(7), frames)]);
            Assert.Equal([1, 2, 3], frames.Select(frame => pool.Bytes(frame)[4095]));
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static void Submit(BlockDevice device, BlockRequest request)
    {
        using BlockQueue queue = device.OpenQueue(2);
        BlockCompletion[] done = new BlockCompletion[1];
        Assert.True(queue.TrySubmit(in request, 3));
        Assert.Equal((1, new BlockCompletion(3, 0)), (queue.Reap(done), done[0]));
    }

    private static (int ExitCode, string Output) RunChild(string driver, string note)
    {
        string program = Environment.ProcessPath!;
        string[] self = Path.GetFileNameWithoutExtension(program) == "dotnet" ? [typeof(RefusedRingTests).Assembly.Location] : [];
        var start = new ProcessStartInfo(program, [.. self, "-noColor", "-method", $"{typeof(RefusedRingTests).FullName}.{nameof(The_device_that_opens_here_works)}"])
        {
            RedirectStandardOutput = true,
        };
        start.Environment[ExpectedDriver] = $"{driver}|{note}";
        using Process child = Process.Start(start)!;
        string output = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        return (child.ExitCode, output);
    }
}
