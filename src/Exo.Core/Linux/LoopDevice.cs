// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

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

    private readonly SafeFileHandle _handle;

    private LoopDevice(SafeFileHandle handle, string path)
    {
        _handle = handle;
        Path = path;
    }

    /// <summary>Its node, <c>/dev/loopN</c>.</summary>
    public string Path { get; }

    /// <summary>Attaches a free loop device; null where there is none, without the right to it, or when the file cannot be opened.</summary>
    /// <param name="file">A regular file or a block device.</param>
    /// <param name="isReadOnly">The device refuses writes; the file is opened for reading only.</param>
    public static LoopDevice? TryAttach(string file, bool isReadOnly)
    {
        using SafeFileHandle control = Open(Control, MountAbi.O_RDWR);
        using SafeFileHandle backing = Open(file, isReadOnly ? 0 : MountAbi.O_RDWR);
        for (int attempt = 0; !control.IsInvalid && !backing.IsInvalid && attempt < AttemptsMax; attempt++)
        {
            int number = Libc.IoControl((int)control.DangerousGetHandle(), LOOP_CTL_GET_FREE, null);
            string path = string.Create(CultureInfo.InvariantCulture, $"/dev/loop{number}");
            SafeFileHandle device = Open(path, MountAbi.O_RDWR);
            LoopConfiguration configuration = new() { File = (uint)backing.DangerousGetHandle(), Flags = LO_FLAGS_AUTOCLEAR | (isReadOnly ? LO_FLAGS_READ_ONLY : 0) };
            if (!device.IsInvalid && Libc.IoControl((int)device.DangerousGetHandle(), LOOP_CONFIGURE, &configuration) == 0)
            {
                return new LoopDevice(device, path);
            }

            bool isTaken = !device.IsInvalid && Errno.Last == Errno.EBUSY;
            device.Dispose();
            if (!isTaken)
            {
                return null;
            }
        }

        return null;
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

    public void Dispose() => _handle.Dispose();

    private static SafeFileHandle Open(string path, int flags)
    {
        fixed (byte* name = Encoding.UTF8.GetBytes(path + '\0'))
        {
            return new SafeFileHandle(Libc.Open(name, flags | MountAbi.O_CLOEXEC, 0), ownsHandle: true);
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
