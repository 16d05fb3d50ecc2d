// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Ipc;
using Exo.Core.Linux;
using Exo.Core.Memory;
using Exo.Core.Observation;
using Exo.Host.Protocol;
using Exo.Storage.XN;

namespace Exo.Host;

/// <summary>
/// One client: its memory, and the thread that serves it.
/// <code>
///   attached --(socket closed, protocol broken, host stops)--> ended --(no block of XN's in its frames)--> cleaned up
/// </code>
/// </summary>
internal sealed class HostSession
{
    private readonly HostServer _server;
    private readonly Socket _socket;
    private readonly HostPeer _peer;
    private readonly Capability _capability;
    private readonly SharedMemory _requests;
    private readonly SharedMemory _replies;
    private readonly SharedFrames _blocks;
    private readonly SharedFrames _frames;
    private readonly DiskAllowance _allowance;
    private readonly DiskShare _share;
    private readonly RequestRate? _rate;
    private readonly Channel _channel;
    private readonly Thread _thread;
    private readonly byte[] _request = new byte[Channel.MessageMax];
    private readonly byte[] _reply = new byte[Channel.MessageMax];
    private readonly Lock _cleaning = new();
    private volatile bool _isOver;
    private bool _isClean;
    private uint _nextBlock;

    // Written by the session's thread alone, and read by observers.
    private int _threadId;
    private bool _isServing;
    private long _requestCount;
    private long _refusedCount;

    private HostSession(HostServer server, Socket socket, HostPeer peer, Capability capability, SharedMemory requests, SharedMemory replies, SharedFrames blocks, SharedFrames frames, DiskAllowance allowance, int diskWeight)
    {
        _server = server;
        _socket = socket;
        _peer = peer;
        _capability = capability;
        _requests = requests;
        _replies = replies;
        _blocks = blocks;
        _frames = frames;
        _allowance = allowance;
        _share = server.Disk.Add(diskWeight);
        _rate = server.Options.RequestsPerSecond is { } perSecond ? new RequestRate(perSecond, server.Options.Time) : null;
        Credential = Credential.Of(capability);
        _channel = new Channel(own: replies.Address, peer: requests.Address);
        _thread = new Thread(Serve) { IsBackground = true, Name = "exo-host-client" };
    }

    /// <summary>What the client may.</summary>
    public Credential Credential { get; }

    public uint User => _peer.User;

    /// <summary>Its part of the disk's time.</summary>
    public DiskShare Share => _share;

    /// <summary>What its user may have of the disk.</summary>
    public DiskAllowance Allowance => _allowance;

    public XnVolume Volume => _server.Volume;

    private FramePool Pool => _server.Frames;

    /// <summary>Takes frames and memory for a client. Null: there are none.</summary>
    /// <exception cref="IOException">The system gives no memory files.</exception>
    public static HostSession? TryCreate(HostServer server, Socket socket, HostPeer peer, Capability capability, DiskAllowance allowance, int diskWeight)
    {
        SharedFrames? blocks = null, frames = null;
        SharedMemory? requests = null, replies = null;
        try
        {
            blocks = server.Frames.Share(server.Options.BlocksPerClient, "exo-blocks", readOnlyForOthers: true);
            frames = blocks is null ? null : server.Frames.Share(server.Options.FramesPerClient, "exo-frames-of-client", readOnlyForOthers: false);
            if (frames is null)
            {
                blocks?.Dispose();
                return null;
            }

            requests = SharedMemory.Create("exo-requests", Channel.FileBytes, readOnlyForOthers: false);
            replies = SharedMemory.Create("exo-replies", Channel.FileBytes, readOnlyForOthers: true);
            return new HostSession(server, socket, peer, capability, requests, replies, blocks!, frames, allowance, diskWeight);
        }
        catch
        {
            requests?.Dispose();
            replies?.Dispose();
            frames?.Dispose();
            blocks?.Dispose();
            throw;
        }
    }

    public void Start()
    {
        _thread.Start();
        _ = WatchAsync();
    }

    /// <summary>Ends it, and waits for its thread.</summary>
    public void Stop()
    {
        End();
        if (_thread != Thread.CurrentThread)
        {
            _thread.Join();
        }
    }

    /// <summary>Whether its thread has not ended.</summary>
    public bool IsRunning => _thread.IsAlive;

    public bool Has(FrameNumber frame) => _blocks.Contains(frame) || _frames.Contains(frame);

    /// <summary>Blocks that are in the client's memory go to the host's; then its memory goes. False: some cannot go now, for instance because they are being written.</summary>
    public bool TryCleanUp()
    {
        lock (_cleaning)
        {
            if (_isClean)
            {
                return true;
            }

            if (_thread.IsAlive && _thread != Thread.CurrentThread)
            {
                return false;
            }

            foreach (SharedFrames run in (ReadOnlySpan<SharedFrames>)[_blocks, _frames])
            {
                foreach (BlockNumber block in Volume.BlocksIn(run.First, run.Count))
                {
                    if (!_server.TryTakeFrame(out FrameNumber own))
                    {
                        return false;
                    }

                    if (!Volume.TryRelocate(block, own))
                    {
                        Pool.Release(own);
                    }
                }
            }

            if (!_blocks.IsUnused || !_frames.IsUnused)
            {
                return false;
            }

            _blocks.Dispose();
            _frames.Dispose();
            _requests.Dispose();
            _replies.Dispose();
            _isClean = true;
            return true;
        }
    }

    /// <summary>What is seen of it from outside; nothing when it is over.</summary>
    public void Observe(List<ClientSnapshot> clients, List<RingSnapshot> rings)
    {
        int blocksHeld = HeldOf(_blocks), framesHeld = HeldOf(_frames);

        // Not to be waited for: who cleans up after the client has it, and then there is nothing to be seen.
        if (!_cleaning.TryEnter())
        {
            return;
        }

        try
        {
            if (_isOver || _isClean)
            {
                return;
            }

            long ranMicroseconds = Volatile.Read(ref _threadId) is not 0 and var thread ? Libc.ThreadTimeNanoseconds(thread) / 1000 : 0;
            clients.Add(new ClientSnapshot(
                _peer.ProcessId, _peer.User, _capability.Name.ToString(), Volatile.Read(ref _isServing), Volatile.Read(ref _requestCount), Volatile.Read(ref _refusedCount), ranMicroseconds,
                blocksHeld, _blocks.Count, framesHeld, _frames.Count, _share.Weight, _share.BytesBegun, _allowance.Blocks, _allowance.BlocksMax == long.MaxValue ? null : _allowance.BlocksMax));
            string name = string.Create(CultureInfo.InvariantCulture, $"process {_peer.ProcessId}");
            rings.Add(_channel.ObserveIncoming(name, RingKind.Requests));
            rings.Add(_channel.ObserveOutgoing(name, RingKind.Replies));
        }
        finally
        {
            _cleaning.Exit();
        }
    }

    /// <summary>Frames that the client can read and nobody else, retained for XN.</summary>
    /// <exception cref="HostException">There are not so many.</exception>
    public FrameNumber[] TakeBlocks(int count)
    {
        if (count > _blocks.Count)
        {
            throw new HostException(HostStatus.NoFrames, $"{count} blocks at once; this client has memory for {_blocks.Count}.");
        }

        FrameNumber[] taken = new FrameNumber[count];
        int found = 0;
        for (int looked = 0; looked < _blocks.Count && found < count; looked++)
        {
            FrameNumber frame = new(_blocks.First.Value + _nextBlock);
            _nextBlock = (_nextBlock + 1) % (uint)_blocks.Count;
            if (Pool.ReferenceCount(frame) == 1)
            {
                Pool.Retain(frame);
                taken[found++] = frame;
            }
        }

        if (found < count)
        {
            GiveBack(taken.AsSpan(0, found));
            throw new HostException(HostStatus.NoFrames, $"Fewer than {count} of the {_blocks.Count} frames for blocks are free; unbind some.");
        }

        return taken;
    }

    /// <summary>The client's own frames, by its numbers for them, retained for XN.</summary>
    /// <exception cref="MalformedException">There are no such frames, or XN has one already.</exception>
    public FrameNumber[] TakeFrames(ReadOnlySpan<uint> wished)
    {
        FrameNumber[] taken = new FrameNumber[wished.Length];
        for (int i = 0; i < wished.Length; i++)
        {
            FrameNumber frame = new(_frames.First.Value + wished[i]);
            if (wished[i] >= (uint)_frames.Count || Pool.ReferenceCount(frame) != 1)
            {
                GiveBack(taken.AsSpan(0, i));
                throw new MalformedException($"frame {wished[i]} is in use, or none of this client's {_frames.Count}");
            }

            Pool.Retain(frame);
            taken[i] = frame;
        }

        return taken;
    }

    /// <summary>A bit for each of the client's frames: set when XN does not have it.</summary>
    public void WriteFreeFrames(ref WireWriter results)
    {
        for (uint word = 0; word < (uint)(_frames.Count + 63) / 64; word++)
        {
            ulong bits = 0;
            for (uint i = 0; i < 64 && word * 64 + i < (uint)_frames.Count; i++)
            {
                bits |= Pool.ReferenceCount(new FrameNumber(_frames.First.Value + word * 64 + i)) == 1 ? 1UL << (int)i : 0;
            }

            results.U64(bits);
        }
    }

    public void GiveBack(ReadOnlySpan<FrameNumber> frames)
    {
        foreach (FrameNumber frame in frames)
        {
            Pool.Release(frame);
        }
    }

    /// <summary>A block that the client may read and that is in the host's own memory comes into the client's.</summary>
    public void Bring(BlockNumber block)
    {
        if (!Volume.TryGetFrame(Credential, block, out FrameNumber frame))
        {
            return;
        }

        Pool.Release(frame);
        if (_server.IsHostsOwn(frame))
        {
            FrameNumber[] own = TakeBlocks(1);
            if (!Volume.TryRelocate(block, own[0]))
            {
                GiveBack(own);
            }
        }
    }

    private int HeldOf(SharedFrames frames)
    {
        int held = 0;
        for (uint i = 0; i < (uint)frames.Count; i++)
        {
            held += Pool.ReferenceCount(new FrameNumber(frames.First.Value + i)) > 1 ? 1 : 0;
        }

        return held;
    }

    private void Serve()
    {
        try
        {
            if (!Greet())
            {
                return;
            }

            HostDisk.ActFor(_share);
            HostRequests requests = new(this, _rate);
            Volatile.Write(ref _threadId, Libc.ThreadId());
            Func<bool> isAlive = () => !_isOver;
            while (!_isOver && _channel.Receive(isAlive, out ReadOnlySpan<byte> there) == IpcStatus.Ok)
            {
                // Copied once; from here on the client cannot change what it has asked for.
                int length = there.Length;
                there.CopyTo(_request);
                _channel.Release(length);
                _isServing = true;
                int replied = requests.Answer(_request.AsSpan(0, length), _reply);
                _isServing = false;
                _requestCount++;
                _refusedCount += MemoryMarshal.Read<HostStatus>(_reply) == HostStatus.Ok ? 0 : 1;
                if (_channel.TryReserve(replied, out Span<byte> room) != IpcStatus.Ok)
                {
                    // It does not take its replies, or has scribbled.
                    return;
                }

                _reply.AsSpan(0, replied).CopyTo(room);
                _channel.Send(replied);
            }
        }
        finally
        {
            HostDisk.ActFor(null);
            _share.Dispose();
            End();
            _capability.Revoke(Pool.RootCredential);
            _server.Ended(this);
        }
    }

    private bool Greet()
    {
        Greeting greeting = new()
        {
            Magic = Greeting.MagicValue,
            BlockCount = Volume.BlockCount,
            DataStart = Volume.DataStart.Value,
            RegistryBytes = _server.Registry.LengthBytes,
            BlocksFirst = _blocks.First.Value,
            BlocksCount = (uint)_blocks.Count,
            FramesFirst = _frames.First.Value,
            FramesCount = (uint)_frames.Count,
        };
        return Libc.SendDescriptors(
            (int)_socket.Handle,
            MemoryMarshal.AsBytes(new ReadOnlySpan<Greeting>(in greeting)),
            [_requests.Descriptor, _replies.Descriptor, _server.Registry.Descriptor, _blocks.Descriptor, _frames.Descriptor]) > 0;
    }

    /// <summary>The socket says nothing but that the client has gone, or should go since it speaks.</summary>
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

        End();
    }

    private void End()
    {
        lock (_cleaning)
        {
            if (_isOver)
            {
                return;
            }

            _isOver = true;
            if (!_isClean)
            {
                _channel.Interrupt();
            }
        }

        _socket.Dispose();
    }
}
