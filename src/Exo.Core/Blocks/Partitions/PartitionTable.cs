// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>
/// The partitions of a disk, read from its GPT or MBR. Nothing in a table is believed: sums are checked, what leaves the disk is left
/// out, chains are bounded. To open a partition name it in the path (<c>disk.img#2</c>, <c>/dev/sdb#data</c>) or in <see cref="BlockDeviceOptions.Partition"/>.
/// </summary>
public sealed class PartitionTable
{
    internal PartitionTable(PartitionScheme scheme, int sectorBytes, IReadOnlyList<Partition> partitions, string damage)
    {
        Scheme = scheme;
        SectorBytes = sectorBytes;
        Partitions = partitions;
        Damage = damage;
    }

    /// <summary>Which kind of table it is.</summary>
    public PartitionScheme Scheme { get; }

    /// <summary>The unit in which the table counts.</summary>
    public int SectorBytes { get; }

    /// <summary>By number; empty entries and those that make no sense are left out.</summary>
    public IReadOnlyList<Partition> Partitions { get; }

    /// <summary>
    /// What is wrong with it, in one line; empty if nothing is. The partitions can be used all the same: for instance those of a GPT
    /// whose first copy is damaged come from the second.
    /// </summary>
    public string Damage { get; }

    /// <summary>Reads the table of a whole disk. Takes one frame of the device's pool for the time.</summary>
    /// <returns>Null if the disk has no table.</returns>
    /// <exception cref="BlockDeviceException">The disk cannot be read, or both copies of its GPT are damaged.</exception>
    /// <exception cref="InvalidOperationException">The pool has no frame left.</exception>
    public static PartitionTable? Read(BlockDevice device)
    {
        ArgumentNullException.ThrowIfNull(device);
        using var source = new DeviceSource(device);
        return Read(source, device.Geometry.Path);
    }

    /// <summary>Reads the table from anywhere.</summary>
    internal static PartitionTable? Read(TableSource source, string path)
    {
        byte[] first = new byte[MbrReader.SectorBytes];
        if (!source.TryRead(0, first))
        {
            throw new BlockDeviceException(Linux.Errno.EIO, path, $"{path}: its first sector cannot be read, so its partitions are not known.");
        }

        bool hasRecord = MbrReader.IsRecord(first);
        if (!hasRecord || MbrReader.IsProtective(first))
        {
            // Without a protective record a valid GPT is still taken: its first sector is what a careless program overwrites.
            PartitionTable? table = GptReader.Read(source, isExpected: hasRecord, out string reason);
            return table is null && reason.Length > 0 ? throw new BlockDeviceException(0, path, $"{path}: {reason}") : table;
        }

        return MbrReader.Read(source, first);
    }

    /// <summary>The partition that is meant by a number, a name or a GUID.</summary>
    /// <exception cref="BlockDeviceException">There is none, there are several, or it overlaps another.</exception>
    internal Partition Find(string wanted, string path)
    {
        bool isNumber = int.TryParse(wanted, NumberStyles.None, CultureInfo.InvariantCulture, out int number);
        Partition[] found = [.. Partitions.Where(one => isNumber ? one.Number == number : one.Name == wanted && wanted.Length > 0)];
        if (found.Length == 0 && Guid.TryParse(wanted, out Guid id))
        {
            found = [.. Partitions.Where(one => one.Id == id)];
        }

        if (found.Length != 1)
        {
            string there = Partitions.Count == 0 ? "none" : string.Join(", ", Partitions.Take(16));
            string problem = found.Length == 0 ? $"has no partition \"{wanted}\"" : $"has {found.Length} partitions \"{wanted}\": choose by number";
            throw new BlockDeviceException(Linux.Errno.ENODEV, path, $"{path} {problem}; it has {there}{(Damage.Length > 0 ? $" ({Damage})" : "")}.");
        }

        return Partitions.FirstOrDefault(found[0].Overlaps) is { } other
            ? throw new BlockDeviceException(0, path, $"{path}: partition {found[0]} overlaps {other}: repair the table first.")
            : found[0];
    }

    /// <summary>A device's blocks as bytes, through one frame.</summary>
    private sealed class DeviceSource : TableSource
    {
        private readonly BlockDevice _device;
        private readonly FrameNumber[] _frame = new FrameNumber[1];

        public DeviceSource(BlockDevice device)
        {
            _device = device;
            if (!device.Frames.TryAllocate(device.Frames.RootCredential, out _frame[0]))
            {
                throw new InvalidOperationException("The frame pool is exhausted.");
            }
        }

        public override long LengthBytes => (long)_device.Geometry.BlockCount * FramePool.FrameBytes;

        public override void Dispose() => _device.Frames.Release(_frame[0]);

        protected override bool TryReadPage(long offsetBytes, out ReadOnlySpan<byte> page)
        {
            BlockRequest read = BlockRequest.Read(new BlockNumber((ulong)offsetBytes / FramePool.FrameBytes), _frame);
            try
            {
                _device.Execute(new Span<BlockRequest>(ref read));
                page = _device.Frames.Bytes(_frame[0]);
                return true;
            }
            catch (BlockDeviceException)
            {
                page = default;
                return false;
            }
        }
    }
}
