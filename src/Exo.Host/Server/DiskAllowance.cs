// SPDX-License-Identifier: MIT
namespace Exo.Host;

/// <summary>
/// The blocks of the disk that one user's library OSes may have allocated since the host began: what they allocate counts, what they free no longer does, whichever of them it was. It is the user's and not a connection's, so that
/// coming back gains nothing. Thread-safe.
/// </summary>
internal sealed class DiskAllowance(long blocksMax)
{
    private long _blocks;

    public long BlocksMax => blocksMax;

    public long Blocks => Volatile.Read(ref _blocks);

    /// <summary>Before something is allocated.</summary>
    /// <exception cref="HostException">OverQuota: it would be more than the user may have.</exception>
    public void Take(long blocks)
    {
        long before = Blocks;
        while (true)
        {
            if (blocks > 0 && blocks > blocksMax - before)
            {
                throw new HostException(HostStatus.OverQuota, $"{blocks} blocks more; this user has {before} and may have {blocksMax}.");
            }

            long now = Interlocked.CompareExchange(ref _blocks, before + blocks, before);
            if (now == before)
            {
                return;
            }

            before = now;
        }
    }

    /// <summary>After something was freed, or not allocated. What others had allocated, or somebody before the host began, gains nothing beyond what it has.</summary>
    public void GiveBack(long blocks)
    {
        long before = Blocks;
        while (true)
        {
            long now = Interlocked.CompareExchange(ref _blocks, Math.Max(0, before - blocks), before);
            if (now == before)
            {
                return;
            }

            before = now;
        }
    }
}
