// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;

namespace Exo.Simulation.Crashes;

/// <summary>
/// The disk's cache at one moment. For each sector that differs from the medium: what was written to it since, oldest first. After a power
/// cut the medium holds, for each sector on its own, either what it held or any one of these.
/// </summary>
internal sealed class PendingSectors(DiskContents start, int sectorBytes)
{
    private readonly Dictionary<ulong, List<Version>> _pending = [];

    /// <summary>A sector's contents by one write. The bytes are those of the whole block.</summary>
    public readonly record struct Version(RecordedRequest Writer, byte[]? Block);

    public DiskContents.Builder Medium { get; } = start.ToBuilder();

    private int SectorsPerBlock { get; } = FramePool.FrameBytes / sectorBytes;

    /// <summary>Sectors with more than one possible content, in order of their numbers, so that a seed reproduces.</summary>
    public List<KeyValuePair<ulong, List<Version>>> Sorted()
    {
        List<KeyValuePair<ulong, List<Version>>> sorted = [.. _pending];
        sorted.Sort((a, b) => a.Key.CompareTo(b.Key));
        return sorted;
    }

    public void Submit(RecordedRequest write)
    {
        for (int i = 0; i < write.BlockCount; i++)
        {
            ulong block = write.FirstBlock.Value + (ulong)i;
            Version version = new(write, write.Block(i));
            for (int s = 0; s < SectorsPerBlock; s++)
            {
                ulong sector = block * (ulong)SectorsPerBlock + (ulong)s;
                bool known = _pending.TryGetValue(sector, out List<Version>? versions);
                if (known || !Medium[block].Slice(s * sectorBytes, sectorBytes).SequenceEqual(Bytes(version, s)))
                {
                    // A write of what is on the medium already, with nothing on its way there, makes no new state.
                    (versions ??= _pending[sector] = []).Add(version);
                }
            }
        }
    }

    /// <summary>Everything of these writes, and what they replaced, is settled.</summary>
    public void MakeDurable(Func<RecordedRequest, bool> covered)
    {
        foreach ((ulong sector, List<Version> versions) in Sorted())
        {
            int last = versions.FindLastIndex(version => covered(version.Writer));
            if (last < 0)
            {
                continue;
            }

            Put(Medium, sector, versions[last]);
            versions.RemoveRange(0, last + 1);
            if (versions.Count == 0)
            {
                _pending.Remove(sector);
            }
        }
    }

    public void Put(DiskContents.Builder disk, ulong sector, Version version)
    {
        int inBlock = (int)(sector % (ulong)SectorsPerBlock);
        disk.Patch(sector / (ulong)SectorsPerBlock, inBlock * sectorBytes, Bytes(version, inBlock));
    }

    private ReadOnlySpan<byte> Bytes(Version version, int sectorInBlock) =>
        version.Block is { } block ? block.AsSpan(sectorInBlock * sectorBytes, sectorBytes) : s_zeroes.AsSpan(0, sectorBytes);

    private static readonly byte[] s_zeroes = new byte[FramePool.FrameBytes];
}
