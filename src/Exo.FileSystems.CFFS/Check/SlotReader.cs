// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <summary>A directory's block that is to be looked at.</summary>
internal readonly record struct SlotBlock(ulong Directory, int Visit, ulong Logical, ulong Block);

/// <summary>
/// Reads a batch of directory blocks and verifies their checksums on a thread of its own, while what others have read before is being judged. They take turns.
/// </summary>
internal sealed class SlotReader(BlockDevice device, ulong seed) : IDisposable
{
    public const int BatchBlocks = 64;

    private readonly RawBlocks _blocks = new(device, BatchBlocks);
    private readonly SlotBlock[] _items = new SlotBlock[BatchBlocks];
    private readonly byte[] _bytes = new byte[BatchBlocks * 4096];
    private readonly bool[] _isRead = new bool[BatchBlocks];
    private readonly byte[] _validSectors = new byte[BatchBlocks];
    private int _count;
    private Task _reading = Task.CompletedTask;

    /// <summary>Takes the next blocks and starts on them. The batch before is not looked at any more.</summary>
    public void Start(IEnumerator<SlotBlock> items)
    {
        for (_count = 0; _count < BatchBlocks && items.MoveNext(); _count++)
        {
            _items[_count] = items.Current;
        }

        _reading = _count == 0 ? Task.CompletedTask : Task.Run(Read);
    }

    /// <summary>What was read; empty when there was nothing left.</summary>
    public ReadOnlySpan<SlotBlock> Wait()
    {
        _reading.GetAwaiter().GetResult();
        return _items.AsSpan(0, _count);
    }

    public bool IsRead(int index) => _isRead[index];

    public ReadOnlySpan<byte> Block(int index) => _bytes.AsSpan(index * 4096, 4096);

    /// <summary>Whether a sector of a block has a good checksum and the right owner.</summary>
    public bool IsValid(int index, int sector) => (_validSectors[index] >> sector & 1) != 0;

    public void Dispose()
    {
        ((IAsyncResult)_reading).AsyncWaitHandle.WaitOne();
        _blocks.Dispose();
    }

    private void Read() =>
        _blocks.ReadAll([.. _items.AsSpan(0, _count).ToArray().Select(item => item.Block)], (index, bytes) =>
        {
            SlotBlock item = _items[index];
            _isRead[index] = !bytes.IsEmpty;
            _validSectors[index] = 0;
            if (bytes.IsEmpty)
            {
                return;
            }

            bytes.CopyTo(_bytes.AsSpan(index * 4096));
            for (int s = 0; s < Sector.PerBlock; s++)
            {
                ReadOnlySpan<byte> sector = bytes.Slice(s * Sector.SizeBytes, Sector.SizeBytes);
                if (Sector.IsValid(sector, seed, (item.Block * Sector.PerBlock) + (uint)s, SectorKind.Slots, item.Directory))
                {
                    _validSectors[index] |= (byte)(1 << s);
                }
            }
        });
}
