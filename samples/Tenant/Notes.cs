// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Security.Cryptography;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;
using Exo.Host;
using Exo.Storage.XN;

namespace Exo.Samples.Tenant;

/// <summary>
/// A format of its own on a shared disk: numbered notes of one block each.
/// <code>
///   index:  255 entries of { block u64, in use u32, 0 u32 }          the root; each entry is a partition
///   note:   length u32 | SHA-256 of the text 32 B | text
/// </code>
/// A note is written into a fresh block, and the index is pointed to it when that is durable (XN sees to that); the block that it replaces is free then. So after a crash, of the disk or of this process, every note is whole: the
/// old one or the new one.
/// </summary>
internal sealed class Notes
{
    public const int Count = 255;
    private const int EntryBytes = 16;
    private const int HeadBytes = 36;

    private readonly HostClient _host;
    private readonly TemplateId _note;
    private readonly BlockNumber _index;
    private readonly byte[] _block = new byte[4096];
    private BlockNumber _near;

    private Notes(HostClient host, TemplateId note, BlockNumber index)
    {
        _host = host;
        _note = note;
        _index = index;
        _near = index;
    }

    private static TemplateSource[] Templates { get; } =
    [
        new TemplateSource
        {
            Name = "notes.index",
            ReadSetBytes = EntryBytes,
            Partitions = [new PartitionGroup(0, EntryBytes, Count)],
            Children = ["notes.note"],
            Acl = Assembler.Assemble("mov r0, 1\nexit"),
            Owns = Assembler.Assemble("""
                    ldxw r3, [r1+8]
                    jeq r3, 0, done
                    ldxdw r1, [r1+0]
                    mov r2, 1
                    mov r3, 0
                    call 1
                done:
                    mov r0, 0
                    exit
                """),
        },
        new TemplateSource { Name = "notes.note", Flags = TemplateFlags.InitialiseFirst },
    ];

    /// <summary>Opens the notes of a name, or begins them.</summary>
    public static Notes Open(HostClient host, string name)
    {
        TemplateId[] templates = host.InstallTemplates(Templates);
        try
        {
            return new Notes(host, templates[1], host.OpenRoot(name).Block);
        }
        catch (HostException missing) when (missing.XnStatus == XnStatus.NotFound)
        {
            Notes notes = new(host, templates[1], host.CreateRoot(templates[0]));
            notes.MakeDurable();
            host.PublishRoot(name, notes._index);
            return notes;
        }
    }

    /// <summary>Writes a note. It is durable after <see cref="MakeDurable"/>.</summary>
    public void Write(int number, ReadOnlySpan<byte> text)
    {
        int frame = TakeFrame();
        Span<byte> contents = _host.Frame(frame);
        contents.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(contents, text.Length);
        text.CopyTo(contents[HeadBytes..]);
        SHA256.HashData(contents.Slice(HeadBytes, text.Length), contents[4..]);

        for (int attempt = 0; ; attempt++)
        {
            BlockNumber old = BlockOf(number);
            if (!_host.TryFindFree(_near, 1, out BlockExtent fresh))
            {
                throw new IOException("The disk is full.");
            }

            _near = fresh.End;
            byte[] entry = new byte[EntryBytes];
            BinaryPrimitives.WriteUInt64LittleEndian(entry, fresh.First.Value);
            entry[8] = 1;
            XnTransaction change = new();
            change.Write(_index, number * EntryBytes, entry);
            change.ClaimAllocate(fresh, _note, _index, number, [new FrameNumber((uint)frame)]);
            if (old.Value != 0)
            {
                change.ClaimFree(new BlockExtent(old, 1), _note, _index, number);
            }

            XnStatus status = _host.Apply(change);
            if (status == XnStatus.Ok)
            {
                return;
            }

            // Somebody else was faster with the block: the next one.
            if (status != XnStatus.NotFree || attempt > 100)
            {
                throw new IOException($"The note was refused: {status} {change.LastRefusal}");
            }
        }
    }

    /// <summary>Reads a note; null: there is none. Without a call if it is in core.</summary>
    /// <exception cref="InvalidDataException">The note is damaged.</exception>
    public byte[]? Read(int number)
    {
        BlockNumber block = BlockOf(number);
        if (block.Value == 0)
        {
            return null;
        }

        if (!_host.TryReadCached(block, _block))
        {
            _host.Read(new XnReadRequest(_index, number, new BlockExtent(block, 1)));
            if (!_host.TryReadCached(block, _block))
            {
                _host.Fetch(block, _block);
            }
        }

        int length = BinaryPrimitives.ReadInt32LittleEndian(_block);
        if ((uint)length > 4096 - HeadBytes || !SHA256.HashData(_block.AsSpan(HeadBytes, length)).AsSpan().SequenceEqual(_block.AsSpan(4, 32)))
        {
            throw new InvalidDataException($"Note {number} is damaged.");
        }

        return _block[HeadBytes..(HeadBytes + length)];
    }

    /// <summary>
    /// Returns when all that was written before is durable: when the index is, for XN lets it go to the disk only after what it points to. Others write meanwhile, and may write our blocks; the registry tells.
    /// </summary>
    public void MakeDurable()
    {
        if (!_host.TryGetEntry(_index, out RegistryEntryInfo entry))
        {
            return;
        }

        BlockNumber[] plan = new BlockNumber[256];
        for (ulong wanted = entry.Version; entry.DurableVersion < wanted; _host.TryGetEntry(_index, out entry))
        {
            if (_host.TryCommit())
            {
                continue;
            }

            int count = _host.PlanWriteBack(plan);
            XnStatus status = _host.WriteBack(plan.AsSpan(0, count));
            if (status is not (XnStatus.Ok or XnStatus.Busy or XnStatus.Tainted or XnStatus.NotRegistered))
            {
                throw new IOException($"The write was refused: {status}");
            }

            _host.Flush();
        }
    }

    private BlockNumber BlockOf(int number)
    {
        byte[] index = new byte[4096];
        if (!_host.TryReadCached(_index, index))
        {
            _host.Fetch(_index, index);
        }

        ReadOnlySpan<byte> entry = index.AsSpan(number * EntryBytes, EntryBytes);
        return new BlockNumber(entry[8] != 0 ? BinaryPrimitives.ReadUInt64LittleEndian(entry) : 0);
    }

    /// <summary>A frame of its own; when XN has them all, what is clean goes out of core.</summary>
    private int TakeFrame()
    {
        for (int attempt = 0; attempt < 3; attempt++)
        {
            if (_host.TryTakeFrame(out int frame))
            {
                return frame;
            }

            MakeDurable();
            for (int number = 0; number < Count; number++)
            {
                if (BlockOf(number) is { Value: not 0 } block)
                {
                    _ = _host.Unbind(block);
                }
            }
        }

        throw new IOException("There are no frames.");
    }
}
