// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Tests;

namespace Exo.Core.Tests.Blocks;

/// <summary>The devices that all keep one contract.</summary>
public enum DiskKind
{
    Memory,
    Portable,
    PortableDirect,
    Uring,
    UringDirect,
    UringRegistered,
    LoopPortable,
    LoopUring,

    /// <summary>Over a UNIX socket from a server in this process.</summary>
    Nbd,

    /// <summary>Over three TCP connections.</summary>
    NbdConnections,

    /// <summary>Over TLS.</summary>
    NbdTls,

    /// <summary>From nbdkit.</summary>
    NbdKit,
}

/// <summary>A disk of zeroes of some kind, with what it stands on; everything is removed again by Dispose.</summary>
internal sealed class TestDisk : IDisposable
{
    private readonly string? _image;
    private readonly string? _loop;
    private readonly Nbd.NbdPeer? _peer;

    public TestDisk(DiskKind kind, FramePool frames, ulong blockCount, int queueDepth = 32)
    {
        if (kind == DiskKind.Memory)
        {
            Device = new MemoryBlockDevice(frames, blockCount);
            return;
        }

        if (kind is DiskKind.Nbd or DiskKind.NbdConnections or DiskKind.NbdTls or DiskKind.NbdKit)
        {
            _peer = new Nbd.NbdPeer(kind, blockCount);
            Device = _peer.Open(frames, queueDepth);
            return;
        }

        bool isLoop = kind is DiskKind.LoopPortable or DiskKind.LoopUring;
        bool isDirect = kind is DiskKind.PortableDirect or DiskKind.UringDirect or DiskKind.UringRegistered;
        if (isLoop)
        {
            Requires.Root();
            Requires.File("/dev/loop-control");
        }

        _image = NewPath();
        string path = _image;
        try
        {
            if (isLoop)
            {
                using (FileStream file = File.Create(_image))
                {
                    file.SetLength((long)blockCount * FramePool.FrameBytes);
                }

                _loop = Run(Requires.Program("losetup"), "--find", "--show", _image).Trim();
                path = _loop;
            }

            Device = BlockDevice.Open(path, frames, new BlockDeviceOptions
            {
                Create = !isLoop,
                CreateBytes = isLoop ? 0 : (long)blockCount * FramePool.FrameBytes,
                Driver = kind is DiskKind.Uring or DiskKind.UringDirect or DiskKind.UringRegistered or DiskKind.LoopUring ? BlockDriver.IoUring : BlockDriver.Portable,
                Direct = isDirect || isLoop ? DirectIo.Auto : DirectIo.Off,
                QueueDepth = queueDepth,
                RegisterFrames = kind == DiskKind.UringRegistered,
            });
            Requires.That(!isDirect || Device.Geometry.IsDirect, "the temporary folder's file system cannot do direct I/O");
        }
        catch (BlockDeviceException refused) when (refused.Errno is 1 or 38)
        {
            RemoveFiles();
            Requires.That(false, refused.Message);
            throw;
        }
        catch
        {
            Device?.Dispose();
            RemoveFiles();
            throw;
        }
    }

    public BlockDevice Device { get; }

    public string Path => _loop ?? _image ?? "memory";

    /// <summary>The test has detached the loop device itself.</summary>
    public bool IsDetached { get; set; }

    /// <summary>Cuts the image, or the one under the loop device, behind the back of the device.</summary>
    public void CutTo(long lengthBytes) => Run(Requires.Program("truncate"), $"--size={lengthBytes}", _image!);

    /// <summary>What the image, or the one under the loop device, takes of its file system.</summary>
    public long AllocatedBytes() => long.Parse(Run(Requires.Program("stat"), "--format=%b", _image!), System.Globalization.CultureInfo.InvariantCulture) * 512;

    public static string NewPath() => System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"exo-test-{Guid.NewGuid():N}.img");

    public static string Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        string output = process.StandardOutput.ReadToEnd();
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)}: {error}");
        return output;
    }

    public void Dispose()
    {
        Device.Dispose();
        _peer?.Dispose();
        RemoveFiles();
    }

    private void RemoveFiles()
    {
        try
        {
            if (_loop is not null && !IsDetached)
            {
                Run(Requires.Program("losetup"), "--detach", _loop);
            }
        }
        finally
        {
            if (_image is not null)
            {
                File.Delete(_image);
            }
        }
    }
}
