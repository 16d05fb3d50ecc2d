// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS;

/// <summary>
/// A stream over a file, without a buffer of its own: the cache is the buffer. <see cref="Flush()"/> does nothing (every write is in the cache at once);
/// durability is <see cref="CffsFile.Sync"/>. Like other streams it is for one thread at a time.
/// </summary>
internal sealed class CffsFileStream(CffsFile file, bool ownsFile) : Stream
{
    private long _position;
    private bool _closed;

    public override bool CanRead => !_closed && (file.Mode & CffsOpenMode.Read) != 0;

    public override bool CanSeek => !_closed;

    public override bool CanWrite => !_closed && (file.Mode & CffsOpenMode.Write) != 0;

    public override long Length
    {
        get
        {
            ThrowIfClosed();
            return file.Length;
        }
    }

    public override long Position
    {
        get
        {
            ThrowIfClosed();
            return _position;
        }

        set
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value);
            ThrowIfClosed();
            _position = value;
        }
    }

    public override int Read(byte[] buffer, int offset, int count)
    {
        ValidateBufferArguments(buffer, offset, count);
        return Read(buffer.AsSpan(offset, count));
    }

    public override int Read(Span<byte> buffer)
    {
        RequireReading();
        int read = file.Read(_position, buffer);
        _position += read;
        return read;
    }

    public override int ReadByte()
    {
        Span<byte> one = stackalloc byte[1];
        return Read(one) == 0 ? -1 : one[0];
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        RequireReading();
        int read = await file.ReadAsync(_position, buffer, cancellationToken).ConfigureAwait(false);
        _position += read;
        return read;
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
    {
        ValidateBufferArguments(buffer, offset, count);
        return ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    }

    public override void Write(byte[] buffer, int offset, int count)
    {
        ValidateBufferArguments(buffer, offset, count);
        RequireWriting();
        file.Write(_position, buffer.AsMemory(offset, count));
        _position += count;
    }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        RequireWriting();
        file.Write(_position, buffer);
        _position += buffer.Length;
    }

    public override void WriteByte(byte value) => Write([value]);

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        RequireWriting();
        await file.WriteAsync(_position, buffer, cancellationToken).ConfigureAwait(false);
        _position += buffer.Length;
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
    {
        ValidateBufferArguments(buffer, offset, count);
        return WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    }

    public override long Seek(long offset, SeekOrigin origin)
    {
        ThrowIfClosed();
        Int128 position = offset + (Int128)(origin switch
        {
            SeekOrigin.Begin => 0,
            SeekOrigin.Current => _position,
            SeekOrigin.End => file.Length,
            _ => throw new ArgumentOutOfRangeException(nameof(origin)),
        });
        return _position = position >= 0 && position <= long.MaxValue ? (long)position : throw new IOException($"There is no position {position}.");
    }

    public override void SetLength(long value)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(value);
        RequireWriting();
        file.SetLength(value);
    }

    public override void Flush() => ThrowIfClosed();

    public override Task FlushAsync(CancellationToken cancellationToken)
    {
        ThrowIfClosed();
        return cancellationToken.IsCancellationRequested ? Task.FromCanceled(cancellationToken) : Task.CompletedTask;
    }

    public override async ValueTask DisposeAsync()
    {
        _closed = true;
        if (ownsFile)
        {
            await file.DisposeAsync().ConfigureAwait(false);
        }

        await base.DisposeAsync().ConfigureAwait(false);
    }

    protected override void Dispose(bool disposing)
    {
        _closed = true;
        if (disposing && ownsFile)
        {
            file.Dispose();
        }

        base.Dispose(disposing);
    }

    private void ThrowIfClosed() => ObjectDisposedException.ThrowIf(_closed, this);

    private void RequireReading()
    {
        ThrowIfClosed();
        if ((file.Mode & CffsOpenMode.Read) == 0)
        {
            throw new NotSupportedException("The file was not opened for reading.");
        }
    }

    private void RequireWriting()
    {
        ThrowIfClosed();
        if ((file.Mode & CffsOpenMode.Write) == 0)
        {
            throw new NotSupportedException("The file was not opened for writing.");
        }
    }
}
