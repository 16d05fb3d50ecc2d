// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>Names: legal ones, one of each in a directory; names of external inodes that lead there, counted.</content>
internal sealed partial class VolumeRepair
{
    private void DecideNames()
    {
        foreach (RepairDirectory directory in _directories.Values.Where(directory => directory.Inode is not (Superblock.ExternalInode or Superblock.OrphanInode)))
        {
            Dictionary<uint, List<RepairRecord>> names = [];
            foreach (RepairRecord record in directory.Children.Where(record => record.IsLive && !record.IsMoved))
            {
                byte[] name = NameOf(record);
                if (!IsLegal(name))
                {
                    Act("name", $"inode {record.Now.Inode} has no legal name: it is put into lost+found", record.Now.Inode, record.Block);
                    record.IsMoved = true;
                    continue;
                }

                uint hash = NameHash.Compute(name, _guard.HashSeed);
                if (hash != record.Now.NameHash)
                {
                    Act("name-hash", $"inode {record.Now.Inode}: its name hash is computed anew", record.Now.Inode, record.Block);
                    record.Now.NameHash = hash;
                    record.IsDirty = true;
                }

                if (!names.TryGetValue(hash, out List<RepairRecord>? same))
                {
                    names.Add(hash, same = []);
                }

                if (same.FindIndex(other => NameOf(other).AsSpan().SequenceEqual(name)) is >= 0 and int twin)
                {
                    same[twin] = Duel(same[twin], record);
                }
                else
                {
                    same.Add(record);
                }
            }
        }
    }

    private static bool IsLegal(ReadOnlySpan<byte> name) => name.Length > 0 && !name.ContainsAny((byte)'/', (byte)0) && !name.SequenceEqual("."u8) && !name.SequenceEqual(".."u8);

    /// <summary>
    /// Two records with one name: which keeps it (docs/cffs-format.md, NameSequence). The other was replaced, when a crash explains that and nothing is damaged; otherwise, or if it is a directory with something in it, it goes to lost+found.
    /// </summary>
    private RepairRecord Duel(RepairRecord one, RepairRecord two)
    {
        (RepairRecord later, RepairRecord earlier) = (int)(two.Now.NameSequence - one.Now.NameSequence) > 0 ? (two, one) : (one, two);
        if (later.IsSalvaged != earlier.IsSalvaged)
        {
            (later, earlier) = later.IsSalvaged ? (earlier, later) : (later, earlier);
        }
        else if (later.Now.YieldsToEarlier && later.Now.NameSequence != earlier.Now.NameSequence)
        {
            (later, earlier) = (earlier, later);
        }

        bool isReplaced = _isUnclean && report.Before.IsClean && later.Now.NameSequence != earlier.Now.NameSequence && !earlier.IsSalvaged
            && !(earlier.Now.Kind == SlotKind.Directory && _directories.TryGetValue(earlier.Now.Inode, out RepairDirectory? directory) && directory.Children.Exists(child => child.IsLive));
        if (isReplaced)
        {
            Act("unfinished-rename", $"inode {earlier.Now.Inode}, whose name another inode has taken, is removed", earlier.Now.Inode, earlier.Block);
            earlier.IsRemoved = true;
            earlier.IsDirty = true;
        }
        else
        {
            Act("duplicate-name", $"inode {earlier.Now.Inode} has a name that another has: it is put into lost+found", earlier.Now.Inode, earlier.Block);
            earlier.IsMoved = true;
        }

        return later;
    }

    private byte[] NameOf(RepairRecord record)
    {
        byte[] block = new byte[4096];
        byte[] name = new byte[record.NameLengthFound];
        _edits.TryRead(record.Block, block);
        Layout.Record.ReadContents(SectorOf(block, record), record.Index % Slot.PerSector, 0, name);
        return name;
    }

    private static ReadOnlySpan<byte> SectorOf(byte[] block, RepairRecord record) => block.AsSpan(record.Index / Slot.PerSector * Sector.SizeBytes, Sector.SizeBytes);

    private void DecideLinks()
    {
        RepairDirectory table = _directories[Superblock.ExternalInode];
        Dictionary<ulong, ulong> logicals = table.Blocks.ToDictionary(item => item.Block, item => item.Logical);
        Dictionary<ulong, (RepairRecord Record, ulong Address)> externals = [];
        foreach (RepairRecord record in table.Children.Where(record => record.IsLive && logicals.ContainsKey(record.Block)))
        {
            externals.TryAdd(record.Now.Inode, (record, (logicals[record.Block] * Slot.PerBlock) + (ulong)record.Index));
        }

        Dictionary<ulong, uint> counts = [];
        foreach (RepairRecord link in _links.Where(link => link.IsLive))
        {
            if (!externals.TryGetValue(link.Now.Inode, out (RepairRecord Record, ulong Address) target))
            {
                Remove(link, "link-target", "there is no such external inode");
                continue;
            }

            if (link.Container is { } container && (link.IsMoved ? IsFrozen(link.Now.Inode) : IsFrozen(link.Now.Inode) != IsFrozen(container.Inode)))
            {
                Remove(link, "link-target", "what is in a snapshot has its names there, and nothing else has");
                continue;
            }

            if (link.Now.Start != target.Address)
            {
                Act("link-target", $"a name of inode {link.Now.Inode} leads to slot {target.Address} of the external table again", link.Now.Inode, link.Block);
                link.Now.Start = target.Address;
                link.IsDirty = true;
            }

            if (((link.Now.Mode ^ target.Record.Now.Mode) & ModeBits.TypeMask) != 0)
            {
                Act("mode", $"a name of inode {link.Now.Inode} says of what kind it is", link.Now.Inode, link.Block);
                link.Now.Mode = target.Record.Now.Mode;
                link.IsDirty = true;
            }

            counts[link.Now.Inode] = counts.GetValueOrDefault(link.Now.Inode) + 1;
        }

        foreach ((ulong inode, (RepairRecord record, ulong address)) in externals)
        {
            uint links = counts.GetValueOrDefault(inode);
            if (links == 0 && _isUnclean && !_hasLoss)
            {
                Act("link-count", $"inode {inode}, whose last name was removed, is removed", inode, record.Block);
                record.IsRemoved = true;
                record.IsDirty = true;
                continue;
            }

            if (links == 0)
            {
                Act("link-count", $"inode {inode} has lost its names: it gets one in lost+found", inode, record.Block);
                Thaw(record);
                RepairRecord name = new()
                {
                    Now = new Record { Kind = SlotKind.ExternalLink, Start = address, Inode = record.Now.Inode, Mode = record.Now.Mode }, IsMoved = true, IsDirty = true,
                };
                _records.Add(name);
                links = 1;
            }

            if (record.Now.Links != links)
            {
                Act("link-count", $"inode {inode} counts {links} links now, not {record.Now.Links}", inode, record.Block);
                record.Now.Links = links;
                record.IsDirty = true;
            }
        }

        foreach (RepairRecord record in _records.Where(record => record.IsLive && record.Owner is not (0 or Superblock.ExternalInode)
            && record.Now.Kind is SlotKind.File or SlotKind.SymbolicLink or SlotKind.Special && record.Now.Links != 1))
        {
            Act("link-count", $"inode {record.Now.Inode} has one name, not {record.Now.Links}", record.Now.Inode, record.Block);
            record.Now.Links = 1;
            record.IsDirty = true;
        }
    }
}
