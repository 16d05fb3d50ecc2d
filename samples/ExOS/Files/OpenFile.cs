// SPDX-License-Identifier: MIT
using Exo.Core.Environments;
using ExOS.Processes;

namespace ExOS.Files;

/// <summary>
/// An open file, in POSIX's words a description: what descriptors refer to, of one process or, after a fork, of several, with the offset that they share. It is closed when the last one lets go of it.
/// </summary>
internal abstract class OpenFile
{
    private int _holders = 1;

    public virtual bool IsTerminal => false;

    /// <summary>What it is, for <c>/proc</c>.</summary>
    public abstract string Description { get; }

    public abstract FileStatus Status { get; }

    public void Hold() => Interlocked.Increment(ref _holders);

    public void LetGo()
    {
        if (Interlocked.Decrement(ref _holders) == 0)
        {
            Close();
        }
    }

    /// <summary>What a forked child refers to: the same description, unless it has no state of its own to share.</summary>
    public virtual OpenFile ForFork(ExoEnvironment child)
    {
        Hold();
        return this;
    }

    /// <returns>Bytes read; 0 at the end.</returns>
    /// <exception cref="OperationCanceledException">A signal came first.</exception>
    public virtual ValueTask<int> ReadAsync(Process reader, Memory<byte> buffer) => throw new ExosException(Errno.BadDescriptor);

    /// <summary>Writes all of it.</summary>
    /// <exception cref="OperationCanceledException">A signal came before all was written.</exception>
    public virtual ValueTask WriteAsync(Process writer, ReadOnlyMemory<byte> bytes) => throw new ExosException(Errno.BadDescriptor);

    public virtual long Seek(long offset, SeekOrigin origin) => throw new ExosException(Errno.IllegalSeek);

    public virtual void SetLength(long length) => throw new ExosException(Errno.Invalid);

    protected virtual void Close()
    {
    }
}

/// <summary>What it says was there when it was opened: files of <c>/proc</c>.</summary>
internal sealed class TextFile(string name, byte[] contents) : OpenFile
{
    private int _offset;

    public override string Description => name;

    public override FileStatus Status => new(FileKind.File, 0x124, contents.Length);

    public override ValueTask<int> ReadAsync(Process reader, Memory<byte> buffer)
    {
        lock (contents)
        {
            int count = Math.Min(buffer.Length, contents.Length - _offset);
            contents.AsMemory(_offset, count).CopyTo(buffer);
            _offset += count;
            return new ValueTask<int>(count);
        }
    }
}

/// <summary><c>/dev/null</c>.</summary>
internal sealed class NullFile : OpenFile
{
    public override string Description => "/dev/null";

    public override FileStatus Status => new(FileKind.Device, 0x1B6, 0);

    public override ValueTask<int> ReadAsync(Process reader, Memory<byte> buffer) => new(0);

    public override ValueTask WriteAsync(Process writer, ReadOnlyMemory<byte> bytes) => default;
}
