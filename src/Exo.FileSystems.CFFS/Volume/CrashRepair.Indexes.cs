// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Volume;

/// <content>
/// What the indexes of directories lack after a crash: names that were made since the last mount (docs/cffs-format.md, IndexedSequence). Recovery sees every record anyway; these are remembered with
/// their places, 32 bytes each, and put into the indexes when their directories are loaded.
/// </content>
internal sealed partial class CrashRepair
{
    private readonly Dictionary<ulong, List<(ulong Block, int Index)>> _newNames = [];
    private readonly Dictionary<ulong, uint> _subdirectories = [];

    // Directories that are large enough to have an index, and what they count as subdirectories.
    private readonly Dictionary<ulong, uint> _largeDirectories = [];

    /// <summary>Records in a directory that are directories, dead ones too.</summary>
    public uint SubdirectoriesOf(ulong directory) => _subdirectories.GetValueOrDefault(directory);

    /// <summary>Places of the records in a directory that its index may lack.</summary>
    public IReadOnlyList<(ulong Block, int Index)> NewNamesOf(ulong directory) => _newNames.TryGetValue(directory, out List<(ulong, int)>? places) ? places : [];

    private void NoteName(ulong owner, BlockNumber block, int index, in Record record)
    {
        if (record.Kind == SlotKind.Directory)
        {
            _subdirectories[owner] = _subdirectories.GetValueOrDefault(owner) + 1;
            if (record.HasTree)
            {
                _largeDirectories[record.Inode] = record.Links;
            }
        }

        if (record.NameLength == 0 || owner is 0 or Superblock.OrphanInode or Superblock.ExternalInode
            || IsEarlier(record.NameSequence, indexedSequence))
        {
            return;
        }

        if (!_newNames.TryGetValue(owner, out List<(ulong, int)>? places))
        {
            _newNames.Add(owner, places = []);
        }

        places.Add((block.Value, index));
    }

    /// <summary>Loads every directory whose index may lack something: that puts it in.</summary>
    private async ValueTask CompleteIndexesAsync(VolumeCore core, IoMode io)
    {
        foreach ((ulong number, uint links) in _largeDirectories)
        {
            if ((_newNames.ContainsKey(number) || SubdirectoriesOf(number) != links) && await OpenDirectoryAsync(core, number, io).ConfigureAwait(false) is { } directory)
            {
                await core.Maps.EnsureAsync(directory, io).ConfigureAwait(false);
                if (directory.Map.HasIndex)
                {
                    await core.Directories.EnsureLoadedAsync(directory, io).ConfigureAwait(false);
                }

                core.Inodes.Release(directory);
            }
        }
    }
}
