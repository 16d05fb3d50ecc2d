// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Check;

/// <content>The superblock of C-FFS: its guard sector, its counters; and what the last unmount has left about free blocks.</content>
internal sealed partial class VolumeRepair
{
    // Blocks of other file systems on the disk: free bits of a recovery of theirs alone.
    private DiskFreeMap? _foreign;

    // The free map of the last unmount, when it tells the truth still: 1 is free.
    private ulong[]? _free;

    private bool _isStateNew;

    private bool IsGuard(ulong at, Span<byte> block)
    {
        if (at < _xn.DataStart || at >= _xn.BlockCount || !blocks.TryRead(at, block))
        {
            return false;
        }

        ReadOnlySpan<byte> sector = block.Slice(Superblock.GuardSector * Sector.SizeBytes, Sector.SizeBytes);
        if (BinaryPrimitives.ReadUInt32LittleEndian(sector[Sector.Magic..]) != (uint)SectorKind.Guard || VolumeGuard.TryParse(sector) is not { } guard
            || !Sector.IsValid(sector, guard.ChecksumSeed, (at * Sector.PerBlock) + Superblock.GuardSector, SectorKind.Guard, 0))
        {
            return false;
        }

        _guard = guard;
        return true;
    }

    /// <summary>Searches the disk for a superblock; of several the one whose state is newest. 0: none.</summary>
    private ulong FindGuard(byte[] block)
    {
        ulong best = 0;
        ulong newest = 0;
        byte[] candidate = new byte[4096];
        ulong[] batch = new ulong[RawBlocks.BatchBlocks];
        for (ulong first = _xn.DataStart; first < _xn.BlockCount; first += RawBlocks.BatchBlocks)
        {
            int count = (int)Math.Min(RawBlocks.BatchBlocks, _xn.BlockCount - first);
            for (int i = 0; i < count; i++)
            {
                batch[i] = first + (ulong)i;
            }

            List<ulong> likely = [];
            blocks.ReadAll(batch.AsSpan(0, count).ToArray(), (index, bytes) =>
            {
                Progressed("guard");
                if (!bytes.IsEmpty && BinaryPrimitives.ReadUInt32LittleEndian(bytes[((Superblock.GuardSector * Sector.SizeBytes) + Sector.Magic)..]) == (uint)SectorKind.Guard)
                {
                    likely.Add(batch[index]);
                }
            });
            foreach (ulong at in likely)
            {
                if (IsGuard(at, candidate) && NewestState(at, candidate) is var state && (best == 0 || state.Generation > newest))
                {
                    best = at;
                    newest = state.Generation;
                }
            }
        }

        return best != 0 && IsGuard(best, block) ? best : 0;
    }

    private VolumeState NewestState(ulong at, ReadOnlySpan<byte> block)
    {
        VolumeState newest = default;
        for (int i = 0; i < 2; i++)
        {
            ReadOnlySpan<byte> sector = block.Slice(i * Sector.SizeBytes, Sector.SizeBytes);
            if (!Sector.IsEmpty(sector) && Sector.IsValid(sector, _guard.ChecksumSeed, (at * Sector.PerBlock) + (ulong)i, SectorKind.State, 0)
                && VolumeState.TryParse(sector, out VolumeState state) && IsPlausible(state) && state.Generation > newest.Generation)
            {
                newest = state;
            }
        }

        return newest;
    }

    /// <summary>Numbers from which there is room to count on.</summary>
    internal static bool IsPlausible(in VolumeState state) =>
        state.Generation is > 0 and < 1UL << 62 && state.Epoch < 1UL << 62 && state.InodeLimit is >= Superblock.FirstInode and < 1UL << 62;

    private void PlanVolumeState(ReadOnlySpan<byte> block)
    {
        VolumeState state = NewestState(_superblock, block);
        if (state.Generation == 0)
        {
            // Beyond every epoch and every sequence number that any sector can hold by counting.
            state = new VolumeState { Version = VolumeState.CurrentVersion, Generation = 1, Epoch = 1UL << 40, InodeLimit = Superblock.FirstInode, Clean = _xn.Clean };
            Act("superblock-state", $"both state sectors are made anew", 0, _superblock);
            _isStateNew = true;
        }
        else
        {
            for (int i = 0; i < 2; i++)
            {
                ReadOnlySpan<byte> sector = block.Slice(i * Sector.SizeBytes, Sector.SizeBytes);
                if (!Sector.IsEmpty(sector) && !(Sector.IsValid(sector, _guard.ChecksumSeed, (_superblock * Sector.PerBlock) + (ulong)i, SectorKind.State, 0)
                    && VolumeState.TryParse(sector, out VolumeState parsed) && IsPlausible(parsed)))
                {
                    Act("superblock-state", $"state sector {i} is written anew", 0, _superblock);
                }
            }
        }

        if (state.Version != VolumeState.CurrentVersion || (state.IncompatibleFeatures & ~VolumeState.KnownIncompatibleFeatures) != 0 || (state.ReadOnlyFeatures & ~VolumeState.KnownReadOnlyFeatures) != 0)
        {
            throw new CffsException(CffsError.NotCffs, $"format version {state.Version}, features {state.IncompatibleFeatures:x}/{state.ReadOnlyFeatures:x} are not known");
        }

        _state = state;
        _isUnclean |= state.Clean == 0;
        _inodeMax = state.InodeLimit - 1;
    }

    /// <summary>Other file systems share the disk: what they own is nobody else's, whatever a pointer says.</summary>
    private void FindForeign(List<RootEntry> roots)
    {
        List<RootEntry> others = [.. roots.Where(root => root.Name != CffsVolume.DefaultRootName)];
        _foreign = others.Count == 0 ? null : ForeignBlocks.Find(device, _xn, others);
    }

    private bool IsForeign(ulong start, ulong count)
    {
        for (ulong block = start; block < start + count; block++)
        {
            if (!_foreign!.IsFree(block))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>
    /// The free map of the last unmount tells the truth as long as C-FFS has opened no epoch since: also in the second repair after a power cut in the first.
    /// </summary>
    private void LoadFreeMap()
    {
        if (_isStateNew ? _xn.Clean == 0 : _state.Clean == 0)
        {
            return;
        }

        ulong[] words = new ulong[(_xn.BlockCount + 63) / 64];
        byte[] block = new byte[4096];
        for (ulong index = 0; index < _xn.FreeMapBlocksUsed; index++)
        {
            ulong number = _xn.FreeMapStart + index;
            ulong first = index * (FreeMapBlock.BitmapBytes / 8);
            int take = (int)Math.Min(FreeMapBlock.BitmapBytes / 8, (ulong)words.Length - first);
            if (!blocks.TryRead(number, block) || !FreeMapBlock.TryRead(block, number, _xn.Epoch, index, words.AsSpan((int)first, take)))
            {
                return;
            }
        }

        _free = words;
    }

    private bool IsFree(ulong block) => _free is not null && (_free[block >> 6] >> (int)(block & 63) & 1) != 0;
}
