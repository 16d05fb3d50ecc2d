// SPDX-License-Identifier: MIT
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Check;

/// <content>Last pass: what only the whole tells. Link counts, and the free map.</content>
internal sealed partial class VolumeCheck
{
    private void CheckLinks()
    {
        foreach ((ulong inode, (ulong _, uint links, ushort _)) in _externals)
        {
            uint found = _linksFound.GetValueOrDefault(inode);
            if (found != links || links == 0)
            {
                Find(_isUnclean ? CffsSeverity.Info : CffsSeverity.Error, "link-count", $"inode {inode} counts {links} links and has {found}", inode, 0);
            }
        }
    }

    /// <summary>On a clean volume the free map must be exactly what is not owned. Blocks of other file systems on the disk count as owned by them.</summary>
    private void CheckFreeMap()
    {
        if (_xn.Clean == 0)
        {
            return;
        }

        byte[] block = new byte[4096];
        ulong[] words = new ulong[FreeMapBlock.BitmapBytes / 8];
        long leaked = 0;
        ulong firstLeaked = 0;
        for (ulong index = 0; index < _xn.FreeMapBlocksUsed; index++)
        {
            ulong number = _xn.FreeMapStart + index;
            ulong firstWord = index * (ulong)words.Length;
            int take = (int)Math.Min((ulong)words.Length, (ulong)_owned.Words.Length - firstWord);
            if (!_blocks.TryRead(number, block) || !FreeMapBlock.TryRead(block, number, _xn.Epoch, index, words.AsSpan(0, take)))
            {
                Find(CffsSeverity.Warning, "free-map", $"block {index} of the free map is damaged; the next mount rebuilds it", 0, number);
                return;
            }

            for (int w = 0; w < take; w++)
            {
                ulong owned = _owned.Words[(int)firstWord + w];
                ulong wrong = words[w] & owned;
                ulong lost = ~(words[w] | owned);
                for (int bit = 0; bit < 64 && (wrong | lost) != 0; bit++)
                {
                    ulong at = ((firstWord + (ulong)w) * 64) + (ulong)bit;
                    if (at >= _xn.BlockCount)
                    {
                        break;
                    }

                    if ((wrong >> bit & 1) != 0)
                    {
                        Find(CffsSeverity.Error, "block-free", $"block {at} is in use and marked as free", 0, at);
                    }
                    else if ((lost >> bit & 1) != 0)
                    {
                        leaked++;
                        firstLeaked = leaked == 1 ? at : firstLeaked;
                    }
                }
            }
        }

        if (leaked > 0)
        {
            Find(CffsSeverity.Warning, "block-leaked", $"{leaked} blocks from {firstLeaked} on are in use by nothing", 0, firstLeaked);
        }
    }

    /// <summary>On a clean volume XN's list of shared blocks must say what the pointers say.</summary>
    private void CheckOwners()
    {
        if (_xn.Clean == 0)
        {
            return;
        }

        byte[] block = new byte[4096];
        Dictionary<ulong, int> stated = [];
        ulong read = 0;
        for (ulong at = _xn.OwnersStart; at != 0; read++)
        {
            ulong number = at;
            if (at < _xn.DataStart || at >= _xn.BlockCount || read >= _xn.BlockCount || !_blocks.TryRead(at, block) || !OwnersBlock.TryRead(block, at, _xn.Epoch, stated, out at))
            {
                Find(CffsSeverity.Warning, "owner-counts", "the list of shared blocks is damaged; the next mount counts anew", 0, number);
                return;
            }
        }

        // Blocks of other file systems on the disk stand in the same list.
        IEnumerable<ulong> listed = stated.Keys.Where(at => _others.Count == 0 || _owners.ContainsKey(at));
        ulong[] wrong = [.. _owners.Keys.Union(listed).Where(at => stated.GetValueOrDefault(at, 1) != _owners.GetValueOrDefault(at, 1)).Order()];
        if (wrong.Length > 0)
        {
            int owners = _owners.GetValueOrDefault(wrong[0], 1);
            Find(CffsSeverity.Error, "owner-count", $"{wrong.Length} blocks have another number of owners than is listed; block {wrong[0]} has {owners}, not {stated.GetValueOrDefault(wrong[0], 1)}", 0, wrong[0]);
        }
    }
}
