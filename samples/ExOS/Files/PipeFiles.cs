// SPDX-License-Identifier: MIT
using Exo.Core.Environments;
using Exo.Core.Ipc;
using ExOS.Processes;

namespace ExOS.Files;

/// <summary>The end of a pipe that is read from. A pipe is a ring of frames of Exo's (<see cref="Pipe"/>): a reader sleeps on its words by predicate, and no call into anything is between it and the bytes.</summary>
internal sealed class PipeReader(PipeReadEnd end) : OpenFile
{
    public override string Description => "pipe:[read]";

    public override FileStatus Status => new(FileKind.Pipe, 0x180, end.Available);

    /// <summary>An end belongs to the environment that sleeps at it. It has no offset, so another end is as good.</summary>
    public override OpenFile ForFork(ExoEnvironment child) => new PipeReader(end.Duplicate(child));

    public override ValueTask<int> ReadAsync(Process reader, Memory<byte> buffer) => end.ReadAsync(buffer, reader.Signals.Interruption);

    protected override void Close() => end.Dispose();
}

/// <summary>The end of a pipe that is written to. With no reader left the writer gets SIGPIPE, or EPIPE when it ignores that.</summary>
internal sealed class PipeWriter(PipeWriteEnd end) : OpenFile
{
    public override string Description => "pipe:[write]";

    public override FileStatus Status => new(FileKind.Pipe, 0x180, 0);

    public override OpenFile ForFork(ExoEnvironment child) => new PipeWriter(end.Duplicate(child));

    public override async ValueTask WriteAsync(Process writer, ReadOnlyMemory<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            // As much as fits goes at once; only when nothing does it sleeps, for as much as is written in one piece.
            IpcStatus status = end.TryWrite(bytes.Span, out int count);
            if (status == IpcStatus.Ok)
            {
                bytes = bytes[count..];
            }
            else if (status == IpcStatus.WouldBlock)
            {
                int piece = Math.Min(bytes.Length, 4096);
                try
                {
                    await end.WriteAsync(bytes[..piece], writer.Signals.Interruption);
                    bytes = bytes[piece..];
                }
                catch (OperationCanceledException)
                {
                    // Nothing of the piece is written; what was written before is not written again.
                    _ = writer.Signals.Deliver();
                }
                catch (IpcException closed) when (closed.Status == IpcStatus.Closed)
                {
                    throw Broken(writer);
                }
            }
            else
            {
                throw Broken(writer);
            }
        }
    }

    protected override void Close() => end.Dispose();

    private static ExosException Broken(Process writer)
    {
        writer.Signals.Send(Signal.Pipe);
        _ = writer.Signals.Deliver();
        return new ExosException(Errno.BrokenPipe);
    }
}
