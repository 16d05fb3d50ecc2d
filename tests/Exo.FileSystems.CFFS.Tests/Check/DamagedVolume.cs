// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Layout;
using Exo.Simulation.Disks;
using Record = Exo.FileSystems.CFFS.Layout.Record;

namespace Exo.FileSystems.CFFS.Tests.Check;

/// <summary>A small, cleanly unmounted volume with one of everything on it, and the means to damage one thing: sectors that are changed on purpose get a good checksum.</summary>
internal sealed class DamagedVolume : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
    private readonly SimulatedBlockDevice _disk;
    private readonly FrameNumber[] _frame = new FrameNumber[1];
    private readonly ulong _seed;
    private readonly ulong _dataStart;

    public DamagedVolume()
    {
        _disk = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(1024));
        Assert.True(_frames.TryAllocate(_frames.RootCredential, out _frame[0]));
        using (CffsVolume volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 }))
        {
            volume.WriteAllBytes("tiny", new byte[] { 1, 2, 3 });
            volume.WriteAllBytes("file", new byte[9000]);
            volume.WriteAllBytes("other", new byte[9000]);
            volume.CreateDirectory("dir");
            volume.WriteAllBytes("dir/inside", new byte[100]);
            volume.CreateSymbolicLink("link", "file");
            volume.WriteAllBytes("two-names", new byte[5000]);
            volume.CreateHardLink("two-names", "second-name");
            volume.SetExtendedAttribute("file", "user.note", "kept"u8.ToArray());

            volume.CreateDirectory("packs");
            volume.WriteAllBytes("packs/one packed", Packed(1));
            volume.WriteAllBytes("packs/two packed", Packed(2));

            // Pieces far apart: an extent tree.
            using CffsFile sparse = volume.OpenFile("sparse", CffsOpenMode.Write | CffsOpenMode.Create);
            for (int i = 0; i < 5; i++)
            {
                sparse.Write(i * 100_000, [1]);
            }

            Root = volume.Disk.Roots[0].Block.Value;
            _dataStart = volume.Disk.DataStart.Value;
        }

        VolumeGuard guard = VolumeGuard.TryParse(_disk.Snapshot()[Root].Slice(Superblock.GuardSector * Sector.SizeBytes, Sector.SizeBytes))!;
        _seed = guard.ChecksumSeed;
        Assert.Empty(Check().Findings);
    }

    public delegate void SlotEdit(Span<byte> slot);

    public delegate void BlockEdit(Span<byte> block);

    /// <summary>Contents of the files in <c>packs</c>.</summary>
    public static byte[] Packed(byte number)
    {
        byte[] bytes = new byte[900];
        bytes.AsSpan().Fill(number);
        return bytes;
    }

    /// <summary>Changes the pack in the sector of a name.</summary>
    public void EditPack(string name, SlotEdit edit)
    {
        (ulong block, int slot) = Find(name);
        EditBlock(block, bytes =>
        {
            Span<byte> sector = bytes.Slice(slot / Slot.PerSector * Sector.SizeBytes, Sector.SizeBytes);
            Assert.True(Pack.TryFind(sector, out int pack, out _));
            edit(sector.Slice(pack * Slot.SizeBytes, Slot.SizeBytes));
            Seal(sector, block, slot / Slot.PerSector);
        });
    }

    /// <summary>The block of C-FFS's superblock.</summary>
    public ulong Root { get; }

    public SimulatedBlockDevice Disk => _disk;

    public CffsCheckReport Check() => Verified.Check(_disk);

    public CffsRepairReport Repair() => CffsRepair.Run(_disk);

    /// <summary>The volume mounts for writing, everything on it can be read, and it takes something new.</summary>
    public void AssertWhole()
    {
        using (CffsVolume volume = CffsVolume.Open(_disk))
        {
            ReadAll(volume, "");
            volume.WriteAllBytes("something new", new byte[20_000]);
            volume.CreateDirectory("a new directory");
        }

        Assert.Empty(Check().Findings);
    }

    /// <summary>A mount gives a volume or a typed error, and so does reading all of it.</summary>
    public void MountAndReadAll()
    {
        try
        {
            using CffsVolume volume = CffsVolume.Open(_disk, new CffsOpenOptions { ReadOnly = true });
            ReadAll(volume, "");
        }
        catch (CffsException)
        {
        }
    }

    /// <summary>Changes the record of a name (empty: the first record in the external inode table) and seals its sector.</summary>
    public void EditRecord(string name, SlotEdit edit)
    {
        (ulong block, int slot) = Find(name);
        EditBlock(block, bytes =>
        {
            Span<byte> sector = bytes.Slice(slot / Slot.PerSector * Sector.SizeBytes, Sector.SizeBytes);
            edit(sector.Slice(slot % Slot.PerSector * Slot.SizeBytes, Slot.SizeBytes));
            Seal(sector, block, slot / Slot.PerSector);
        });
    }

    /// <summary>A record's slot, as it is.</summary>
    public byte[] ReadRecord(string name)
    {
        (ulong block, int slot) = Find(name);
        return _disk.Snapshot()[block].Slice((slot / Slot.PerSector * Sector.SizeBytes) + (slot % Slot.PerSector * Slot.SizeBytes), Slot.SizeBytes).ToArray();
    }

    public void EditBlock(ulong block, BlockEdit edit)
    {
        BlockRequest[] request = [BlockRequest.Read(new BlockNumber(block), _frame)];
        _disk.Execute(request);
        edit(_frames.Bytes(_frame[0]));
        request = [BlockRequest.Write(new BlockNumber(block), _frame)];
        _disk.Execute(request);
    }

    public void Seal(Span<byte> sector, ulong block, int index) => Sector.Seal(
        sector, _seed, (block * Sector.PerBlock) + (uint)index,
        (SectorKind)BinaryPrimitives.ReadUInt32LittleEndian(sector[Sector.Magic..]), BinaryPrimitives.ReadUInt64LittleEndian(sector[Sector.Owner..]));

    public (ulong Block, int Slot) Find(string name)
    {
        DiskContents contents = _disk.Snapshot();
        byte[] wanted = System.Text.Encoding.UTF8.GetBytes(name);
        for (ulong block = _dataStart; block < (ulong)contents.BlockCount; block++)
        {
            for (int slot = 0; slot < Slot.PerBlock; slot++)
            {
                ReadOnlySpan<byte> sector = contents[block].Slice(slot / Slot.PerSector * Sector.SizeBytes, Sector.SizeBytes);
                if (BinaryPrimitives.ReadUInt32LittleEndian(sector[Sector.Magic..]) == (uint)SectorKind.Slots && block != Root
                    && Record.TryParse(sector, slot % Slot.PerSector, out Record record) && record.NameLength == wanted.Length
                    && Record.NameEquals(sector, slot % Slot.PerSector, wanted))
                {
                    return (block, slot);
                }
            }
        }

        throw new InvalidOperationException($"no record '{name}'");
    }

    /// <summary>Whatever was found damaged, no frame is kept for it.</summary>
    public void Dispose()
    {
        _frames.Release(_frame[0]);
        _disk.Dispose();
        int lost = _frames.FrameCount - _frames.FreeCount;
        _frames.Dispose();
        Assert.Equal(0, lost);
    }

    private static void ReadAll(CffsVolume volume, string path)
    {
        foreach (CffsDirectoryEntry entry in volume.ReadDirectory(path))
        {
            string child = $"{path}/{entry.NameString}";
            if (entry.Kind == CffsKind.Directory)
            {
                ReadAll(volume, child);
            }
            else if (entry.Kind == CffsKind.File && volume.Stat(child).Size < 1 << 30)
            {
                volume.ReadAllBytes(child);
            }
        }
    }
}
