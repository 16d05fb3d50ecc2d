// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS;
using ExOS.Processes;

namespace ExOS.Files;

/// <summary>A file of C-FFS with an offset. A read or write and the step of the offset are one thing, so that several processes that append through one description do not write over each other.</summary>
#pragma warning disable CA1001 // Close disposes of the semaphore: an open file has holders, not an owner.
internal sealed class DiskFile(CffsFile file, string path, bool appends) : OpenFile
#pragma warning restore CA1001
{
    private readonly SemaphoreSlim _offsetTurn = new(1, 1);
    private long _offset;

    public override string Description => path;

    public override FileStatus Status => CffsTree.StatusOf(file.Stat());

    public override async ValueTask<int> ReadAsync(Process reader, Memory<byte> buffer)
    {
        await _offsetTurn.WaitAsync();
        try
        {
            int count = await file.ReadAsync(_offset, buffer);
            _offset += count;
            return count;
        }
        finally
        {
            _offsetTurn.Release();
        }
    }

    public override async ValueTask WriteAsync(Process writer, ReadOnlyMemory<byte> bytes)
    {
        await _offsetTurn.WaitAsync();
        try
        {
            if (appends)
            {
                _offset = await file.AppendAsync(bytes) + bytes.Length;
            }
            else
            {
                await file.WriteAsync(_offset, bytes);
                _offset += bytes.Length;
            }
        }
        finally
        {
            _offsetTurn.Release();
        }
    }

    public override long Seek(long offset, SeekOrigin origin)
    {
        _offsetTurn.Wait();
        try
        {
            long target = offset + origin switch { SeekOrigin.Begin => 0, SeekOrigin.Current => _offset, _ => file.Length };
            return target >= 0 ? _offset = target : throw new ExosException(Errno.Invalid);
        }
        finally
        {
            _offsetTurn.Release();
        }
    }

    public override void SetLength(long length) => file.SetLength(length);

    protected override void Close()
    {
        file.Dispose();
        _offsetTurn.Dispose();
    }
}
