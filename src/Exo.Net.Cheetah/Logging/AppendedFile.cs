// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Core.Linux;
using Microsoft.Win32.SafeHandles;

namespace Exo.Net.Cheetah.Logging;

/// <summary>
/// Files whose every write goes to their end, wherever that is by then (O_APPEND): several processes may write to one, and one that is truncated begins anew. FileMode.Append
/// writes where the end was when it was opened.
/// </summary>
internal static unsafe class AppendedFile
{
    /// <summary>Opens a file, or makes it.</summary>
    /// <exception cref="IOException">It cannot be opened.</exception>
    public static FileStream Open(string path)
    {
        int descriptor;
        fixed (byte* name = Encoding.UTF8.GetBytes(path + '\0'))
        {
            descriptor = Libc.Open(name, FileAbi.O_WRONLY | FileAbi.O_APPEND | Abi.O_CREAT | Abi.O_CLOEXEC, 0x1A4 /* rw-r--r-- */);
        }

        if (descriptor < 0)
        {
            throw new IOException($"Cannot open the log {path}: {Errno.Describe(Errno.Last)}.");
        }

        // FileStream names an offset with each write; of a file opened so the kernel does not heed it (pwrite(2), BUGS).
        return new FileStream(new SafeFileHandle(descriptor, ownsHandle: true), FileAccess.Write, bufferSize: 0);
    }
}
