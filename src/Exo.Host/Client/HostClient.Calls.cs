// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Ipc;
using Exo.Core.Memory;
using Exo.Host.Protocol;
using Exo.Storage.XN;

namespace Exo.Host;

/// <content>Checked calls: each is a message to the host, carried out with this process's rights. They mean what they mean in <see cref="XnVolume"/>.</content>
public sealed partial class HostClient
{
    private readonly byte[] _request = new byte[Channel.MessageMax];
    private readonly byte[] _reply = new byte[Channel.MessageMax];

    /// <summary>In the place of frames in <see cref="XnTransaction.ClaimAllocate"/>: the host gives frames that this client can read; the only ones there are for metadata.</summary>
    public static FrameNumber AnyFrame => TransactionWire.AnyFrame;

    /// <summary>Asks for nothing: a round trip.</summary>
    /// <exception cref="HostException">The host has gone.</exception>
    public void Ping()
    {
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.Nothing);
            Demand(ref request);
        }
    }

    /// <inheritdoc cref="XnVolume.InstallTemplates"/>
    /// <exception cref="HostException">XN refused, or the host has gone.</exception>
    public TemplateId[] InstallTemplates(IReadOnlyList<TemplateSource> sources)
    {
        ArgumentNullException.ThrowIfNull(sources);
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.InstallTemplates);
            request.U32((uint)sources.Count);
            foreach (TemplateSource source in sources)
            {
                TransactionWire.Write(ref request, source);
            }

            WireReader results = Demand(ref request);
            TemplateId[] ids = new TemplateId[sources.Count];
            for (int i = 0; i < ids.Length; i++)
            {
                ids[i] = new TemplateId(results.U32());
            }

            return ids;
        }
    }

    /// <summary><see cref="XnVolume.CreateRoot"/>; the block can then be read without a call.</summary>
    /// <exception cref="HostException">XN refused, or the host has gone.</exception>
    public BlockNumber CreateRoot(TemplateId template, BlockNumber hint = default, ReadOnlySpan<byte> contents = default)
    {
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.CreateRoot);
            request.U32(template.Value);
            request.Block(hint);
            request.Bytes(contents);
            return Demand(ref request).Block();
        }
    }

    /// <inheritdoc cref="XnVolume.PublishRoot"/>
    /// <exception cref="HostException">XN refused, or the host has gone.</exception>
    public void PublishRoot(string name, BlockNumber block)
    {
        ArgumentNullException.ThrowIfNull(name);
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.PublishRoot);
            request.Text(name);
            request.Block(block);
            Demand(ref request);
        }
    }

    /// <summary><see cref="XnVolume.OpenRoot"/>; if this client may read the block, it can then do so without a call.</summary>
    /// <exception cref="HostException">There is no such root, or the host has gone.</exception>
    public RootEntry OpenRoot(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.OpenRoot);
            request.Text(name);
            WireReader results = Demand(ref request);
            BlockNumber block = results.Block();
            return new RootEntry(name, new TemplateId(results.U32()), block);
        }
    }

    /// <summary>
    /// <see cref="XnVolume.Read"/>: brings blocks in, into frames that this client can read without a call (<see cref="TryReadCached"/>) from then on, until they are unbound. Blocks that another client has in its memory stay
    /// there: <see cref="Fetch"/> copies them.
    /// </summary>
    /// <exception cref="HostException">XN refused; <see cref="HostStatus.NoFrames"/>: unbind some; or the host has gone.</exception>
    public void Read(in XnReadRequest what)
    {
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.Read);
            Write(ref request, what);
            Demand(ref request);
        }
    }

    /// <summary>A copy of a block in core, in whosever memory it is.</summary>
    /// <param name="block">The block.</param>
    /// <param name="buffer">At least 4,096 bytes.</param>
    /// <exception cref="HostException">It is not in core, this client may not read it, or the host has gone.</exception>
    public void Fetch(BlockNumber block, Span<byte> buffer)
    {
        buffer = buffer[..BlockBytes];
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.Fetch);
            request.Block(block);
            Demand(ref request).Take(BlockBytes).CopyTo(buffer);
        }
    }

    /// <summary>
    /// <see cref="XnVolume.Apply"/>. Frames in the transaction are <see cref="AnyFrame"/> or its own; those given are XN's until the block is out of core or has another frame.
    /// </summary>
    /// <returns>What XN says; the transaction's <see cref="XnTransaction.LastRefusal"/> says more.</returns>
    /// <exception cref="HostException">The transaction is larger than a message, frames are in use or not there, or the host has gone.</exception>
    public XnStatus Apply(XnTransaction transaction)
    {
        ArgumentNullException.ThrowIfNull(transaction);
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.Apply);
            TransactionWire.Write(ref request, transaction);
            XnStatus status = Send(ref request, out WireReader results);
            if (status == XnStatus.Ok)
            {
                foreach (FrameNumber frame in transaction.Frames)
                {
                    Given(frame);
                }
            }

            transaction.LastRefusal = status == XnStatus.Ok ? "" : results.Text();
            transaction.MissingBlock = results.IsAtEnd ? default : results.Block();
            return status;
        }
    }

    /// <summary><see cref="XnVolume.BindOverwrite"/>, with frames of its own.</summary>
    /// <exception cref="HostException">Frames are in use or not there, or the host has gone.</exception>
    public XnStatus BindOverwrite(in XnReadRequest what, ReadOnlySpan<int> frames)
    {
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.BindOverwrite);
            Write(ref request, what);
            Write(ref request, frames);
            return Given(frames, Send(ref request, out _));
        }
    }

    /// <summary><see cref="XnVolume.Rebind"/>, with a frame of its own: how a block is changed that was read in.</summary>
    /// <exception cref="HostException">The frame is in use or not there, or the host has gone.</exception>
    public XnStatus Rebind(BlockNumber block, int frame)
    {
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.Rebind);
            request.Block(block);
            Write(ref request, [frame]);
            return Given([frame], Send(ref request, out _));
        }
    }

    /// <inheritdoc cref="XnVolume.MarkDirty"/>
    /// <exception cref="HostException">The host has gone.</exception>
    public XnStatus MarkDirty(BlockNumber first, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.MarkDirty);
            request.Block(first);
            request.U32((uint)count);
            return Send(ref request, out _);
        }
    }

    /// <inheritdoc cref="XnVolume.Unbind"/>
    /// <exception cref="HostException">The host has gone.</exception>
    public XnStatus Unbind(BlockNumber block)
    {
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.Unbind);
            request.Block(block);
            return Send(ref request, out _);
        }
    }

    /// <summary>
    /// As <see cref="XnVolume.WriteBack"/>; but data that may be written is written first and by itself (<see cref="XnVolume.WriteBehindAsync"/>), also when another block is then refused: so nobody else's writes wait for this client's
    /// share of the disk.
    /// </summary>
    /// <returns>As there.</returns>
    /// <exception cref="HostException">The disk failed, or the host has gone.</exception>
    public XnStatus WriteBack(ReadOnlySpan<BlockNumber> blocks)
    {
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.WriteBack);
            request.U32((uint)blocks.Length);
            foreach (BlockNumber block in blocks)
            {
                request.Block(block);
            }

            return Send(ref request, out _);
        }
    }

    /// <inheritdoc cref="XnVolume.PlanWriteBack(Span{BlockNumber})"/>
    /// <exception cref="HostException">The host has gone.</exception>
    public int PlanWriteBack(Span<BlockNumber> into)
    {
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.PlanWriteBack);
            request.U32((uint)into.Length);
            WireReader results = Demand(ref request);
            int count = 0;
            while (!results.IsAtEnd && count < into.Length)
            {
                into[count++] = results.Block();
            }

            return count;
        }
    }

    /// <inheritdoc cref="XnVolume.Flush"/>
    /// <exception cref="HostException">The disk failed, or the host has gone.</exception>
    public void Flush()
    {
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.Flush);
            Demand(ref request);
        }
    }

    /// <inheritdoc cref="XnVolume.TryCommit"/>
    /// <exception cref="HostException">XN refused, the disk failed, or the host has gone.</exception>
    public bool TryCommit()
    {
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.Commit);
            return Demand(ref request).U32() != 0;
        }
    }

    /// <summary>Words of the disk's free map: bit i % 64 of word i / 64 is set while block i is free. Others change it meanwhile: what is free is not yours until a transaction says so.</summary>
    /// <param name="firstWord">From where.</param>
    /// <param name="words">At most 16,000; all must exist.</param>
    /// <exception cref="HostException">There are not so many, or the host has gone.</exception>
    public void ReadFreeMap(int firstWord, Span<ulong> words)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(firstWord);
        lock (_lock)
        {
            WireWriter request = Begin(HostOperation.FreeMap);
            request.U32((uint)firstWord);
            request.U32((uint)words.Length);
            WireReader results = Demand(ref request);
            for (int i = 0; i < words.Length; i++)
            {
                words[i] = results.U64();
            }
        }
    }

    /// <summary>The first run of free blocks at or behind a place, as the map is now.</summary>
    /// <param name="near">Where to begin to look; the end of the disk is followed by its start.</param>
    /// <param name="count">How many in a row, 1 to 64.</param>
    /// <param name="run">The run.</param>
    /// <returns>False when there is none.</returns>
    /// <exception cref="HostException">The host has gone.</exception>
    public bool TryFindFree(BlockNumber near, uint count, out BlockExtent run)
    {
        ArgumentOutOfRangeException.ThrowIfZero(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, 64u);
        ulong start = near.Value >= BlockCount || near < DataStart ? DataStart.Value : near.Value;
        return TryFindFree(start, BlockCount, count, out run) || TryFindFree(DataStart.Value, Math.Min(BlockCount, start + count), count, out run);
    }

    private bool TryFindFree(ulong from, ulong until, uint count, out BlockExtent run)
    {
        const int WordsAtOnce = 1024;
        Span<ulong> words = stackalloc ulong[WordsAtOnce];
        ulong length = 0;
        ulong wordCount = (BlockCount + 63) / 64;
        for (ulong block = from; block < until;)
        {
            ulong first = block / 64;
            int have = (int)Math.Min(WordsAtOnce, wordCount - first);
            ReadFreeMap((int)first, words[..have]);
            for (ulong end = Math.Min(until, (first + (ulong)have) * 64); block < end; block++)
            {
                length = (words[(int)((block / 64) - first)] >> (int)(block % 64) & 1) != 0 ? length + 1 : 0;
                if (length == count)
                {
                    run = new BlockExtent(new BlockNumber(block + 1 - count), count);
                    return true;
                }
            }
        }

        run = default;
        return false;
    }

    private static void Write(ref WireWriter to, in XnReadRequest request)
    {
        to.Block(request.Parent);
        to.U32((uint)request.Partition);
        to.Extent(request.Extent);
    }

    private static void Write(ref WireWriter to, scoped ReadOnlySpan<int> frames)
    {
        to.U32((uint)frames.Length);
        foreach (int frame in frames)
        {
            to.U32((uint)frame);
        }
    }

    // The lock is held by all who begin, until they have read the results.
    private WireWriter Begin(HostOperation operation)
    {
        WireWriter request = new(_request);
        request.U32((uint)operation);
        return request;
    }

    private WireReader Demand(ref WireWriter request)
    {
        XnStatus status = Send(ref request, out WireReader results);
        return status == XnStatus.Ok ? results : throw new HostException(HostStatus.Refused, results.Text(), status);
    }

    private XnStatus Send(ref WireWriter request, out WireReader results)
    {
        if (_isOver || _channel.TryReserve(request.Length, out Span<byte> room) != IpcStatus.Ok)
        {
            throw Gone();
        }

        _request.AsSpan(0, request.Length).CopyTo(room);
        _channel.Send(request.Length);
        if (_channel.Receive(_isAlive, out ReadOnlySpan<byte> there) != IpcStatus.Ok)
        {
            _isOver = true;
            throw Gone();
        }

        int length = there.Length;
        there.CopyTo(_reply);
        _channel.Release(length);
        WireReader reply = new(_reply.AsSpan(0, length));
        HostStatus status = (HostStatus)reply.U32();
        XnStatus xn = (XnStatus)reply.U32();
        results = reply;
        return status is HostStatus.Ok or HostStatus.Refused ? xn : throw new HostException(status, results.Text());
    }

    private static HostException Gone() => new(HostStatus.Disconnected, "The host has gone, or has ended the connection.");
}
