// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Core.Linux;

namespace Exo.Cli.HostTree;

/// <summary>An open regular file of the host, read or written from start to end.</summary>
internal sealed unsafe class HostFile(int fd, byte[] path) : IDisposable
{
    private int _fd = fd;

    /// <summary>Fills <paramref name="buffer"/> as far as the file goes; less than its length only at the end.</summary>
    public int Read(Span<byte> buffer)
    {
        int done = 0;
        fixed (byte* start = buffer)
        {
            while (done < buffer.Length)
            {
                nint count = Libc.Read(_fd, start + done, (nuint)(buffer.Length - done));
                if (count == 0)
                {
                    break;
                }

                if (count < 0)
                {
                    if (Marshal.GetLastPInvokeError() == Errno.EINTR)
                    {
                        continue;
                    }

                    HostException.ThrowLast("cannot read", path);
                }

                done += (int)count;
            }
        }

        return done;
    }

    /// <summary>Writes all bytes at the current position.</summary>
    public void Write(ReadOnlySpan<byte> bytes)
    {
        fixed (byte* start = bytes)
        {
            for (int done = 0; done < bytes.Length;)
            {
                nint count = Libc.Write(_fd, start + done, (nuint)(bytes.Length - done));
                if (count < 0)
                {
                    if (Marshal.GetLastPInvokeError() == Errno.EINTR)
                    {
                        continue;
                    }

                    HostException.ThrowLast("cannot write", path);
                }

                done += (int)count;
            }
        }
    }

    public void Dispose()
    {
        int open = Interlocked.Exchange(ref _fd, -1);
        if (open >= 0)
        {
            _ = Libc.Close(open);
        }
    }
}
