// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

internal sealed unsafe partial class DiskFile
{
    /// <summary>Narrows the device to one partition; false if direct I/O cannot reach it and need not be.</summary>
    private bool TryEnter(string wanted, BlockDeviceOptions options)
    {
        PartitionTable? table;
        using (var source = new FileSource(this))
        {
            table = PartitionTable.Read(source, Path);
        }

        if (table is null)
        {
            throw new BlockDeviceException(Errno.ENODEV, Path, $"{Path} has no partition table, so no partition \"{wanted}\".");
        }

        Partition partition = table.Find(wanted, Path);
        string name = $"{Path}#{partition.Number}";
        Invariant.Check(partition.StartBytes >= 0 && partition.LengthBytes > 0 && partition.LengthBytes <= LengthBytes - partition.StartBytes);
        if (partition.LengthBytes < FramePool.FrameBytes)
        {
            throw new BlockDeviceException(Errno.ENOSPC, name, $"{name} has {partition.LengthBytes} bytes, less than one block of 4,096 bytes.");
        }

        if (options.Create && options.CreateBytes > partition.LengthBytes)
        {
            throw new BlockDeviceException(
                Errno.ENOSPC, name, $"{name} has {partition.LengthBytes} bytes and cannot be made {options.CreateBytes} bytes long: change the partition table first.");
        }

        if (IsDirect && partition.StartBytes % LogicalSectorBytes != 0)
        {
            return options.Direct == DirectIo.Auto ? false : throw new BlockDeviceException(
                Errno.EINVAL, name, $"{name} begins at byte {partition.StartBytes}, no multiple of the {LogicalSectorBytes} bytes of direct I/O; use DirectIo.Auto or Off.");
        }

        StartBytes = partition.StartBytes;
        LengthBytes = partition.LengthBytes;
        Path = name;
        _isPartition = true;
        return true;
    }

    /// <summary>The whole file or disk, through a page that suits direct I/O.</summary>
    private sealed class FileSource(DiskFile file) : TableSource
    {
        private readonly MappedRegion _page = MappedRegion.Anonymous(FramePool.FrameBytes);

        public override long LengthBytes => file.LengthBytes;

        public override int SectorBytes => file.IsBlockDevice ? file.LogicalSectorBytes : 0;

        public override void Dispose() => _page.Dispose();

        protected override bool TryReadPage(long offsetBytes, out ReadOnlySpan<byte> page)
        {
            var vector = new IoVector { Base = _page.Address, LengthBytes = FramePool.FrameBytes };
            nint moved;
            do
            {
                moved = Libc.ReadVector(file.Fd, &vector, 1, offsetBytes);
            }
            while (moved < 0 && Errno.Last == Errno.EINTR);
            page = new ReadOnlySpan<byte>((void*)_page.Address, (int)Math.Max(moved, 0));
            return moved >= 0;
        }
    }
}
