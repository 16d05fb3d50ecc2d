// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Exo.Core.Blocks;

namespace Exo.Core.Tests.Blocks;

/// <summary>Writes partition tables into the bytes of a disk.</summary>
internal sealed class DividedImage(int lengthBytes, int sectorBytes = 512)
{
    public const string LinuxType = "0fc63daf-8483-4772-8e79-3d69d8477de4";

    private const int Entries = 128;
    private const int EntryBytes = 128;

    public byte[] Bytes { get; } = new byte[lengthBytes];

    public int SectorBytes => sectorBytes;

    public int SectorCount => lengthBytes / sectorBytes;

    private int ArraySectors => Entries * EntryBytes / sectorBytes;

    /// <summary>First sector, sectors, name: entry by entry. Sector 0 as first leaves the entry empty.</summary>
    public DividedImage Gpt(params (ulong First, ulong Count, string Name)[] partitions)
    {
        Record((0, 0xEE, 1, (uint)SectorCount - 1));
        byte[] array = new byte[Entries * EntryBytes];
        for (int i = 0; i < partitions.Length; i++)
        {
            (ulong first, ulong count, string name) = partitions[i];
            if (first == 0)
            {
                continue;
            }

            Span<byte> entry = array.AsSpan(i * EntryBytes, EntryBytes);
            Guid.Parse(LinuxType).TryWriteBytes(entry);
            Id(i).TryWriteBytes(entry[16..]);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[32..], first);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[40..], first + count - 1);
            Encoding.Unicode.GetBytes(name, entry[56..]);
        }

        array.CopyTo(Bytes.AsSpan(2 * sectorBytes));
        array.CopyTo(Bytes.AsSpan((SectorCount - 1 - ArraySectors) * sectorBytes));
        Header(1, SectorCount - 1, 2);
        Header(SectorCount - 1, 1, SectorCount - 1 - ArraySectors);
        return this;
    }

    public static Guid Id(int index) => new(index + 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);

    /// <summary>Writes sums that fit what is there.</summary>
    public void Sign(int headerSector)
    {
        Span<byte> header = Bytes.AsSpan(headerSector * sectorBytes, sectorBytes);
        ulong arrayAt = BinaryPrimitives.ReadUInt64LittleEndian(header[72..]);
        ulong arrayBytes = (ulong)BinaryPrimitives.ReadUInt32LittleEndian(header[80..]) * BinaryPrimitives.ReadUInt32LittleEndian(header[84..]);
        if (arrayAt < (ulong)SectorCount && arrayBytes <= (ulong)Bytes.Length - (arrayAt * (ulong)sectorBytes))
        {
            uint sum = GptReader.Crc32(Bytes.AsSpan((int)arrayAt * sectorBytes, (int)arrayBytes));
            BinaryPrimitives.WriteUInt32LittleEndian(header[88..], sum);
        }

        int headerBytes = Math.Clamp(BinaryPrimitives.ReadInt32LittleEndian(header[12..]), 92, sectorBytes);
        header.Slice(16, 4).Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(header[16..], GptReader.Crc32(header[..headerBytes]));
    }

    /// <summary>A master or extended boot record.</summary>
    public DividedImage Record(params (int AtSector, byte Type, uint First, uint Count)[] entries)
    {
        foreach (IGrouping<int, (int AtSector, byte Type, uint First, uint Count)> record in entries.GroupBy(entry => entry.AtSector))
        {
            Span<byte> sector = Bytes.AsSpan(record.Key * sectorBytes, 512);
            (sector[510], sector[511]) = (0x55, 0xAA);
            int i = 0;
            foreach ((_, byte type, uint first, uint count) in record)
            {
                Span<byte> entry = sector.Slice(446 + (i++ * 16), 16);
                entry[4] = type;
                BinaryPrimitives.WriteUInt32LittleEndian(entry[8..], first);
                BinaryPrimitives.WriteUInt32LittleEndian(entry[12..], count);
            }
        }

        return this;
    }

    public PartitionTable? Read(int knownSectorBytes = 0)
    {
        using var source = new Source(Bytes, knownSectorBytes);
        return PartitionTable.Read(source, "image");
    }

    private void Header(int at, int other, int array)
    {
        Span<byte> header = Bytes.AsSpan(at * sectorBytes, sectorBytes);
        "EFI PART"u8.CopyTo(header);
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], 0x10000);
        BinaryPrimitives.WriteUInt32LittleEndian(header[12..], 92);
        BinaryPrimitives.WriteUInt64LittleEndian(header[24..], (ulong)at);
        BinaryPrimitives.WriteUInt64LittleEndian(header[32..], (ulong)other);
        BinaryPrimitives.WriteUInt64LittleEndian(header[40..], (ulong)(2 + ArraySectors));
        BinaryPrimitives.WriteUInt64LittleEndian(header[48..], (ulong)(SectorCount - 2 - ArraySectors));
        BinaryPrimitives.WriteUInt64LittleEndian(header[72..], (ulong)array);
        BinaryPrimitives.WriteUInt32LittleEndian(header[80..], Entries);
        BinaryPrimitives.WriteUInt32LittleEndian(header[84..], EntryBytes);
        Sign(at);
    }

    private sealed class Source(byte[] bytes, int sectorBytes) : TableSource
    {
        public override long LengthBytes => bytes.Length;

        public override int SectorBytes => sectorBytes;

        public override void Dispose()
        {
        }

        protected override bool TryReadPage(long offsetBytes, out ReadOnlySpan<byte> page)
        {
            page = bytes.AsSpan((int)offsetBytes, Math.Min(4096, bytes.Length - (int)offsetBytes));
            return true;
        }
    }
}
