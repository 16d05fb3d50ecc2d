// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>
/// That no name stands twice in a directory. Of each name only its hash and where it stands are kept, 8 bytes, for one directory at a time; where two hashes are the same the names are read once more.
/// </content>
internal sealed partial class VolumeCheck
{
    // Hash in the upper half, slot address in the lower.
    private readonly List<ulong> _names = [];

    private void NoteName(uint hash, uint address) => _names.Add(((ulong)hash << 32) | address);

    private void EndNames(DirectoryVisit directory)
    {
        _names.Sort();
        for (int from = 0; from < _names.Count;)
        {
            int end = from + 1;
            while (end < _names.Count && _names[end] >> 32 == _names[from] >> 32)
            {
                end++;
            }

            if (end - from > 1)
            {
                CheckSameHash(directory, from, end);
            }

            from = end;
        }

        _names.Clear();
    }

    private void CheckSameHash(DirectoryVisit directory, int from, int end)
    {
        Dictionary<string, List<Record>> names = [];
        for (int i = from; i < end; i++)
        {
            if (!TryReadRecord(directory, (uint)_names[i], out Record record, out string name, out ulong block))
            {
                // It could be read a moment ago.
                Find(CffsSeverity.Error, "unreadable", $"a block of directory {directory.Path}/ cannot be read", directory.Inode, block);
                continue;
            }

            if (!names.TryGetValue(name, out List<Record>? same))
            {
                names.Add(name, same = []);
            }

            foreach (Record other in same)
            {
                bool explained = _isUnclean && other.NameSequence != record.NameSequence;
                string path = $"{directory.Path}/{System.Text.Encoding.UTF8.GetString(System.Text.Encoding.Latin1.GetBytes(name))}";
                Find(
                    explained ? CffsSeverity.Info : CffsSeverity.Error, explained ? "unfinished-rename" : "duplicate-name",
                    $"{path}: the name stands twice", record.Inode, block);
                if (explained)
                {
                    // Only an empty directory is ever replaced: which of the two was, is in docs/cffs-format.md, NameSequence.
                    bool isLater = (int)(record.NameSequence - other.NameSequence) > 0;
                    bool counts = isLater ? !record.YieldsToEarlier : other.YieldsToEarlier;
                    _replaced.Add(counts ? other.Inode : record.Inode);
                }
            }

            same.Add(record);
        }
    }

    /// <summary>Reads a record once more; its name as Latin-1, which keeps all bytes apart.</summary>
    private bool TryReadRecord(DirectoryVisit directory, uint address, out Record record, out string name, out ulong block)
    {
        ulong logical = address / Slot.PerBlock;
        RepairExtent extent = directory.Extents.Find(one => logical >= one.Logical && logical - one.Logical < one.Count);
        block = extent.Start + (logical - extent.Logical);
        byte[] bytes = new byte[4096];
        record = default;
        name = "";
        int slot = (int)(address % Slot.PerBlock);
        if (!_blocks.TryRead(block, bytes) || !Record.TryParse(bytes.AsSpan(slot / Slot.PerSector * Sector.SizeBytes, Sector.SizeBytes), slot % Slot.PerSector, out record))
        {
            return false;
        }

        byte[] found = new byte[record.NameLength];
        Record.ReadContents(bytes.AsSpan(slot / Slot.PerSector * Sector.SizeBytes, Sector.SizeBytes), slot % Slot.PerSector, 0, found);
        name = System.Text.Encoding.Latin1.GetString(found);
        return true;
    }
}
