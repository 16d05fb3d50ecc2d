// SPDX-License-Identifier: MIT
using System.Buffers;
using System.IO.Pipelines;
using Exo.Net.Cheetah.Pipes;
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Network;

/// <summary>A socket that listens.</summary>
internal sealed class ListeningSocket(TcpPipeListener listener, int port) : OpenFile
{
    public override string Description => $"tcp listening at {port}";

    public override FileStatus Status => new(FileKind.Socket, 0x1FF, 0);

    /// <exception cref="OperationCanceledException">A signal came first.</exception>
    public async ValueTask<ConnectedSocket> AcceptAsync(Process self) =>
        new(await listener.AcceptAsync(self.Signals.Interruption).AsTask());

    protected override void Close() => _ = listener.DisposeAsync().AsTask();
}

/// <summary>
/// A TCP connection of Cheetah's. Its pipes call back on threads of their own; awaiting them as tasks brings the process back to where it is scheduled.
/// </summary>
#pragma warning disable CA1001 // Close disposes of the semaphores: an open file has holders, not an owner.
internal sealed class ConnectedSocket(TcpPipeConnection connection) : OpenFile
#pragma warning restore CA1001
{
    // A pipe has one reader and one writer at a time; a description may have several processes.
    private readonly SemaphoreSlim _reading = new(1, 1);
    private readonly SemaphoreSlim _writing = new(1, 1);
    private bool _isShutDown;

    public override string Description => $"tcp {connection.LocalEndPoint} {connection.RemoteEndPoint}";

    public override FileStatus Status => new(FileKind.Socket, 0x1FF, 0);

    public override async ValueTask<int> ReadAsync(Process reader, Memory<byte> buffer)
    {
        await _reading.WaitAsync(reader.Signals.Interruption);
        try
        {
            ReadResult result = await connection.Input.ReadAsync(reader.Signals.Interruption).AsTask();
            ReadOnlySequence<byte> some = result.Buffer.Slice(0, Math.Min(result.Buffer.Length, buffer.Length));
            some.CopyTo(buffer.Span);
            int count = (int)some.Length;
            connection.Input.AdvanceTo(some.End);
            return count;
        }
        catch (TcpConnectionException)
        {
            throw new ExosException(Errno.ConnectionReset);
        }
        finally
        {
            _reading.Release();
        }
    }

    public override async ValueTask WriteAsync(Process writer, ReadOnlyMemory<byte> bytes)
    {
        await _writing.WaitAsync();
        try
        {
            FlushResult result = _isShutDown ? new FlushResult(false, isCompleted: true) : await connection.Output.WriteAsync(bytes).AsTask();
            if (!result.IsCompleted)
            {
                return;
            }
        }
        catch (TcpConnectionException)
        {
            // The same for a writer as a peer that reads no more.
        }
        finally
        {
            _writing.Release();
        }

        writer.Signals.Send(Signal.Pipe);
        _ = writer.Signals.Deliver();
        throw new ExosException(Errno.BrokenPipe);
    }

    /// <summary>Nothing more is written, by whoever holds this; what was written arrives, and then the end.</summary>
    public async ValueTask ShutDownAsync()
    {
        await _writing.WaitAsync();
        _isShutDown = true;
        await connection.Output.CompleteAsync().AsTask();
        _writing.Release();
    }

    protected override void Close()
    {
        _ = connection.DisposeAsync().AsTask();
        _reading.Dispose();
        _writing.Dispose();
    }
}
