// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Exo.Core.Blocks;
using Exo.Core.Ipc;
using Exo.Core.Linux;
using Exo.Core.Memory;
using Exo.Host.Protocol;
using Exo.Storage.XN;

namespace Exo.Host;

/// <summary>
/// A library OS's side of an exokernel in another process. What it may see it sees without a call: XN's registry (<see cref="TryGetEntry"/>) and the blocks that were read in for it
/// (<see cref="TryReadCached"/>). What it wants changed it asks for, and XN checks it as it checks everybody. It trusts its host, not other clients. Thread-safe; calls are made one at a time.
/// </summary>
public sealed partial class HostClient : IDisposable
{
    private const int BlockBytes = 4096;

    private readonly Socket _socket;
    private readonly MappedWhileReachable _requests;
    private readonly MappedWhileReachable _replies;
    private readonly MappedWhileReachable _registryMemory;
    private readonly MappedWhileReachable _blocks;
    private readonly MappedWhileReachable _frames;
    private readonly RegistryTables _registry;
    private readonly Channel _channel;
    private readonly Greeting _greeting;
    private readonly Func<bool> _isAlive;
    private readonly Lock _lock = new();
    private volatile bool _isOver;

    private HostClient(Socket socket, Greeting greeting, SharedMemory[] memory)
    {
        _socket = socket;
        _greeting = greeting;
        _requests = new MappedWhileReachable(memory[0]);
        _replies = new MappedWhileReachable(memory[1]);
        _registryMemory = new MappedWhileReachable(memory[2]);
        _blocks = new MappedWhileReachable(memory[3]);
        _frames = new MappedWhileReachable(memory[4]);
        _registry = new RegistryTables(new SharedTableMemory(memory[2].Address, memory[2].LengthBytes, _registryMemory, isWriter: false));
        _channel = new Channel(own: memory[0].Address, peer: memory[1].Address);
        _isAlive = () => !_isOver;
        _ = WatchAsync();
    }

    /// <summary>Blocks of the disk.</summary>
    public ulong BlockCount => _greeting.BlockCount;

    /// <summary>The first block that library OSes may have.</summary>
    public BlockNumber DataStart => new(_greeting.DataStart);

    /// <summary>Frames of its own: numbered from 0, to be filled through <see cref="Frame"/> and given to XN.</summary>
    public int FrameCount => (int)_greeting.FramesCount;

    /// <summary>Frames that the host has for blocks that this client can read without a call.</summary>
    public int BlockFrameCount => (int)_greeting.BlocksCount;

    /// <summary>Whether the host is there.</summary>
    public bool IsConnected => !_isOver;

    /// <summary>Attaches to a host.</summary>
    /// <param name="socketPath">The host's socket.</param>
    /// <exception cref="SocketException">Nobody listens there, or this user may not connect.</exception>
    /// <exception cref="HostException">The host does not let this process in, or has no room for it.</exception>
    /// <exception cref="IOException">What it sent cannot be mapped.</exception>
    public static HostClient Attach(string socketPath)
    {
        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(socketPath));
            socket.Send(BitConverter.GetBytes((ulong)Hello.LibraryOS));
            Greeting greeting = default;
            Span<int> descriptors = stackalloc int[Greeting.Descriptors];
            nint received = Libc.ReceiveDescriptors((int)socket.Handle, MemoryMarshal.AsBytes(new Span<Greeting>(ref greeting)), descriptors, out int count);
            if (received < Marshal.SizeOf<Greeting>() || count < Greeting.Descriptors || greeting.Magic != Greeting.MagicValue)
            {
                foreach (int descriptor in descriptors[..count])
                {
                    _ = Libc.Close(descriptor);
                }

                throw received == Marshal.SizeOf<Greeting>() && greeting.Magic == Greeting.RefusalValue
                    ? new HostException((HostStatus)greeting.BlockCount, (HostStatus)greeting.BlockCount == HostStatus.NotAdmitted
                        ? "The host does not let this process in."
                        : "The host has no room for another client, or this user has as many as it may.")
                    : received <= 0
                    ? new HostException(HostStatus.Disconnected, "The host has gone, or has too much to do to let anybody in.")
                    : new HostException(HostStatus.Malformed, "Whoever listens there is no exokernel host, or one of another version.");
            }

            return new HostClient(socket, greeting, Map(greeting, descriptors));
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>The bytes of a frame of its own. What is written into a frame that XN has is written into the block: say so with <see cref="MarkDirty"/>.</summary>
    /// <param name="frame">From 0 to <see cref="FrameCount"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such frame.</exception>
    public unsafe Span<byte> Frame(int frame)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(frame);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(frame, FrameCount);
        return new Span<byte>((byte*)_frames.Memory.Address + ((nint)frame * BlockBytes), BlockBytes);
    }

    /// <summary>The registry's entry of a block, read where the host writes it, without a call: whole, as it was at one moment.</summary>
    /// <returns>False when the block is not in core.</returns>
    public bool TryGetEntry(BlockNumber block, out RegistryEntryInfo info)
    {
        bool found = TryRead(block, out RegistryEntry entry, out WriteState state);
        info = found ? XnVolume.Describe(entry, state) : default;
        return found;
    }

    /// <summary>
    /// Copies a block out of the memory that this process shares with the host, without a call and without a system call: one that was read in for this client (<see cref="Read"/>), or whose contents it has given.
    /// What is copied is one version of the block, unless it is in a frame that somebody of this process is writing.
    /// </summary>
    /// <param name="block">The block.</param>
    /// <param name="buffer">At least 4,096 bytes.</param>
    /// <returns>False when it is not in this client's memory.</returns>
    public bool TryReadCached(BlockNumber block, Span<byte> buffer)
    {
        buffer = buffer[..BlockBytes];
        while (true)
        {
            uint sequence = _registry.Sequence;
            if (!TryRead(block, out RegistryEntry before, out _)
                || (before.Flags & (EntryFlags.Framed | EntryFlags.Reading)) != EntryFlags.Framed
                || !TryFind(before.Frame, out ReadOnlySpan<byte> bytes))
            {
                return false;
            }

            FrameCopy.Copy(bytes, buffer);
            Volatile.ReadBarrier();

            // As a rule nothing at all has changed meanwhile; otherwise, whether this block has.
            if (((sequence & 1) == 0 && _registry.Sequence == sequence)
                || (TryRead(block, out RegistryEntry after, out _) && after.Frame == before.Frame && after.Version == before.Version))
            {
                return true;
            }
        }
    }

    /// <summary>Ends the connection. The host puts what this client had in core into its own memory; what was not made durable may still be by others.</summary>
    public void Dispose()
    {
        _isOver = true;
        _socket.Dispose();
    }

    private static SharedMemory[] Map(Greeting greeting, ReadOnlySpan<int> descriptors)
    {
        long[] lengths =
            [Channel.FileBytes, Channel.FileBytes, greeting.RegistryBytes, (long)greeting.BlocksCount * BlockBytes, (long)greeting.FramesCount * BlockBytes];
        List<SharedMemory> mapped = [];
        try
        {
            for (int i = 0; i < Greeting.Descriptors; i++)
            {
                mapped.Add(SharedMemory.Open(descriptors[i], lengths[i], writable: i is 0 or 4));
            }

            return [.. mapped];
        }
        catch
        {
            foreach (int descriptor in descriptors[(mapped.Count + 1)..])
            {
                _ = Libc.Close(descriptor);
            }

            mapped.ForEach(memory => memory.Dispose());
            throw;
        }
    }

    private bool TryRead(BlockNumber block, out RegistryEntry entry, out WriteState state)
    {
        const int TriesBeforeRefresh = 16;
        for (int i = 1; ; i++)
        {
            if (_registry.TryRead(block.Value, out bool found, out entry, out state) && (found || i > 1))
            {
                return found;
            }

            if (i % TriesBeforeRefresh == 1)
            {
                // Not there, perhaps because the tables have grown since.
                lock (_registryMemory)
                {
                    _registry.Refresh();
                }
            }
            else
            {
                Thread.SpinWait(8);
                if (_isOver && i > 1000)
                {
                    // The host died in the middle of a change.
                    return false;
                }
            }
        }
    }

    private unsafe bool TryFind(uint frame, out ReadOnlySpan<byte> bytes)
    {
        uint inBlocks = frame - _greeting.BlocksFirst;
        uint inFrames = frame - _greeting.FramesFirst;
        bytes = inBlocks < _greeting.BlocksCount ? new ReadOnlySpan<byte>((byte*)_blocks.Memory.Address + ((nint)inBlocks * BlockBytes), BlockBytes)
            : inFrames < _greeting.FramesCount ? new ReadOnlySpan<byte>((byte*)_frames.Memory.Address + ((nint)inFrames * BlockBytes), BlockBytes)
            : default;
        return !bytes.IsEmpty;
    }

    private async Task WatchAsync()
    {
        try
        {
            await _socket.ReceiveAsync(new byte[1]).ConfigureAwait(false);
        }
        catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
        {
            // Gone.
        }

        _isOver = true;
        _channel.Interrupt();
    }
}
