// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.FileSystems.CFFS.Check;

/// <summary>Reads blocks of a device in batches, in the order asked for, through a fixed set of frames.</summary>
internal sealed class RawBlocks : IDisposable
{
    public const int BatchBlocks = 128;

    private readonly BlockDevice _device;
    private readonly FrameNumber[] _frames;

    public RawBlocks(BlockDevice device, int batchBlocks = BatchBlocks)
    {
        _device = device;
        _frames = new FrameNumber[batchBlocks];
        for (int i = 0; i < batchBlocks; i++)
        {
            if (!device.Frames.TryAllocate(device.Frames.RootCredential, out _frames[i]))
            {
                for (int k = 0; k < i; k++)
                {
                    device.Frames.Release(_frames[k]);
                }

                throw new CffsException(CffsError.Busy, "the frame pool is exhausted");
            }
        }
    }

    /// <summary>Copies one block.</summary>
    public bool TryRead(ulong block, Span<byte> into)
    {
        BlockRequest[] request = [BlockRequest.Read(new BlockNumber(block), _frames.AsMemory(0, 1))];
        if (!TryExecute(request))
        {
            return false;
        }

        _device.Frames.Bytes(_frames[0]).CopyTo(into);
        return true;
    }

    /// <summary>Reads sorted blocks and hands each to <paramref name="visit"/>: its index in the list, its bytes (empty when the device could not read it).</summary>
    public void ReadAll(IReadOnlyList<ulong> sorted, BlockVisitor visit)
    {
        for (int from = 0; from < sorted.Count; from += _frames.Length)
        {
            int count = Math.Min(_frames.Length, sorted.Count - from);
            List<BlockRequest> requests = [];
            int start = 0;
            for (int i = 1; i <= count; i++)
            {
                if (i == count || sorted[from + i] != sorted[from + i - 1] + 1)
                {
                    requests.Add(BlockRequest.Read(new BlockNumber(sorted[from + start]), _frames.AsMemory(start, i - start)));
                    start = i;
                }
            }

            BlockRequest[] batch = [.. requests];
            if (!TryExecute(batch) && batch.Length < count)
            {
                // One bad block fails the run that it lies in: each block by itself, then.
                batch = [.. Enumerable.Range(0, count).Select(i => BlockRequest.Read(new BlockNumber(sorted[from + i]), _frames.AsMemory(i, 1)))];
                _ = TryExecute(batch);
            }

            int at = 0;
            foreach (BlockRequest request in batch)
            {
                for (int i = 0; i < request.BlockCount; i++, at++)
                {
                    visit(from + at, request.Error == 0 ? _device.Frames.Bytes(_frames[at]) : default);
                }
            }
        }
    }

    public void Dispose()
    {
        foreach (FrameNumber frame in _frames)
        {
            _device.Frames.Release(frame);
        }
    }

    private bool TryExecute(BlockRequest[] batch)
    {
        try
        {
            _device.Execute(batch);
            return true;
        }
        catch (BlockDeviceException)
        {
            return false;
        }
    }
}

/// <summary>Sees one block of a batch.</summary>
internal delegate void BlockVisitor(int index, ReadOnlySpan<byte> bytes);
