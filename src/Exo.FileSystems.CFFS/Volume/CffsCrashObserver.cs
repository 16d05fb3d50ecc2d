// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS;

/// <summary>
/// Watches XN's recovery for the C-FFS file systems on a disk that others share. Attach the disk with one of these, and hand it to <see cref="CffsVolume.Open(XnVolume, string, CffsOpenOptions?, CffsCrashObserver?)"/>:
/// that finishes what a crash has interrupted. Opening a disk or an image that C-FFS has to itself does so by itself.
/// <code>
/// CffsCrashObserver observer = new();
/// using XnVolume disk = XnVolume.Attach(device, new XnAttachOptions { Observer = observer });
/// using CffsVolume volume = CffsVolume.Open(disk, "mine", observer: observer);
/// </code>
/// </summary>
public sealed class CffsCrashObserver : IXnRecoveryObserver
{
    // A recovery visits all roots before anything below them. One file system is the rule: then nothing has to be told apart.
    private readonly List<(BlockNumber Root, ulong Seed, CrashRepair Repair)> _fileSystems = [];

    /// <inheritdoc/>
    public void Visit(BlockNumber block, TemplateId template, BlockNumber parent, int parentPartition, ReadOnlySpan<byte> bytes)
    {
        if (parent.Value == 0 && TryReadSuperblock(block, bytes, out ulong seed, out uint indexedSequence))
        {
            _fileSystems.Add((block, seed, new CrashRepair(indexedSequence)));
        }

        for (int i = 0; i < Sector.PerBlock; i++)
        {
            ReadOnlySpan<byte> sector = bytes.Slice(i * Sector.SizeBytes, Sector.SizeBytes);
            if (BinaryPrimitives.ReadUInt32LittleEndian(sector[Sector.Magic..]) != (uint)SectorKind.Slots)
            {
                continue;
            }

            // Inode numbers mean something within one file system only.
            ulong owner = BinaryPrimitives.ReadUInt64LittleEndian(sector[Sector.Owner..]);
            if (OwnerOf(sector, (block.Value * Sector.PerBlock) + (ulong)i, owner) is not { } repair)
            {
                continue;
            }

            for (int slot = 0; slot < Slot.PerSector; slot++)
            {
                if (Record.TryParse(sector, slot, out Record record))
                {
                    repair.Note(owner, block, (i * Slot.PerSector) + slot, record);
                }
            }
        }
    }

    /// <summary>What was seen of the file system with this superblock, once: when it is mended, it is a thing of the past.</summary>
    internal CrashRepair? Take(BlockNumber root)
    {
        int index = _fileSystems.FindIndex(item => item.Root == root);
        if (index < 0)
        {
            return null;
        }

        CrashRepair repair = _fileSystems[index].Repair;
        _fileSystems.RemoveAt(index);
        return repair;
    }

    /// <summary>Whose sector it is. Of several file systems the checksum tells, which begins with a seed of each one's own.</summary>
    private CrashRepair? OwnerOf(ReadOnlySpan<byte> sector, ulong number, ulong owner)
    {
        if (_fileSystems.Count == 1)
        {
            return _fileSystems[0].Repair;
        }

        foreach ((_, ulong seed, CrashRepair repair) in _fileSystems)
        {
            if (Sector.IsValid(sector, seed, number, SectorKind.Slots, owner))
            {
                return repair;
            }
        }

        return null;
    }

    private static bool TryReadSuperblock(BlockNumber block, ReadOnlySpan<byte> bytes, out ulong seed, out uint indexedSequence)
    {
        indexedSequence = 0;
        ReadOnlySpan<byte> guardSector = bytes.Slice(Superblock.GuardSector * Sector.SizeBytes, Sector.SizeBytes);
        ulong first = block.Value * Sector.PerBlock;
        VolumeGuard? guard = BinaryPrimitives.ReadUInt32LittleEndian(guardSector[Sector.Magic..]) == (uint)SectorKind.Guard ? VolumeGuard.TryParse(guardSector) : null;
        seed = guard?.ChecksumSeed ?? 0;
        if (guard is null || !Sector.IsValid(guardSector, seed, first + Superblock.GuardSector, SectorKind.Guard, 0))
        {
            return false;
        }

        ulong newest = 0;
        for (int i = 0; i < 2; i++)
        {
            ReadOnlySpan<byte> sector = bytes.Slice(i * Sector.SizeBytes, Sector.SizeBytes);
            if (!Sector.IsEmpty(sector) && Sector.IsValid(sector, seed, first + (ulong)i, SectorKind.State, 0)
                && VolumeState.TryParse(sector, out VolumeState state) && state.Generation > newest)
            {
                newest = state.Generation;
                indexedSequence = state.IndexedSequence;
            }
        }

        return true;
    }
}
