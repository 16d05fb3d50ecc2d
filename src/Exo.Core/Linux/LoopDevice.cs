// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace Exo.Core.Linux;

/// <summary>
/// A loop device over a file (loop(4)): what takes a block device takes it. It is attached so that the kernel lets it go with its last user (<c>LO_FLAGS_AUTOCLEAR</c>), however that one ends; disposing
/// of this is giving up one use.
/// </summary>
internal sealed unsafe class LoopDevice : IDisposable
{
    private const string Control = "/dev/loop-control";

    // Somebody else may take the one that was free.
    private const int AttemptsMax = 16;

    // _IO('L', 0x82) and _IO('L', 0x0A); the second needs Linux 5.8.
    private const nuint LOOP_CTL_GET_FREE = 0x4C82;
    private const nuint LOOP_CONFIGURE = 0x4C0A;
    private const uint LO_FLAGS_READ_ONLY = 1;
    private const uint LO_FLAGS_AUTOCLEAR = 4;

    private int _fd;

    private LoopDevice(int fd, string path)
    {
        _fd = fd;
        Path = path;
    }

    /// <summary>Its node, <c>/dev/loopN</c>.</summary>
    public string Path { get; }

    /// <summary>Attaches a free loop device; null where there is none, without the right to it, or when the file cannot be opened.</summary>
    /// <param name="file">A regular file or a block device.</param>
    /// <param name="isReadOnly">The device refuses writes; the file is opened for reading only.</param>
    public static LoopDevice? TryAttach(string file, bool isReadOnly)
    {
        int control = Open(Control, MountAbi.O_RDWR);
        int backing = control >= 0 ? Open(file, isReadOnly ? 0 : MountAbi.O_RDWR) : -1;
        try
        {
            for (int attempt = 0; backing >= 0 && attempt < AttemptsMax; attempt++)
            {
                int number = Libc.IoControl(control, LOOP_CTL_GET_FREE, null);
                string path = string.Create(CultureInfo.InvariantCulture, $"/dev/loop{number}");
                int device = number >= 0 ? Open(path, MountAbi.O_RDWR) : -1;
                if (device < 0)
                {
                    return null;
                }

                LoopConfiguration configuration = new() { File = (uint)backing, Flags = LO_FLAGS_AUTOCLEAR | (isReadOnly ? LO_FLAGS_READ_ONLY : 0) };
                if (Libc.IoControl(device, LOOP_CONFIGURE, &configuration) == 0)
                {
                    return new LoopDevice(device, path);
                }

                int error = Errno.Last;
                Libc.Close(device);
                if (error != Errno.EBUSY)
                {
                    return null;
                }
            }

            return null;
        }
        finally
        {
            Close(control);
            Close(backing);
        }
    }

    /// <summary>The file that a block device is a loop device over; null when it is none, or nothing tells.</summary>
    public static string? FileOf(int major, int minor)
    {
        try
        {
            return File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/sys/dev/block/{major}:{minor}/loop/backing_file")).TrimEnd('\n');
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    public void Dispose() => Close(Interlocked.Exchange(ref _fd, -1));

    private static int Open(string path, int flags)
    {
        fixed (byte* name = Encoding.UTF8.GetBytes(path + '\0'))
        {
            return Libc.Open(name, flags | MountAbi.O_CLOEXEC, 0);
        }
    }

    private static void Close(int fd)
    {
        if (fd >= 0)
        {
            Libc.Close(fd);
        }
    }

    /// <summary>struct loop_config: what is not named stays 0.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 304)]
    private struct LoopConfiguration
    {
        [FieldOffset(0)]
        public uint File;

        // lo_flags of the struct loop_info64 that begins at 8.
        [FieldOffset(8 + 52)]
        public uint Flags;
    }
}
