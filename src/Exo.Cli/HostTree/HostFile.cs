// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Core.Linux;

namespace Exo.Cli.HostTree;

/// <summary>An open regular file of the host, read or written from start to end, holes left out.</summary>
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

    /// <summary>The first offset, from one on, at which there is data; -1 when none follows.</summary>
    public long SeekData(long offset) => Find(offset, SeekAbi.SEEK_DATA);

    /// <summary>The first offset, from one on, at which there is a hole; the end counts as one. -1 at the end and beyond.</summary>
    public long SeekHole(long offset) => Find(offset, SeekAbi.SEEK_HOLE);

    /// <summary>Length in bytes. Reading and writing go on at the end.</summary>
    public long Length => Libc.Seek(_fd, 0, SeekAbi.SEEK_END);

    /// <summary>Reading and writing go on at this offset.</summary>
    public void MoveTo(long offset)
    {
        if (Libc.Seek(_fd, offset, SeekAbi.SEEK_SET) < 0)
        {
            HostException.ThrowLast("cannot seek in", path);
        }
    }

    /// <summary>Sets the length; what is added is a hole.</summary>
    public void SetLength(long lengthBytes)
    {
        if (Libc.Truncate(_fd, lengthBytes) != 0)
        {
            HostException.ThrowLast("cannot set the length of", path);
        }
    }

    /// <inheritdoc cref="HostAttributes.Read"/>
    public List<(byte[] Name, byte[] Value)> ReadAttributes() => HostAttributes.Read(_fd, path);

    /// <summary>Sets an extended attribute.</summary>
    public void SetAttribute(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value) => HostAttributes.Set(_fd, path, name, value);

    private long Find(long offset, int whence)
    {
        long found = Libc.Seek(_fd, offset, whence);
        if (found < 0 && Marshal.GetLastPInvokeError() != Errno.ENXIO)
        {
            HostException.ThrowLast("cannot seek in", path);
        }

        return found;
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
