// SPDX-License-Identifier: MIT
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Linux;

/// <summary>
/// A memory file that is mapped here and handed to other processes. Whoever makes it seals it: its size is fixed, so nobody's access can be made to fail by somebody who shortens it; and where others may only
/// read, the kernel keeps them to that, however they open it.
/// </summary>
internal sealed class SharedMemory : IDisposable
{
    private readonly SafeFileHandle _file;
    private readonly MappedRegion _region;

    private SharedMemory(SafeFileHandle file, MappedRegion region)
    {
        _file = file;
        _region = region;
    }

    /// <summary>Where it is in this process.</summary>
    public nint Address => _region.Address;

    public long LengthBytes => _region.LengthBytes;

    /// <summary>The descriptor, while this is not disposed.</summary>
    public int Descriptor => (int)_file.DangerousGetHandle();

    /// <summary>Makes one, zero; pages come into being when they are first touched.</summary>
    /// <exception cref="IOException">The system refused.</exception>
    public static unsafe SharedMemory Create(string name, long lengthBytes, bool readOnlyForOthers)
    {
        int fd;
        fixed (byte* text = Encoding.UTF8.GetBytes(name + '\0'))
        {
            fd = Libc.MemoryFileCreate(text, Abi.MFD_CLOEXEC | SharingAbi.MFD_ALLOW_SEALING);
        }

        if (fd < 0)
        {
            throw new IOException($"Cannot make a memory file: {Errno.Describe(Errno.Last)}.");
        }

        SafeFileHandle file = new(fd, ownsHandle: true);
        try
        {
            if (Libc.Truncate(fd, lengthBytes) != 0)
            {
                throw new IOException($"Cannot size a memory file to {lengthBytes} bytes: {Errno.Describe(Errno.Last)}.");
            }

            // Mapped before it is sealed: mappings that exist go on.
            MappedRegion region = MappedRegion.Shared(fd, lengthBytes, extraFlags: Abi.MAP_NORESERVE);
            region.DoNotFork();
            if (Libc.Seal(fd, readOnlyForOthers) != 0)
            {
                int errno = Errno.Last;
                region.Dispose();
                throw new IOException($"Cannot seal a memory file: {Errno.Describe(errno)}.");
            }

            return new SharedMemory(file, region);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Maps one that another process has sent, and takes the descriptor over.</summary>
    /// <exception cref="IOException">The system refused; for one that may only be read and is to be written, always.</exception>
    public static SharedMemory Open(int fd, long lengthBytes, bool writable)
    {
        SafeFileHandle file = new(fd, ownsHandle: true);
        try
        {
            return new SharedMemory(file, MappedRegion.SharedFile(fd, lengthBytes, writable));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        _region.Dispose();
        _file.Dispose();
    }
}
