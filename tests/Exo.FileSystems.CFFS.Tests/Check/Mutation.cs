// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Layout;
using Exo.Simulation.Disks;
using Record = Exo.FileSystems.CFFS.Layout.Record;

namespace Exo.FileSystems.CFFS.Tests.Check;

/// <summary>Damage to a <see cref="FuzzVolume"/>: at random, or by one who knows the format and puts the checksums right.</summary>
internal sealed class Mutation(FuzzVolume volume, SimulatedBlockDevice disk, FramePool frames, Random random)
{
    private static readonly ulong[] s_extremes = [0, 1, 5, 16, 255, 4095, 4096, uint.MaxValue, 1UL << 40, 1UL << 62, long.MaxValue, ulong.MaxValue];

    /// <summary>Sectors that were changed.</summary>
    public HashSet<ulong> Sectors { get; } = [];

    /// <summary>Blocks that were overwritten, or that a changed sector points to now.</summary>
    public HashSet<ulong> Blocks { get; } = [];

    /// <summary>Inode numbers and names that stand in changed sectors: who had them may have to yield.</summary>
    public HashSet<ulong> Inodes { get; } = [];

    /// <inheritdoc cref="Inodes"/>
    public HashSet<string> Names { get; } = [];

    /// <summary>What was done, for the failure's message.</summary>
    public List<string> Log { get; } = [];

    private delegate void Edit(Span<byte> sector);

    public void Apply()
    {
        ulong sector = Any();
        ulong other = Any();
        int choice = random.Next(11);
        Log.Add($"{choice}: sector {sector} (block {sector / 8}), {other}");
        switch (choice)
        {
            case 0:
                Change(sector, isSealed: false, bytes => bytes[random.Next(Sector.SizeBytes)] ^= (byte)(1 << random.Next(8)));
                break;
            case 1 or 2:
                Change(sector, isSealed: true, bytes => bytes[random.Next(Sector.PayloadBytes)] ^= (byte)random.Next(1, 256));
                break;
            case 3:
                byte[] here = Read(sector);
                byte[] there = Read(other);
                Change(sector, isSealed: false, bytes => there.CopyTo(bytes));
                Change(other, isSealed: false, bytes => here.CopyTo(bytes));
                break;
            case 4 when sector / Sector.PerBlock != volume.Root:
                for (ulong s = 0; s < Sector.PerBlock; s++)
                {
                    Change((sector / Sector.PerBlock * Sector.PerBlock) + s, isSealed: false, bytes => bytes.Clear());
                }

                break;
            case 5:
                CopyPointer();
                break;
            case 6:
                byte[] from = Read(other);
                Change(sector, isSealed: true, bytes => from.AsSpan(0, Sector.PayloadBytes).CopyTo(bytes));
                break;
            case 7:
                DamageXn();
                break;
            case 8 when sector / Sector.PerBlock != volume.Root:
                Overwrite(sector / Sector.PerBlock);
                break;
            default:
                SetField();
                break;
        }
    }

    private ulong Any() => random.Next(12) == 0
        ? (volume.Root * Sector.PerBlock) + (ulong)random.Next(3)
        : volume.Sectors[random.Next(volume.Sectors.Count)];

    private void CopyPointer()
    {
        (ulong Sector, int Slot) a = volume.Records[random.Next(volume.Records.Count)];
        (ulong Sector, int Slot) b = volume.Records[random.Next(volume.Records.Count)];
        byte[] from = Read(a.Sector);
        int length = random.Next(3) == 0 ? 32 : 16;
        Change(b.Sector, isSealed: true, bytes => from.AsSpan((a.Slot * Slot.SizeBytes) + Slot.Count, length).CopyTo(bytes[((b.Slot * Slot.SizeBytes) + Slot.Count)..]));
    }

    private void SetField()
    {
        (ulong sector, int slot) = volume.Records[random.Next(volume.Records.Count)];
        LayoutField field = Slot.Fields[random.Next(Slot.Fields.Length - 1)];
        Log.Add($"field {field} in slot {slot} of sector {sector} (block {sector / 8})");
        byte[] value = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(value, random.Next(2) == 0 ? (ulong)random.Next(2100) : s_extremes[random.Next(s_extremes.Length)]);
        Change(sector, isSealed: true, bytes => value.AsSpan(0, field.SizeBytes).CopyTo(bytes[((slot * Slot.SizeBytes) + field.OffsetBytes)..]));
    }

    /// <summary>One copy of something, or the free map.</summary>
    private void DamageXn()
    {
        ulong block = random.Next(4) switch { 0 => 0UL, 1 => 2UL + (ulong)random.Next(128), 2 => 130UL + (ulong)random.Next(2), _ => 132UL };
        Log.Add($"XN block {block}");
        EditBlock(block, bytes => bytes[random.Next(400)] ^= (byte)random.Next(1, 256));
    }

    private void Overwrite(ulong block)
    {
        EditBlock(block, random.NextBytes);
        for (ulong s = 0; s < Sector.PerBlock; s++)
        {
            Sectors.Add((block * Sector.PerBlock) + s);
        }
    }

    private byte[] Read(ulong sector) => disk.Snapshot()[sector / Sector.PerBlock].Slice((int)(sector % Sector.PerBlock) * Sector.SizeBytes, Sector.SizeBytes).ToArray();

    private void Change(ulong sector, bool isSealed, Edit edit)
    {
        Sectors.Add(sector);
        int at = (int)(sector % Sector.PerBlock) * Sector.SizeBytes;
        EditBlock(sector / Sector.PerBlock, block =>
        {
            Span<byte> bytes = block.Slice(at, Sector.SizeBytes);
            byte[] version = bytes[VolumeState.VersionOffset..VolumeState.GenerationOffset].ToArray();
            edit(bytes);
            if (isSealed && sector / Sector.PerBlock == volume.Root && sector % Sector.PerBlock < 2)
            {
                // A volume of another version is not damaged; it is refused.
                version.CopyTo(bytes[VolumeState.VersionOffset..]);
            }

            SectorKind kind = (SectorKind)BinaryPrimitives.ReadUInt32LittleEndian(bytes[Sector.Magic..]);
            if (isSealed && kind is SectorKind.Slots or SectorKind.Tree or SectorKind.State)
            {
                Sector.Seal(bytes, volume.Seed, sector, kind, BinaryPrimitives.ReadUInt64LittleEndian(bytes[Sector.Owner..]));
            }

            Point(bytes, kind);
        });
    }

    /// <summary>What a changed sector leads to is touched: it may be taken from others.</summary>
    private void Point(ReadOnlySpan<byte> sector, SectorKind kind)
    {
        for (int i = 0; kind == SectorKind.Slots && i < Slot.PerSector; i++)
        {
            if (Record.TryParse(sector, i, out Record record))
            {
                byte[] name = new byte[record.NameLength];
                Record.ReadContents(sector, i, 0, name);
                Names.Add(System.Text.Encoding.UTF8.GetString(name));
                Inodes.Add(record.Inode);
                Touch(record.Start, record.Count);
                Touch(record.Attributes, 1);
            }
        }

        for (int i = 0; kind == SectorKind.Tree && i < TreeNode.EntriesPerSector; i++)
        {
            TreeEntry entry = TreeEntry.Read(sector[(i * TreeEntry.SizeBytes)..]);
            Touch(entry.Start, entry.Count);
        }
    }

    private void Touch(ulong start, ulong count)
    {
        for (ulong block = start; block < 2048 && block - start < count; block++)
        {
            Blocks.Add(block);
        }
    }

    private void EditBlock(ulong block, Edit edit)
    {
        FrameNumber[] frame = new FrameNumber[1];
        Assert.True(frames.TryAllocate(frames.RootCredential, out frame[0]));
        BlockRequest[] request = [BlockRequest.Read(new BlockNumber(block), frame)];
        disk.Execute(request);
        edit(frames.Bytes(frame[0]));
        request = [BlockRequest.Write(new BlockNumber(block), frame)];
        disk.Execute(request);
        frames.Release(frame[0]);
    }
}
