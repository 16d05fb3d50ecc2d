// SPDX-License-Identifier: MIT
using System.Numerics;
using System.Security.Cryptography;
using System.Text;

namespace Exo.FileSystems.CFFS.Verification;

/// <summary>A root of the root catalogue.</summary>
internal readonly record struct XnRoot(byte[] Name, uint Template, ulong Block);

/// <summary>A template of the type catalogue.</summary>
internal sealed record XnTemplate(string Name, bool IsCounted, uint[] Children);

/// <summary>XN's part of a disk (docs/xn-format.md), and the blocks of the disk as they are when the commit log has been carried out.</summary>
internal sealed class XnImage
{
    private const int SuperblockBytes = 512;
    private const ulong FreeMapBitsPerBlock = 32_512;
    private const int OwnersEntriesMax = 254;
    private const int RootsMax = 31;
    private const ulong LogBlocksMin = 16;
    private const ulong LogBlocksMax = 16_384;

    private readonly BlockReader _disk;
    private readonly Faults _faults;
    private readonly Dictionary<ulong, byte[]> _replayed = [];
    private readonly List<XnTemplate?> _templates = [];

    private readonly byte[] _volumeId;
    private readonly ulong _generation;
    private readonly ulong _epoch;
    private readonly ulong _templateStart;
    private readonly ulong _templateSlots;
    private readonly ulong _rootsStart;
    private readonly ulong _freeMapStart;
    private readonly ulong _freeMapBlocks;
    private readonly ulong _ownersStart;
    private readonly ulong _logStart;
    private readonly ulong _logBlocks;
    private readonly ulong _logEpoch;

    private XnImage(BlockReader disk, Faults faults, ReadOnlySpan<byte> superblock)
    {
        _disk = disk;
        _faults = faults;
        _volumeId = superblock.Slice(16, 16).ToArray();
        _generation = superblock.U64(32);
        BlockCount = superblock.U64(40);
        _epoch = superblock.U64(48);
        IsClean = superblock.U32(56) != 0;
        _templateStart = superblock.U64(64);
        _templateSlots = superblock.U64(72);
        _rootsStart = superblock.U64(80);
        _freeMapStart = superblock.U64(88);
        _freeMapBlocks = superblock.U64(96);
        DataStart = superblock.U64(104);
        _ownersStart = superblock.U64(176);
        _logStart = superblock.U64(184);
        _logBlocks = superblock.U64(192);
        _logEpoch = superblock.U64(200);
    }

    public ulong BlockCount { get; }

    public ulong DataStart { get; }

    public bool IsClean { get; }

    public List<XnRoot> Roots { get; } = [];

    /// <summary>A block, after the replay.</summary>
    public ReadOnlySpan<byte> Block(ulong number) => _replayed.TryGetValue(number, out byte[]? bytes) ? bytes : _disk(number);

    /// <summary>A template by its number; null when there is none.</summary>
    public XnTemplate? TemplateOf(uint number) => number >= 1 && number <= (uint)_templates.Count ? _templates[(int)number - 1] : null;

    public static XnImage? TryLoad(BlockReader disk, ulong blocksOfDisk, Faults faults)
    {
        XnImage? newest = null;
        for (ulong copy = 0; copy < 2 && copy < blocksOfDisk; copy++)
        {
            ReadOnlySpan<byte> bytes = disk(copy)[..SuperblockBytes];
            if (!faults.Expect(
                bytes.Slice(8, 8).SequenceEqual("EXO-XN01"u8) && bytes.U32(4) == 1 && bytes.U32(60) <= 64 && IsChecked(bytes, copy), $"XN's superblock, copy {copy}: damaged"))
            {
                continue;
            }

            XnImage image = new(disk, faults, bytes);
            if (faults.Expect(image.HasSoundRegions() && image.BlockCount <= blocksOfDisk, $"XN's superblock, copy {copy}: regions that cannot be") && (newest is null || image._generation > newest._generation))
            {
                newest = image;
            }
        }

        newest?.Replay();
        newest?.LoadTemplates();
        newest?.LoadRoots();
        return newest;
    }

    /// <summary>Whether a template that a root's owns, at any distance, has a name and is counted.</summary>
    public bool IsCounted(uint template, string name)
    {
        HashSet<uint> seen = [template];
        Queue<uint> open = new(seen);
        while (open.TryDequeue(out uint number))
        {
            if (TemplateOf(number) is not { } found)
            {
                continue;
            }

            if (found.Name == name)
            {
                return found.IsCounted;
            }

            foreach (uint child in found.Children.Where(seen.Add))
            {
                open.Enqueue(child);
            }
        }

        return false;
    }

    /// <summary>On a clean volume a block is free if and only if nobody owns it.</summary>
    public void VerifyFreeMap(BlockOwners owners)
    {
        for (ulong index = 0; IsClean && index * FreeMapBitsPerBlock < BlockCount; index++)
        {
            ulong number = _freeMapStart + index;
            ReadOnlySpan<byte> block = _disk(number);
            if (!_faults.Expect(IsChecked(block, number) && block.U32(4) == 0x45455246 && block.U64(8) == _epoch && block.U64(16) == index, $"free map, block {index}: damaged"))
            {
                continue;
            }

            for (ulong bit = 0; bit < FreeMapBitsPerBlock && (index * FreeMapBitsPerBlock) + bit < BlockCount; bit++)
            {
                ulong at = (index * FreeMapBitsPerBlock) + bit;
                bool isFree = (block[32 + (int)(bit / 8)] >> (int)(bit % 8) & 1) != 0;
                _faults.Expect(isFree == (owners.PointersTo(at) == 0), isFree ? $"block {at} is owned, and free in the map" : $"block {at} is nobody's, and not free in the map");
            }
        }
    }

    /// <summary>On a clean volume the list of blocks with more than one owner is what the pointers say, and lies in free blocks.</summary>
    public void VerifyOwnerCounts(BlockOwners owners)
    {
        if (!IsClean)
        {
            return;
        }

        Dictionary<ulong, int> stated = [];
        HashSet<ulong> chain = [];
        for (ulong at = _ownersStart; at != 0;)
        {
            if (!_faults.Expect(at >= DataStart && at < BlockCount && chain.Add(at), $"owner counts: a chain that leads to block {at}"))
            {
                return;
            }

            ReadOnlySpan<byte> block = _disk(at);
            if (!_faults.Expect(IsChecked(block, at) && block.U32(4) == 0x524E574F && block.U64(8) == _epoch && block.U32(24) <= OwnersEntriesMax, $"owner counts, block {at}: damaged"))
            {
                return;
            }

            _faults.Expect(owners.PointersTo(at) == 0, $"owner counts lie in block {at}, which is somebody's");
            for (int i = 0; i < (int)block.U32(24); i++)
            {
                ulong counted = block.U64(32 + (i * 16));
                uint count = block.U32(40 + (i * 16));
                _faults.Expect(counted < BlockCount && count is >= 2 and < int.MaxValue && stated.TryAdd(counted, (int)count), $"owner counts: {count} for block {counted}");
            }

            at = block.U64(16);
        }

        for (ulong at = DataStart; at < BlockCount; at++)
        {
            int found = owners.PointersTo(at);
            _faults.Expect((found > 1 ? found : 0) == stated.GetValueOrDefault(at), $"block {at} has {found} owners, and {stated.GetValueOrDefault(at)} are listed");
        }
    }

    /// <summary>CRC32C over the number of the block and what is behind the checksum.</summary>
    private static bool IsChecked(ReadOnlySpan<byte> bytes, ulong number) => bytes.U32(0) == FormatReader.Crc32C([number], bytes[4..]);

    private bool HasSoundRegions()
    {
        bool hasLog = _logBlocks != 0;
        return _templateStart == 2 && _templateSlots == 64 && _rootsStart == 130 && _freeMapStart == 132 && _freeMapBlocks is > 0 and < 1UL << 40
            && (UInt128)_freeMapBlocks * FreeMapBitsPerBlock >= BlockCount && hasLog == (_logStart != 0) && (!hasLog || _logBlocks is >= LogBlocksMin and <= LogBlocksMax)
            && (!hasLog || _logStart == _freeMapStart + _freeMapBlocks) && DataStart == _freeMapStart + _freeMapBlocks + _logBlocks && DataStart < BlockCount;
    }

    private void Replay()
    {
        if (IsClean || _logBlocks == 0)
        {
            return;
        }

        ulong? sequence = null;
        for (ulong at = 0; at < _logBlocks;)
        {
            ulong first = _logStart + at;
            ReadOnlySpan<byte> header = _disk(first);
            uint length = header.U32(48);
            uint entries = header.U32(12);
            if (header.U32(8) != 0x474F4C58 || !header.Slice(16, 16).SequenceEqual(_volumeId) || header.U64(32) != _logEpoch || (sequence is { } expected && header.U64(40) != expected)
                || length == 0 || length > _logBlocks - at || 64 + ((ulong)entries * 16) > (ulong)length * FormatReader.BlockBytes)
            {
                return;
            }

            byte[] bytes = new byte[length * FormatReader.BlockBytes];
            for (uint i = 0; i < length; i++)
            {
                _disk(first + i).CopyTo(bytes.AsSpan((int)i * FormatReader.BlockBytes));
            }

            if (Sum(first, bytes) != header.U64(0))
            {
                return;
            }

            Carry(bytes, (int)entries);
            sequence = header.U64(40) + 1;
            at += length;
        }
    }

    private void Carry(ReadOnlySpan<byte> transaction, int entries)
    {
        int image = (64 + (entries * 16) + FormatReader.SectorBytes - 1) / FormatReader.SectorBytes * FormatReader.SectorBytes;
        for (int i = 0; i < entries; i++)
        {
            ReadOnlySpan<byte> entry = transaction.Slice(64 + (i * 16), 16);
            ulong block = entry.U64(0);
            bool isOurs = block >= DataStart && block < BlockCount;
            for (int sector = 0; sector < FormatReader.SectorsPerBlock; sector++)
            {
                bool hasImage = (entry[8] >> sector & 1) != 0;
                bool isZero = (entry[9] >> sector & 1) != 0;
                if (hasImage && image + FormatReader.SectorBytes > transaction.Length)
                {
                    return;
                }

                if (isOurs && (hasImage || isZero))
                {
                    if (!_replayed.TryGetValue(block, out byte[]? bytes))
                    {
                        _replayed.Add(block, bytes = _disk(block).ToArray());
                    }

                    Span<byte> into = bytes.AsSpan(sector * FormatReader.SectorBytes, FormatReader.SectorBytes);
                    into.Clear();
                    if (hasImage)
                    {
                        transaction.Slice(image, FormatReader.SectorBytes).CopyTo(into);
                    }
                }

                image += hasImage ? FormatReader.SectorBytes : 0;
            }
        }
    }

    private static ulong Sum(ulong first, ReadOnlySpan<byte> transaction)
    {
        ulong sum = Mix(0, first, transaction.U64(8));
        for (int at = 16; at < transaction.Length; at += 16)
        {
            sum = Mix(sum, transaction.U64(at), transaction.U64(at + 8));
        }

        return sum;

        static ulong Mix(ulong s, ulong a, ulong b)
        {
            UInt128 product = (UInt128)(a ^ s ^ 0xA0761D6478BD642F) * (b ^ BitOperations.RotateLeft(s, 29) ^ 0xE7037ED1A0B428DB);
            return (ulong)(product >> 64) ^ (ulong)product ^ BitOperations.RotateLeft(s, 17);
        }
    }

    private void LoadTemplates()
    {
        for (ulong slot = 0; slot < _templateSlots; slot++)
        {
            XnTemplate? found = null;
            byte[]? first = null;
            bool isUsed = false;
            for (ulong copy = 0; copy < 2; copy++)
            {
                ulong number = _templateStart + (copy * _templateSlots) + slot;
                ReadOnlySpan<byte> block = _disk(number);
                if (block.IsZero())
                {
                    continue;
                }

                isUsed = true;
                if (!_faults.Expect(IsTemplate(block, number, slot), $"type catalogue, template {slot + 1}, copy {copy}: damaged"))
                {
                    continue;
                }

                // The checksums differ, because the places do.
                _faults.Expect(first is null || block[4..].SequenceEqual(first), $"type catalogue, template {slot + 1}: two copies that differ");
                first = block[4..].ToArray();
                uint[] children = new uint[block.U16(24)];
                for (int i = 0; i < children.Length; i++)
                {
                    children[i] = block.U32(128 + (block.U16(22) * 6) + (i * 4));
                }

                found = new XnTemplate(Encoding.UTF8.GetString(block.Slice(64, block.U16(20))), (block.U32(12) & 2) != 0, children);
            }

            _faults.Expect(found is not null || !isUsed, $"type catalogue, template {slot + 1}: no copy is whole");
            _templates.Add(found);
        }
    }

    private static bool IsTemplate(ReadOnlySpan<byte> block, ulong number, ulong slot)
    {
        byte[] hashed = block[12..].ToArray();
        hashed.AsSpan(20, 32).Clear();
        int length = 128 + (block.U16(22) * 6) + (block.U16(24) * 4) + block.U16(26) + block.U16(28) + block.U16(30);
        return IsChecked(block, number) && block.U32(4) == 0x504D4554 && block.U32(8) == slot + 1 && block.U16(20) is >= 1 and <= 63 && length <= FormatReader.BlockBytes
            && SHA256.HashData(hashed).AsSpan().SequenceEqual(block.Slice(32, 32));
    }

    private void LoadRoots()
    {
        ulong newest = 0;
        for (ulong copy = 0; copy < 2; copy++)
        {
            ReadOnlySpan<byte> block = _disk(_rootsStart + copy);
            if (!_faults.Expect(IsChecked(block, _rootsStart + copy) && block.U32(4) == 0x544F4F52 && block.U32(16) <= RootsMax, $"root catalogue, copy {copy}: damaged") || block.U64(8) < newest)
            {
                continue;
            }

            newest = block.U64(8);
            Roots.Clear();
            HashSet<string> names = [];
            for (int i = 0; i < (int)block.U32(16); i++)
            {
                ReadOnlySpan<byte> entry = block.Slice(128 + (i * 128), 128);
                uint length = entry.U32(0);
                if (_faults.Expect(length is >= 1 and <= 64 && TemplateOf(entry.U32(4)) is not null && entry.U64(8) >= DataStart && entry.U64(8) < BlockCount, $"root catalogue, copy {copy}: root {i} cannot be"))
                {
                    Roots.Add(new XnRoot(entry.Slice(16, (int)length).ToArray(), entry.U32(4), entry.U64(8)));
                    _faults.Expect(names.Add(Convert.ToHexString(Roots[^1].Name)), $"root catalogue, copy {copy}: root {i} has a name that another has");
                }
            }
        }

        _faults.Expect(Roots.Count > 0, "root catalogue: no root");
    }
}
