// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Volume;

/// <summary>Makes an empty file system on an XN disk: a root block, an intent log, durable before the root is published.</summary>
internal static class Formatter
{
    public static void Format(XnVolume disk, string rootName, CffsCreateOptions options)
    {
        Credential key = disk.Frames.RootCredential;
        CffsTemplateIds templates = CffsTemplateIds.Install(disk, key);
        byte[] label = Encoding.UTF8.GetBytes(options.Label);
        if (label.Length > VolumeGuard.LabelBytesMax)
        {
            throw new CffsException(CffsError.Invalid, $"a label has at most {VolumeGuard.LabelBytesMax} bytes");
        }

        byte[] random = new byte[32];
        if (options.Seed is { } seed)
        {
            BinaryPrimitives.WriteInt32LittleEndian(random, seed);
            SHA256.HashData(random.AsSpan(0, 4), random);
        }
        else
        {
            RandomNumberGenerator.Fill(random);
        }

        long now = (options.Open.Time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks * 100;
        VolumeGuard guard = new()
        {
            VolumeId = new Guid(random.AsSpan(0, 16)),
            ChecksumSeed = BinaryPrimitives.ReadUInt64LittleEndian(random.AsSpan(16)),
            HashSeed = BinaryPrimitives.ReadUInt64LittleEndian(random.AsSpan(24)),
            CreationTime = now,
            GuardName = [],
            Label = label,
        };

        // The guard sector must be there from the first moment: it holds what acl compares. Its checksum needs the block's number, so the place is chosen first.
        ulong place = FirstFree(disk);
        byte[] contents = new byte[4096];
        Span<byte> guardSector = contents.AsSpan(Superblock.GuardSector * Sector.SizeBytes, Sector.SizeBytes);
        guard.Emit(guardSector);
        Sector.Seal(guardSector, guard.ChecksumSeed, (place * Sector.PerBlock) + Superblock.GuardSector, SectorKind.Guard, 0);
        VolumeState state = new() { Version = VolumeState.CurrentVersion, Generation = 1, InodeLimit = Superblock.FirstInode, Clean = 1, LastWriteTime = now };
        Span<byte> stateSector = contents.AsSpan(Sector.SizeBytes, Sector.SizeBytes);
        state.Emit(stateSector);
        Sector.Seal(stateSector, guard.ChecksumSeed, (place * Sector.PerBlock) + 1, SectorKind.State, 0);
        BlockNumber root = disk.CreateRoot(key, templates.Super, new BlockNumber(place), contents);
        Invariant.Check(root.Value == place);

        BlockExtent log = FindRun(disk, place + 1, Intent.LogBlocks);
        byte[] records = new byte[Sector.SizeBytes];
        Emit(records, Superblock.RootSlot, SlotKind.Directory, Superblock.RootInode, "/", (ushort)(ModeBits.Directory | (options.RootPermissions & ModeBits.PermissionMask)), options, now, default);
        Emit(records, Superblock.OrphanSlot, SlotKind.Directory, Superblock.OrphanInode, "orphans", ModeBits.Directory, options, now, default);
        Emit(records, Superblock.ExternalSlot, SlotKind.Directory, Superblock.ExternalInode, "externals", ModeBits.Directory, options, now, default);
        Emit(records, Superblock.LogSlot, SlotKind.Log, Superblock.LogInode, "log", ModeBits.File, options, now, log);
        Sector.Seal(records, guard.ChecksumSeed, (place * Sector.PerBlock) + Superblock.RecordSector, SectorKind.Slots, 0);

        FrameNumber[] frames = new FrameNumber[Intent.LogBlocks];
        for (int i = 0; i < frames.Length; i++)
        {
            if (!disk.Frames.TryAllocate(key, out frames[i], zero: true))
            {
                throw new CffsException(CffsError.Busy, "the frame pool is exhausted");
            }
        }

        XnTransaction transaction = new();
        transaction.Write(root, Superblock.RecordSector * Sector.SizeBytes, records);
        transaction.ClaimAllocate(log, templates.Log, root, Superblock.LogSlot, frames);
        Require(disk.Apply(key, transaction), transaction);
        BlockNumber[] plan = new BlockNumber[64];
        while (disk.DirtyBlocks > 0)
        {
            int count = disk.PlanWriteBack(plan);
            Require(disk.WriteBack(key, plan.AsSpan(0, count)), transaction);
            disk.Flush();
        }

        disk.PublishRoot(key, rootName, root);
    }

    private static void Emit(
        Span<byte> sector, int slot, SlotKind kind, ulong inode, string name, ushort mode, CffsCreateOptions options, long now, BlockExtent extent)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(name);
        Record record = new()
        {
            Kind = kind,
            Slots = 1,
            NameLength = (byte)bytes.Length,
            Start = extent.First.Value,
            Count = extent.Count,
            Inode = inode,
            Mode = mode,
            Links = kind == SlotKind.Directory ? 0u : 1u,
            User = options.RootUser,
            Group = options.RootGroup,
            Size = extent.Count * 4096UL,
            AccessTime = now,
            ModifyTime = now,
            ChangeTime = now,
            BirthTime = now,
        };
        record.Emit(sector, slot);
        Record.WriteContents(sector, slot, 0, bytes);
    }

    private static ulong FirstFree(XnVolume disk) => FindRun(disk, disk.DataStart.Value, 1).First.Value;

    private static BlockExtent FindRun(XnVolume disk, ulong from, uint count)
    {
        uint run = 0;
        for (ulong block = from; block < disk.BlockCount; block++)
        {
            run = (disk.FreeMap[(int)(block >> 6)] >> (int)(block & 63) & 1) != 0 ? run + 1 : 0;
            if (run == count)
            {
                return new BlockExtent(new BlockNumber(block + 1 - count), count);
            }
        }

        throw new CffsException(CffsError.NoSpace, "the disk is full");
    }

    private static void Require(XnStatus status, XnTransaction transaction)
    {
        if (status != XnStatus.Ok)
        {
            throw new CffsException(CffsError.Corrupt, $"XN refused the new file system ({status}): {transaction.LastRefusal}");
        }
    }
}
