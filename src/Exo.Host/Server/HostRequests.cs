// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Host.Protocol;
using Exo.Storage.XN;

namespace Exo.Host;

/// <summary>
/// Carries out a client's requests with the client's rights. A request is bytes of a stranger's: read with bounds, out of memory that he cannot change, and whatever is wrong with it is an answer.
/// <code>
///   request:  operation u32 | arguments          reply:  HostStatus u32 | XnStatus u32 | results, or what was wrong as text
/// </code>
/// </summary>
internal sealed class HostRequests(HostSession session, RequestRate? rate)
{
    private const int BlockBytes = 4096;

    private readonly XnTransaction _transaction = new();
    private readonly List<FrameNumber> _taken = [];

    private XnVolume Volume => session.Volume;

    /// <summary>Carries one out.</summary>
    /// <returns>Bytes of the reply.</returns>
    public int Answer(ReadOnlySpan<byte> request, Span<byte> reply)
    {
        WireWriter results = new(reply[8..]);
        HostStatus status = HostStatus.Ok;
        XnStatus xn = XnStatus.Ok;
        string? wrong = null;
        _taken.Clear();
        try
        {
            if (rate?.TryTake() == false)
            {
                throw new HostException(HostStatus.TooManyRequests, "This client asks more often than it may; ask again later.");
            }

            WireReader arguments = new(request);
            uint operation = arguments.U32();
            xn = Carry((HostOperation)operation, ref arguments, ref results);
            status = xn == XnStatus.Ok ? HostStatus.Ok : HostStatus.Refused;
            wrong = xn == XnStatus.Ok ? null : xn.ToString();
        }
        catch (XnException refused)
        {
            (status, xn, wrong) = (HostStatus.Refused, refused.Status, refused.Message);
        }
        catch (HostException host)
        {
            (status, wrong) = (host.Status, host.Message);
        }
        catch (BlockDeviceException failed)
        {
            (status, wrong) = (HostStatus.DiskFailed, failed.Message);
        }
        catch (Exception malformed) when (malformed is MalformedException or ArgumentException or OverflowException)
        {
            (status, wrong) = (HostStatus.Malformed, malformed.Message);
        }

        if (wrong is not null)
        {
            // Frames that XN did not take are still the client's.
            session.GiveBack(CollectionsMarshal.AsSpan(_taken));
            if (status != HostStatus.Refused || results.Length == 0)
            {
                results = new WireWriter(reply[8..]);
                results.Text(wrong);
            }
        }

        WireWriter head = new(reply);
        head.U32((uint)status);
        head.U32((uint)xn);
        return 8 + results.Length;
    }

    private XnStatus Carry(HostOperation operation, ref WireReader arguments, ref WireWriter results)
    {
        switch (operation)
        {
            case HostOperation.Nothing:
                arguments.End();
                return XnStatus.Ok;
            case HostOperation.InstallTemplates:
                InstallTemplates(ref arguments, ref results);
                return XnStatus.Ok;
            case HostOperation.CreateRoot:
                TemplateId template = new(arguments.U32());
                BlockNumber hint = arguments.Block();
                ReadOnlySpan<byte> contents = arguments.Bytes();
                arguments.End();
                BlockNumber root = CreateRoot(template, hint, contents);
                session.Bring(root);
                results.Block(root);
                return XnStatus.Ok;
            case HostOperation.PublishRoot:
                string name = arguments.Text();
                BlockNumber published = arguments.Block();
                arguments.End();
                Volume.PublishRoot(session.Credential, name, published);
                return XnStatus.Ok;
            case HostOperation.OpenRoot:
                RootEntry opened = Volume.OpenRoot(session.Credential, EndWith(ref arguments, arguments.Text()));
                session.Bring(opened.Block);
                results.Block(opened.Block);
                results.U32(opened.Template.Value);
                return XnStatus.Ok;
            case HostOperation.Read:
                Read(EndWith(ref arguments, ReadRequest(ref arguments)));
                return XnStatus.Ok;
            case HostOperation.Fetch:
                return Fetch(EndWith(ref arguments, arguments.Block()), ref results);
            case HostOperation.Apply:
                return Apply(ref arguments, ref results);
            case HostOperation.BindOverwrite:
                XnReadRequest bind = ReadRequest(ref arguments);
                FrameNumber[] bound = Frames(ref arguments);
                arguments.End();
                return Volume.BindOverwrite(session.Credential, bind, bound);
            case HostOperation.Rebind:
                BlockNumber rebound = arguments.Block();
                FrameNumber[] one = Frames(ref arguments);
                arguments.End();
                return one.Length == 1 ? Volume.Rebind(session.Credential, rebound, one[0]) : throw new MalformedException($"{one.Length} frames for a block");
            case HostOperation.MarkDirty:
                BlockNumber first = arguments.Block();
                int count = (int)Math.Min(arguments.U32(), int.MaxValue);
                arguments.End();
                return Volume.MarkDirty(session.Credential, first, count);
            case HostOperation.Unbind:
                return Volume.Unbind(session.Credential, EndWith(ref arguments, arguments.Block()));
            case HostOperation.WriteBack:
                BlockNumber[] blocks = new BlockNumber[arguments.Count(8)];
                for (int i = 0; i < blocks.Length; i++)
                {
                    blocks[i] = arguments.Block();
                }

                arguments.End();
                return WriteBack(blocks);
            case HostOperation.Flush:
                arguments.End();
                Volume.Flush();
                return XnStatus.Ok;
            case HostOperation.Commit:
                arguments.End();
                results.U32(Volume.TryCommit(session.Credential) ? 1u : 0);
                return XnStatus.Ok;
            case HostOperation.PlanWriteBack:
                PlanWriteBack(EndWith(ref arguments, arguments.U32()), ref results);
                return XnStatus.Ok;
            case HostOperation.OwnFrames:
                arguments.End();
                session.WriteFreeFrames(ref results);
                return XnStatus.Ok;
            case HostOperation.FreeMap:
                FreeMap(ref arguments, ref results);
                return XnStatus.Ok;
            default:
                throw new MalformedException($"{(uint)operation} is no operation");
        }
    }

    private static T EndWith<T>(ref WireReader arguments, T value)
    {
        arguments.End();
        return value;
    }

    private static XnReadRequest ReadRequest(ref WireReader arguments)
    {
        BlockNumber parent = arguments.Block();
        int partition = (int)arguments.U32();
        return new XnReadRequest(parent, partition, arguments.Extent());
    }

    private FrameNumber[] Frames(ref WireReader arguments)
    {
        uint[] wished = new uint[arguments.Count(4)];
        for (int i = 0; i < wished.Length; i++)
        {
            wished[i] = arguments.U32();
        }

        FrameNumber[] frames = session.TakeFrames(wished);
        _taken.AddRange(frames);
        return frames;
    }

    private void InstallTemplates(ref WireReader arguments, ref WireWriter results)
    {
        TemplateSource[] sources = new TemplateSource[arguments.Count(8)];
        for (int i = 0; i < sources.Length; i++)
        {
            sources[i] = TransactionWire.ReadTemplate(ref arguments);
        }

        arguments.End();
        foreach (TemplateId id in Volume.InstallTemplates(session.Credential, sources))
        {
            results.U32(id.Value);
        }
    }

    private BlockNumber CreateRoot(TemplateId template, BlockNumber hint, ReadOnlySpan<byte> contents)
    {
        session.Allowance.Take(1);
        bool isMade = false;
        try
        {
            BlockNumber root = Volume.CreateRoot(session.Credential, template, hint, contents);
            isMade = true;
            return root;
        }
        finally
        {
            session.Allowance.GiveBack(isMade ? 0 : 1);
        }
    }

    /// <summary>
    /// Data without the turn that writes in place take, and only then the rest with it: who waits for his share of the disk with much to write is not in the way of all others meanwhile.
    /// </summary>
    private XnStatus WriteBack(BlockNumber[] blocks)
    {
        BlockExtent[] extents = Array.ConvertAll(blocks, static block => new BlockExtent(block, 1));
        Volume.WriteBehindAsync(session.Credential, extents).AsTask().GetAwaiter().GetResult();
        return Volume.WriteBack(session.Credential, blocks);
    }

    private void Read(XnReadRequest request)
    {
        FrameNumber[] frames = session.TakeBlocks((int)Math.Min(request.Extent.Count, int.MaxValue));
        int unused = frames.Length;
        try
        {
            Volume.Read(session.Credential, [request], frames, out unused);
        }
        finally
        {
            session.GiveBack(frames.AsSpan(0, unused));
        }

        for (uint i = 0; i < request.Extent.Count; i++)
        {
            session.Bring(request.Extent.First + i);
        }
    }

    private XnStatus Fetch(BlockNumber block, ref WireWriter results)
    {
        if (!Volume.TryGetFrame(session.Credential, block, out FrameNumber frame))
        {
            return XnStatus.NotInCore;
        }

        Volume.Frames.Bytes(frame).CopyTo(results.Take(BlockBytes));
        Volume.Frames.Release(frame);
        return XnStatus.Ok;
    }

    private XnStatus Apply(ref WireReader arguments, ref WireWriter results)
    {
        TransactionWire.Read(ref arguments, _transaction, (count, wished, template) =>
        {
            Template kind = Volume.Template(template) ?? throw new MalformedException($"there is no template {template.Value}");
            if (wished is not null && kind.IsMetadata)
            {
                throw new MalformedException("metadata is in frames that its client can only read");
            }

            FrameNumber[] frames = wished is null ? session.TakeBlocks(count) : session.TakeFrames(wished);
            _taken.AddRange(frames);
            return frames;
        });
        arguments.End();
        long more = 0;
        long freed = 0;
        foreach (Claim claim in _transaction.Claims)
        {
            // Of counted blocks it is not known before whether somebody else's pointer goes on leading to them.
            bool isFreed = claim.Kind is ClaimKind.Free or ClaimKind.FreeTree && Volume.Template(claim.Extent.Template) is { IsCounted: false };
            more += claim.Kind == ClaimKind.Allocate ? claim.Extent.Extent.Count : 0;
            freed += isFreed ? claim.Extent.Extent.Count : 0;
        }

        // What is exchanged for what goes needs no room.
        long taken = Math.Max(0, more - freed);
        session.Allowance.Take(taken);
        XnStatus? done = null;
        try
        {
            done = Volume.Apply(session.Credential, _transaction);
        }
        finally
        {
            session.Allowance.GiveBack(done == XnStatus.Ok ? _transaction.BlocksFreed - more + taken : taken);
        }

        XnStatus status = done.Value;
        if (status != XnStatus.Ok)
        {
            results.Text(_transaction.LastRefusal);
            results.Block(_transaction.MissingBlock);
        }

        return status;
    }

    private void PlanWriteBack(uint countMax, ref WireWriter results)
    {
        BlockNumber[] plan = new BlockNumber[Math.Min(countMax, (uint)(Channel.MessageMax - 64) / 8)];
        int count = Volume.PlanWriteBack(plan);
        for (int i = 0; i < count; i++)
        {
            results.Block(plan[i]);
        }
    }

    private void FreeMap(ref WireReader arguments, ref WireWriter results)
    {
        uint first = arguments.U32();
        uint count = arguments.U32();
        arguments.End();
        ReadOnlySpan<ulong> words = Volume.FreeMap;
        if (first > (uint)words.Length || count > (uint)words.Length - first || count > (uint)(Channel.MessageMax - 64) / 8)
        {
            throw new MalformedException($"{count} words from {first} on; the map has {words.Length}");
        }

        foreach (ulong word in words.Slice((int)first, (int)count))
        {
            results.U64(word);
        }
    }
}
