// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Volume;

/// <content>
/// Exchanges of two names: two moves that are one change. As long as not both new records were durable, both old ones are there; so the move that is missing can be carried out from them. From then on they are two moves like any others.
/// </content>
internal sealed partial class CrashRepair
{
    /// <summary>Carries out what is missing of exchanges that have happened by half. Returns all moves, each by itself.</summary>
    private async ValueTask<List<Intent>> FinishExchangesAsync(VolumeCore core, List<Intent> intents, IoMode io)
    {
        List<Intent> moves = [.. intents, .. intents.Where(intent => intent.IsExchange).Select(intent => intent.Other)];
        foreach (Intent intent in intents)
        {
            if (!intent.IsExchange)
            {
                continue;
            }

            bool has = await HasHappenedAsync(core, intent, moves, io).ConfigureAwait(false);
            if (has != await HasHappenedAsync(core, intent.Other, moves, io).ConfigureAwait(false))
            {
                await FinishExchangeAsync(core, has ? intent.Other : intent, has ? intent : intent.Other, io).ConfigureAwait(false);
            }
        }

        return moves;
    }

    /// <summary>Whether a move is on the disk, or a later one of the inode from where it led.</summary>
    private async ValueTask<bool> HasHappenedAsync(VolumeCore core, Intent move, List<Intent> moves, IoMode io)
    {
        if (await SequenceAtAsync(core, move.ToDirectory, move.ToAddress, move.Inode, io).ConfigureAwait(false) is { } there && !IsEarlier(there, move.NameSequence))
        {
            return true;
        }

        foreach (Intent next in moves)
        {
            if (next.Inode == move.Inode && next.FromDirectory == move.ToDirectory && next.FromAddress == move.ToAddress && IsEarlier(move.NameSequence, next.NameSequence)
                && await HasHappenedAsync(core, next, moves, io).ConfigureAwait(false))
            {
                return true;
            }
        }

        // An earlier recovery that found the place taken has put it elsewhere.
        if (!move.IsExchange || await OpenDirectoryAsync(core, move.ToDirectory, io).ConfigureAwait(false) is not { } directory)
        {
            return false;
        }

        bool isElsewhere = await FindRecordAsync(core, directory, move.Inode, found => found.NameSequence == move.NameSequence, io).ConfigureAwait(false) is not null;
        core.Inodes.Release(directory);
        return isElsewhere;
    }

    /// <summary>Carries out the missing move of an exchange, if both inodes' old records are there.</summary>
    private async ValueTask FinishExchangeAsync(VolumeCore core, Intent missing, Intent happened, IoMode io)
    {
        if (await OpenDirectoryAsync(core, missing.FromDirectory, io).ConfigureAwait(false) is not { } from)
        {
            return;
        }

        if (await OpenDirectoryAsync(core, missing.ToDirectory, io).ConfigureAwait(false) is { } to)
        {
            if (await IsOldRecordAsync(core, from, missing, mayBeDead: true, io).ConfigureAwait(false)
                && await IsOldRecordAsync(core, to, happened, mayBeDead: false, io).ConfigureAwait(false)
                && await LinkExternalAsync(core, from, missing, io).ConfigureAwait(false)
                && await core.Names.FinishExchangeAsync(from, missing.FromAddress, to, missing.ToAddress, happened.FromAddress, missing.NameSequence, io).ConfigureAwait(false))
            {
                if (_containers.ContainsKey(missing.Inode))
                {
                    _containers[missing.Inode] = (missing.ToDirectory, missing.NameSequence);
                }

                // Durable before the other inode's old record goes: without that nobody knows the name.
                await core.Committer.CommitAsync(io).ConfigureAwait(false);
            }

            core.Inodes.Release(to);
        }

        core.Inodes.Release(from);
    }

    /// <summary>
    /// An inode that was linked after the exchange may be in the external table already, while its old record has it, too: the table's counts, and what moves is a name of it. False when the table's cannot be found.
    /// </summary>
    private async ValueTask<bool> LinkExternalAsync(VolumeCore core, Inode directory, Intent move, IoMode io)
    {
        if (!_external.Contains(move.Inode))
        {
            return true;
        }

        if (await FindRecordAsync(core, core.Externals, move.Inode, _ => true, io).ConfigureAwait(false) is not { } outside)
        {
            return false;
        }

        Directories.SlotPlace place = await core.Directories.PlaceAsync(directory, move.FromAddress, io).ConfigureAwait(false);
        if (core.Directories.TakeRecord(directory, place).Kind == SlotKind.ExternalLink)
        {
            return true;
        }

        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await directory.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            await core.Names.FinishExternaliseAsync(directory, move.FromAddress, outside, io).ConfigureAwait(false);
            _links[move.Inode] = _links.GetValueOrDefault(move.Inode) + 1;
            return true;
        }
        finally
        {
            directory.Lock.Exit();
        }
    }

    /// <summary>Whether the record that a move leaves is where it was. It may be dead already: whoever loads the directory finds two of its name.</summary>
    private static async ValueTask<bool> IsOldRecordAsync(VolumeCore core, Inode directory, Intent move, bool mayBeDead, IoMode io)
    {
        await core.Directories.EnsureLoadedAsync(directory, io).ConfigureAwait(false);
        if (!directory.Map.TryFind(move.FromAddress / Slot.PerBlock, out _) || (!mayBeDead && directory.Directory!.Dead.Contains(move.FromAddress)))
        {
            return false;
        }

        Directories.SlotPlace place = await core.Directories.PlaceAsync(directory, move.FromAddress, io).ConfigureAwait(false);
        bool isOld = Record.TryParse(core.Directories.SectorOf(place), place.InSector, out Record record)
            && record.Inode == move.Inode && IsEarlier(record.NameSequence, move.NameSequence);
        core.Cache.Release(place.Frame);
        return isOld;
    }
}
