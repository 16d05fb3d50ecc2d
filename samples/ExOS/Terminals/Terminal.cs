// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Predicates;
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Terminals;

/// <summary>
/// The terminal: standard input and output of the host process. The host's line discipline edits lines and echoes; a thread of its own hands over what it gives, and counts that in a word on which readers sleep. An
/// end of input (^D on an empty line) is what the next read gets as its end, once at a terminal and for ever at a file.
/// </summary>
internal sealed class Terminal : IDisposable
{
    private readonly FramePool _frames;
    private readonly Stream _input;
    private readonly Stream _output;
    private readonly bool _isInteractive;
    private readonly FrameNumber _words;
    private readonly Lock _lock = new();
    private readonly List<ReadOnlyMemory<byte>> _arrived = [];
    private bool _hasEnded;

    /// <param name="frames">Where the word is from on which readers sleep.</param>
    /// <param name="input">What is typed.</param>
    /// <param name="output">What is shown.</param>
    /// <param name="isInteractive">Whether somebody sits there.</param>
    public Terminal(FramePool frames, Stream input, Stream output, bool isInteractive)
    {
        (_frames, _input, _output, _isInteractive) = (frames, input, output, isInteractive);
        if (!frames.TryAllocate(frames.RootCredential, out _words, zero: true))
        {
            throw new ExosException(Errno.NoMemory);
        }

        new Thread(Listen) { IsBackground = true, Name = "exos-tty" }.Start();
    }

    public bool IsInteractive => _isInteractive;

    /// <summary>The group that ^C reaches.</summary>
    public int Foreground { get; set; }

    public async ValueTask<int> ReadAsync(Process reader, Memory<byte> buffer)
    {
        while (true)
        {
            ulong seen = Word();
            if (TryTake(buffer, out int count))
            {
                return count;
            }

            reader.Signals.Interruption.ThrowIfCancellationRequested();
            SecureBinding<Frame> words = _frames.Bind(_frames.RootCredential, _words, Rights.Read);
            using WakeupPredicate hasArrived = WakeupPredicate.Bind(new PredicateProduct(1, PredicateValue.Word(words, 0).NotEqualTo(seen)));
            await reader.Environment.SleepUntil(hasArrived, reader.Signals.Interruption);
        }
    }

    public void Write(ReadOnlySpan<byte> bytes)
    {
        lock (_output)
        {
            _output.Write(bytes);
            _output.Flush();
        }
    }

    public void Dispose()
    {
        // The thread sits in a read of the host's that nothing can end; it goes with the host process, and the frame with the pool.
    }

    private bool TryTake(Memory<byte> buffer, out int count)
    {
        lock (_lock)
        {
            count = 0;
            if (_arrived.Count == 0)
            {
                return _hasEnded;
            }

            count = Math.Min(_arrived[0].Length, buffer.Length);
            _arrived[0][..count].CopyTo(buffer);
            _arrived[0] = _arrived[0][count..];
            if (_arrived[0].IsEmpty)
            {
                _arrived.RemoveAt(0);
            }

            return true;
        }
    }

    private void Listen()
    {
        byte[] buffer = new byte[4096];
        while (true)
        {
            int count;
            try
            {
                count = _input.Read(buffer);
            }
            catch (IOException)
            {
                count = 0;
            }

            lock (_lock)
            {
                _arrived.Add(buffer.AsSpan(0, count).ToArray());
                _hasEnded = count == 0 && !_isInteractive;
                Volatile.Write(ref MemoryMarshal.AsRef<ulong>(_frames.Bytes(_words)), Word() + 1);
            }

            _frames.Ring(_words);
            if (_hasEnded)
            {
                return;
            }
        }
    }

    private ulong Word() => Volatile.Read(ref MemoryMarshal.AsRef<ulong>(_frames.Bytes(_words)));
}

/// <summary>An open terminal.</summary>
internal sealed class TerminalFile(Terminal terminal) : OpenFile
{
    public override bool IsTerminal => terminal.IsInteractive;

    public override string Description => "/dev/tty";

    public override FileStatus Status => new(FileKind.Device, 0x1B6, 0);

    public override ValueTask<int> ReadAsync(Process reader, Memory<byte> buffer) => terminal.ReadAsync(reader, buffer);

    public override ValueTask WriteAsync(Process writer, ReadOnlyMemory<byte> bytes)
    {
        terminal.Write(bytes.Span);
        return default;
    }
}
