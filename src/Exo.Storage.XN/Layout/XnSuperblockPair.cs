// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <summary>The two copies of the superblock: the newest valid one counts, the other is overwritten next.</summary>
internal sealed class XnSuperblockPair(BlockDevice device)
{
    public XnSuperblock Current;

    /// <summary>Frames of the volume's own, for writing when the pool is full of cached blocks.</summary>
    public FrameNumber[] Reserve { get; set; } = [];

    /// <summary>Reads both copies.</summary>
    /// <exception cref="XnFormatException">Neither is valid.</exception>
    public void Load()
    {
        using ScratchFrames scratch = new(device.Frames, 2);
        if (device.Geometry.BlockCount < 2)
        {
            throw new XnFormatException("not an XN volume: smaller than two blocks");
        }

        BlockRequest[] read = [BlockRequest.Read(new BlockNumber(0), scratch.Frames)];
        device.Execute(read);
        string problem = "";
        bool found = false;
        bool blank = true;
        for (int copy = 0; copy < 2; copy++)
        {
            ReadOnlySpan<byte> block = scratch.Bytes(copy);
            blank &= !block.ContainsAnyExcept((byte)0);
            if (XnSuperblock.TryParse(block[..XnSuperblock.SizeBytes], (ulong)copy, out XnSuperblock superblock, out string why))
            {
                if (!found || superblock.Generation > Current.Generation)
                {
                    Current = superblock;
                    found = true;
                }
            }
            else
            {
                problem = $"{problem}{(problem.Length > 0 ? "; " : "")}copy {copy}: {why}";
            }
        }

        if (!found)
        {
            throw new XnFormatException(blank ? "not an XN volume: it is blank" : $"not an XN volume: {problem}", blank);
        }

        if (Current.BlockCount > device.Geometry.BlockCount)
        {
            throw new XnFormatException(
                $"the XN volume is truncated: it has {Current.BlockCount} blocks, {device.Geometry.Path} only {device.Geometry.BlockCount}");
        }
    }

    /// <summary>Writes the next generation, durably.</summary>
    public void Store(in XnSuperblock next)
    {
        XnSuperblock superblock = next;
        superblock.Generation = Current.Generation + 1;

        // One after the other: a power cut leaves one of them whole. And both: were the newer one lost to the medium, the older one must not call a volume clean that is not.
        Write(superblock, superblock.Generation & 1);
        device.Flush();
        Write(superblock, (superblock.Generation & 1) ^ 1);
        device.Flush();
        Current = superblock;
    }

    /// <summary>Writes both copies of a new volume, durably.</summary>
    public void Create(in XnSuperblock superblock)
    {
        Current = superblock;
        Write(superblock, 0);
        Write(superblock, 1);
        device.Flush();
    }

    private void Write(in XnSuperblock superblock, ulong copy)
    {
        using ScratchFrames scratch = new(device.Frames, 1, Reserve);
        scratch.Bytes(0).Clear();
        superblock.Emit(scratch.Bytes(0), copy);
        BlockRequest[] write = [BlockRequest.Write(new BlockNumber(copy), scratch.Frames)];
        device.Execute(write);
    }
}

/// <summary>Frames for XN's own structures while they are read or written.</summary>
internal sealed class ScratchFrames : IDisposable
{
    private readonly FramePool _pool;

    /// <param name="pool">The pool.</param>
    /// <param name="count">How many.</param>
    /// <param name="reserve">Frames that the caller owns (count 1 each); those not in use now are taken first.</param>
    public ScratchFrames(FramePool pool, int count, ReadOnlySpan<FrameNumber> reserve = default)
    {
        _pool = pool;
        Frames = new FrameNumber[count];
        int next = 0;
        for (int i = 0; i < count; i++)
        {
            while (next < reserve.Length && pool.ReferenceCount(reserve[next]) != 1)
            {
                next++;
            }

            if (next < reserve.Length)
            {
                Frames[i] = reserve[next++];
                pool.Retain(Frames[i]);
            }
            else if (!pool.TryAllocate(pool.RootCredential, out Frames[i]))
            {
                for (int k = 0; k < i; k++)
                {
                    pool.Release(Frames[k]);
                }

                throw new XnException(XnStatus.BadFrames, "the frame pool is exhausted");
            }
        }
    }

    public FrameNumber[] Frames { get; }

    public Span<byte> Bytes(int index) => _pool.Bytes(Frames[index]);

    public void Dispose()
    {
        foreach (FrameNumber frame in Frames)
        {
            _pool.Release(frame);
        }
    }
}
