// SPDX-License-Identifier: MIT
using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Exo.Core.Memory;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah.Pipes;

/// <summary>
/// A TCP connection as two pipes, for any thread. Bytes written to <see cref="Output"/> leave from the frames they were written into, which are given
/// back when the peer has acknowledged them; a flush waits while too many are not. Bytes that <see cref="Input"/> is not read of close the window.
/// <code>
/// application ─ Output ─&gt; frames ─ the stack's thread sends and sends again ─&gt; acknowledged ─&gt; frames free, flush goes on
/// application &lt;─ Input ── copied once from the device's frames; what is not read holds the peer back
/// </code>
/// Completing <see cref="Output"/> sends what is flushed and then a FIN; completing it with an exception, or <see cref="Abort"/>, resets. Completing <see cref="Input"/> throws away what still comes.
/// </summary>
public sealed class TcpPipeConnection : IDuplexPipe, IAsyncDisposable
{
    // A pipe holds its writer back by what has not been examined. What is queued to the connection is examined, so that has a bound of its own.
    private const int OutputPauseBytes = 256 * 1024, OutputResumeBytes = 128 * 1024, SentAheadMaxBytes = 512 * 1024;

    // What all connections have in common is there once: most of what one that is idle takes is its pipes.
    private static readonly PipeOptions InputOptions = new(readerScheduler: PipeScheduler.ThreadPool, writerScheduler: PipeScheduler.Inline, pauseWriterThreshold: 0, useSynchronizationContext: false);
    private static readonly TaskCompletionSource Over = MakeOver();

    private readonly NetworkStack stack;
    private readonly Pipe input, output;
    private readonly InputReader reader;
    private readonly PipeSendSource source;
    private readonly TcpPipeOptions options;
    private readonly ConnectionKey ends;
    private TaskCompletionSource? inputEnded;               // made when somebody asks, or when it has come
    private TaskCompletionSource<TcpCloseReason>? closed;   // as well
    private IPEndPoint? localEndPoint, remoteEndPoint;
    private readonly nint poolAddress;
    private readonly int inputMaxBytes;
    private TcpConnection? connection;
    private long unreadBytes;
    private long sentAheadBytes;      // of the output pipe: queued to the connection and not consumed
    private bool waitsForReader;
    private bool isReading;           // the pump waits for the application to flush
    private TaskCompletionSource? room;   // or, when so much is queued, for acknowledgments
    private bool isDraining;          // it has flushed its last byte: what is queued is only waited for
    private bool isInputAbandoned;    // the application reads no more
    private Exception? failure;
    private Exception? abortReason;

    /// <param name="stack">The stack.</param>
    /// <param name="options">How the pipes behave.</param>
    /// <param name="output">Of the pipe that is written to: <see cref="OutputOptions"/>.</param>
    /// <param name="opened">The connection.</param>
    /// <param name="inputMaxBytes">What may wait to be read.</param>
    internal TcpPipeConnection(NetworkStack stack, TcpPipeOptions options, PipeOptions output, TcpConnection opened, int inputMaxBytes)
    {
        ends = opened.Key;
        this.stack = stack;
        this.options = options;
        this.inputMaxBytes = inputMaxBytes;
        FramePool frames = stack.Link.Frames;
        poolAddress = frames.Address(new FrameNumber(0));
        input = new Pipe(InputOptions);
        this.output = new Pipe(output);
        reader = new InputReader(this, input.Reader);
        source = new PipeSendSource(frames, this);
    }

    /// <summary>Settings of the pipes that are written to, for all connections of a stack.</summary>
    internal static PipeOptions OutputOptions(NetworkStack stack) => new(
        new FrameMemoryPool(stack.Link.Frames), readerScheduler: new StackScheduler(stack), writerScheduler: PipeScheduler.ThreadPool,
        pauseWriterThreshold: OutputPauseBytes, resumeWriterThreshold: OutputResumeBytes, minimumSegmentSize: FrameMemoryPool.BlockBytes, useSynchronizationContext: false);

    /// <inheritdoc/>
    public PipeReader Input => reader;

    /// <inheritdoc/>
    public PipeWriter Output => output.Writer;

    /// <summary>This side's address and port.</summary>
    public IPEndPoint LocalEndPoint => localEndPoint ??= new IPEndPoint(ends.Local.ToIPAddress(), ends.LocalPort);

    /// <summary>The peer's address and port.</summary>
    public IPEndPoint RemoteEndPoint => remoteEndPoint ??= new IPEndPoint(ends.Remote.ToIPAddress(), ends.RemotePort);

    /// <summary>Completes when nothing more comes in, read or not: the peer has sent its last byte, or the connection is over.</summary>
    public Task InputEnded => (Volatile.Read(ref inputEnded) ?? MakeInputEnded()).Task;

    /// <summary>Completes when the connection is over, with the reason.</summary>
    public Task<TcpCloseReason> Closed => (Volatile.Read(ref closed) ?? MakeClosed()).Task;

    /// <summary>Connects by way of a stack that somebody polls.</summary>
    /// <exception cref="TcpConnectionException">The peer refused or does not answer.</exception>
    /// <exception cref="InvalidOperationException">The stack has no address of that family, or no port is left.</exception>
    /// <exception cref="Exo.Core.Net.PortRefusedException">Where ports are asked for: the stack gets none.</exception>
    public static Task<TcpPipeConnection> ConnectAsync(NetworkStack stack, IPEndPoint remote, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(remote);
        return ConnectAsync(stack, new IPEndPoint(remote.AddressFamily == AddressFamily.InterNetwork ? IPAddress.Any : IPAddress.IPv6Any, 0), remote, cancellationToken);
    }

    /// <summary>Connects by way of a stack that somebody polls, from an end that the caller chooses: <see cref="NetworkStack.Connect(IPEndPoint, IPEndPoint, ITcpHandler, object?)"/>.</summary>
    /// <exception cref="TcpConnectionException">The peer refused or does not answer.</exception>
    /// <exception cref="InvalidOperationException">The stack has no such address, or the port is in use.</exception>
    public static async Task<TcpPipeConnection> ConnectAsync(NetworkStack stack, IPEndPoint local, IPEndPoint remote, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(stack);
        ArgumentNullException.ThrowIfNull(local);
        ArgumentNullException.ThrowIfNull(remote);
        var handler = new PipeHandler(stack, null, TcpPipeOptions.Default);
        var opening = new TaskCompletionSource<TcpPipeConnection>(TaskCreationOptions.RunContinuationsAsynchronously);
        TcpConnection? begun = null;
        stack.Post(() =>
        {
            if (cancellationToken.IsCancellationRequested)
            {
                return;
            }

            try
            {
                begun = stack.Connect(local, remote, handler, opening);
            }
            catch (Exception failure) when (failure is InvalidOperationException or IOException)
            {
                opening.TrySetException(failure);
            }
        });
        using CancellationTokenRegistration registration = cancellationToken.Register(() => stack.Post(() =>
        {
            if (opening.TrySetCanceled(cancellationToken))
            {
                begun?.Abort();
            }
        }));
        return await opening.Task.ConfigureAwait(false);
    }

    /// <summary>Resets the connection; both pipes end with an exception. For any thread.</summary>
    /// <param name="reason">The exception; null: what <see cref="TcpPipeOptions.Failure"/> makes.</param>
    public void Abort(Exception? reason = null) => stack.Post(() =>
    {
        abortReason ??= reason;
        connection?.Abort();
    });

    /// <summary>Closes gracefully: what was flushed is still delivered, what comes in is thrown away.</summary>
    public async ValueTask DisposeAsync()
    {
        await output.Writer.CompleteAsync().ConfigureAwait(false);
        await reader.CompleteAsync().ConfigureAwait(false);
    }

    // From here on: the stack's thread.

    internal void Begin(TcpConnection opened)
    {
        connection = opened;
        opened.Tag = this;
        _ = PumpAsync(opened);
    }

    internal int TakeIn(ReadOnlySpan<byte> bytes)
    {
        if (isInputAbandoned)
        {
            return bytes.Length;
        }

        int count = (int)Math.Min(bytes.Length, Math.Max(0, inputMaxBytes - Interlocked.Read(ref unreadBytes)));
        if (count > 0)
        {
            Interlocked.Add(ref unreadBytes, count);
            input.Writer.Write(bytes[..count]);
            ValueTask<FlushResult> flush = input.Writer.FlushAsync(CancellationToken.None);   // never waits: the pipe has no threshold
            if (flush.IsCompletedSuccessfully && flush.Result.IsCompleted)
            {
                return bytes.Length;   // nobody reads any more
            }
        }

        if (count < bytes.Length)
        {
            Volatile.Write(ref waitsForReader, true);
            if (Interlocked.Read(ref unreadBytes) < inputMaxBytes / 2)
            {
                stack.Post(Resume);   // it was read in between
            }
        }

        return count;
    }

    internal void PeerClosed()
    {
        input.Writer.Complete();
        Interlocked.CompareExchange(ref inputEnded, Over, null)?.TrySetResult();
    }

    internal void Ended(TcpCloseReason reason)
    {
        Exception? failure = reason == TcpCloseReason.Graceful ? null : abortReason ?? options.Failure(new TcpConnectionException(reason));
        connection = null;
        input.Writer.Complete(failure);
        Interlocked.CompareExchange(ref inputEnded, Over, null)?.TrySetResult();
        (Volatile.Read(ref closed) ?? MakeClosed()).TrySetResult(reason);
        this.failure ??= failure;
        OnReleased();
    }

    // Moves what is flushed into the send queue; it stays in the pipe until it is acknowledged.
    private async Task PumpAsync(TcpConnection opened)
    {
        try
        {
            bool isCompleted = false;
            while (!isCompleted && (connection is not null || sentAheadBytes > 0))
            {
                if (sentAheadBytes >= SentAheadMaxBytes && connection is not null && source.ReleasedBytes == 0)
                {
                    room = new TaskCompletionSource();
                    await room.Task.ConfigureAwait(false);
                }

                if (source.ReleasedBytes > 0)
                {
                    output.Reader.CancelPendingRead();   // the next read is this one: what came back meanwhile is consumed
                }

                isReading = true;
                ReadResult result = await output.Reader.ReadAsync().ConfigureAwait(false);
                isReading = false;
                ReadOnlySequence<byte> buffer = result.Buffer;
                long readyBytes = buffer.Length;
                if (connection is not null && opened.CanSend)
                {
                    readyBytes = Math.Min(readyBytes, Math.Max(sentAheadBytes, SentAheadMaxBytes + source.ReleasedBytes));
                    foreach (ReadOnlyMemory<byte> memory in buffer.Slice(sentAheadBytes, readyBytes - sentAheadBytes))
                    {
                        Queue(opened, memory);
                    }

                    sentAheadBytes = readyBytes;
                }

                isCompleted = result.IsCompleted && readyBytes == buffer.Length;
                Consume(buffer, readyBytes);
            }

            if (connection is not null && isInputAbandoned)
            {
                opened.Close();
            }
            else if (connection is not null)
            {
                opened.CloseSend();
            }
        }
        catch (Exception thrown) when (thrown is not InvariantException)
        {
            // The application completed its end with an exception of its own: that is an abort.
            failure = thrown;
            connection?.Abort();
        }

        isReading = false;
        isDraining = true;
        OnReleased();
    }

    // A stretch has been acknowledged or given up, and no packet names it: the pipe may have its memory back.
    internal void OnReleased()
    {
        if (isReading)
        {
            output.Reader.CancelPendingRead();   // the pump consumes
        }
        else if (room is { } waiting)
        {
            room = null;
            stack.Post(waiting.SetResult);       // not from here: the connection is in the middle of something
        }
        else if (isDraining)
        {
            if (source.ReleasedBytes > 0 && failure is null && output.Reader.TryRead(out ReadResult result))
            {
                Consume(result.Buffer, result.Buffer.Length);
            }
            else
            {
                sentAheadBytes -= source.ReleasedBytes;
                source.ReleasedBytes = 0;
            }

            if (sentAheadBytes == 0)
            {
                isDraining = false;
                output.Reader.Complete(options.FlushThrows ? failure : null);
            }
        }
    }

    private void Consume(in ReadOnlySequence<byte> buffer, long examinedBytes)
    {
        long released = source.ReleasedBytes;
        source.ReleasedBytes = 0;
        sentAheadBytes -= released;
        output.Reader.AdvanceTo(buffer.GetPosition(released), buffer.GetPosition(examinedBytes));
    }

    private unsafe void Queue(TcpConnection opened, ReadOnlyMemory<byte> memory)
    {
        if (memory.IsEmpty)
        {
            return;
        }

        // Memory of the pool never moves; other memory is not in frames and is copied.
        nint offset = (nint)System.Runtime.CompilerServices.Unsafe.AsPointer(ref MemoryMarshal.GetReference(memory.Span)) - poolAddress;
        if (offset >= 0 && offset + memory.Length <= (nint)stack.Link.Frames.FrameCount * FramePool.FrameBytes)
        {
            source.Queue(stack.Tcp, opened, offset, memory.Length);
        }
        else if (!source.TryQueueCopy(stack.Tcp, opened, memory.Span))
        {
            opened.Abort();   // out of frames: better an end than a gap
        }
    }

    private void Resume()
    {
        if (Volatile.Read(ref waitsForReader))
        {
            Volatile.Write(ref waitsForReader, false);
            connection?.ResumeReceive();
        }
    }

    private void OnRead(long bytes)
    {
        long left = Interlocked.Add(ref unreadBytes, -bytes);
        if (bytes > 0 && left < inputMaxBytes / 2 && Volatile.Read(ref waitsForReader))
        {
            stack.Post(Resume);
        }
    }

    // What was held back comes up, and goes; the peer is waited for only while we may still send.
    private void OnReaderCompleted() => stack.Post(() =>
    {
        isInputAbandoned = true;
        if (connection is { CanSend: true } open)
        {
            open.ResumeReceive();
        }
        else
        {
            connection?.Close();
        }
    });

    private static TaskCompletionSource MakeOver()
    {
        var over = new TaskCompletionSource();
        over.SetResult();
        return over;
    }

    private TaskCompletionSource MakeInputEnded()
    {
        var made = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        return Interlocked.CompareExchange(ref inputEnded, made, null) ?? made;
    }

    private TaskCompletionSource<TcpCloseReason> MakeClosed()
    {
        var made = new TaskCompletionSource<TcpCloseReason>(TaskCreationOptions.RunContinuationsAsynchronously);
        return Interlocked.CompareExchange(ref closed, made, null) ?? made;
    }

    // Continuations of the pump run where the stack is polled.
    private sealed class StackScheduler(NetworkStack stack) : PipeScheduler
    {
        public override void Schedule(Action<object?> action, object? state) => stack.Post(() => action(state));
    }

    // Counts what the application takes, which the pipe itself does not tell.
    private sealed class InputReader(TcpPipeConnection owner, PipeReader inner) : PipeReader
    {
        private ReadOnlySequence<byte> last;

        public override void AdvanceTo(SequencePosition consumed) => AdvanceTo(consumed, consumed);

        public override void AdvanceTo(SequencePosition consumed, SequencePosition examined)
        {
            long bytes = last.Slice(0, consumed).Length;
            last = default;
            inner.AdvanceTo(consumed, examined);
            owner.OnRead(bytes);
        }

        public override void CancelPendingRead() => inner.CancelPendingRead();

        public override void Complete(Exception? exception = null)
        {
            inner.Complete(exception);
            owner.OnReaderCompleted();
        }

        public override bool TryRead(out ReadResult result)
        {
            bool any = inner.TryRead(out result);
            last = any ? result.Buffer : last;
            return any;
        }

        public override async ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
        {
            ReadResult result = await inner.ReadAsync(cancellationToken).ConfigureAwait(false);
            last = result.Buffer;
            return result;
        }
    }
}
