// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Files;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Directories;

/// <summary>
/// Reading ahead from one directory into the next. While somebody uses small files' contents in a directory's subdirectories, in the order of their records, those that come next are loaded, names and all, and
/// their small files' contents are fetched: the disk and another processor work while he uses the last ones. (Where only names are asked for, a directory is used up faster than another thread hands it over.)
/// <para>What is loaded is as true as what he would load himself: with its proofs and checksums, under the directory's lock, one lock at a time, so that whoever comes before it is done waits for it. What
/// cannot be loaded is left for him to be told of. How far it goes is bounded by what is loaded and has not been used.</para>
/// </summary>
internal sealed class DirectoriesAhead(VolumeCore core)
{
    /// <summary>The most directories that are loaded and not used.</summary>
    public const int Most = 16;

    // Contents of so many directories, or of a group's most blocks, are one request.
    private const int Batch = 4;

    // Slot blocks of the parent that are looked at for the next subdirectory, under its lock.
    private const int LookMax = 8;

    private readonly Lock _lock = new();
    private readonly List<Task> _underWay = [];
    private volatile bool _isFinished;

    /// <summary>Somebody has loaded a directory that was not loaded ahead. Under its lock.</summary>
    public void Loaded(Inode directory)
    {
        if (!core.Groups || core.Cache.Frames.FrameCount < 8 * FileStore.StepBlocks || directory.Container is not { Directory: { Siblings.IsInOrder: true } state } parent)
        {
            return;
        }

        AheadPosition position = state.Ahead;
        uint address = directory.SlotAddress;
        if (address != position.After)
        {
            if (address < position.After)
            {
                // From the beginning again: those that were loaded then are nobody's any more.
                position.Round++;
                position.Unused = 0;
            }

            position.After = address;
            Go(parent, position);
        }
    }

    /// <summary>A directory is used. Under its lock.</summary>
    public void Used(Inode directory, DirectoryState state)
    {
        if (state.AheadRound != 0)
        {
            UsedFirst(directory, state);
        }
    }

    /// <summary>One that was loaded ahead is used for the first time.</summary>
    private void UsedFirst(Inode directory, DirectoryState state)
    {
        int round = state.AheadRound;
        state.AheadRound = 0;
        if (directory.Container is { Directory.Ahead: { } position } parent && position.Round == round)
        {
            _ = Interlocked.Decrement(ref position.Unused);
            Go(parent, position);
        }
    }

    /// <summary>Ends when what is on its way has come to its end.</summary>
    public Task UnderWay
    {
        get
        {
            lock (_lock)
            {
                return Task.WhenAll(_underWay);
            }
        }
    }

    /// <summary>Waits for what is on its way, and begins nothing any more.</summary>
    public void Finish()
    {
        lock (_lock)
        {
            _isFinished = true;
        }

        UnderWay.Wait();
    }

    private void Go(Inode parent, AheadPosition position)
    {
        if (!core.Files.IsInTurn || Volatile.Read(ref position.Unused) > Most / 2 || Interlocked.Exchange(ref position.IsRunning, 1) != 0)
        {
            return;
        }

        lock (_lock)
        {
            if (_isFinished)
            {
                return;
            }

            // The directory that has been used holds its parent.
            core.Inodes.Hold(parent);
            _ = _underWay.RemoveAll(static task => task.IsCompletedSuccessfully);
            _underWay.Add(Task.Run(() => RunAsync(parent, position)));
        }
    }

    private async Task RunAsync(Inode parent, AheadPosition position)
    {
        Task before = Task.CompletedTask;
        Task contents = Task.CompletedTask;
        try
        {
            bool isOver = false;
            while (!isOver && !_isFinished && core.Files.IsInTurn && Volatile.Read(ref position.Unused) < Most)
            {
                Missing batch = new([], null, []);
                int budget = FileStore.GroupBlocksMax;
                for (int i = 0; i < Batch && budget > 0 && !isOver && core.Files.IsInTurn; i++)
                {
                    (isOver, budget) = await LoadNextAsync(parent, position, batch, budget).ConfigureAwait(false);
                }

                // The disk has two to do, also while the directories after that are loaded.
                await before.ConfigureAwait(false);
                before = contents;
                contents = core.Files.TryReadApartAsync(batch, IoMode.Async).AsTask();
            }
        }
        finally
        {
            await before.ConfigureAwait(false);
            await contents.ConfigureAwait(false);
            Volatile.Write(ref position.IsRunning, 0);
            core.Inodes.Release(parent);
        }
    }

    /// <summary>Loads the next directory, and adds its small files' contents to a batch.</summary>
    /// <returns>Whether there is none, or none that can be loaded; the blocks that the batch may still have.</returns>
    private async ValueTask<(bool IsOver, int Budget)> LoadNextAsync(Inode parent, AheadPosition position, Missing batch, int budget)
    {
        try
        {
            if (await NextAsync(parent, position).ConfigureAwait(false) is not { } directory)
            {
                return (true, budget);
            }

            await directory.Lock.EnterAsync(IoMode.Async).ConfigureAwait(false);
            try
            {
                if (directory is { IsDirectory: true, IsRemoved: false, Directory: null })
                {
                    DirectoryState state = await core.Directories.EnsureLoadedAsync(directory, IoMode.Async).ConfigureAwait(false);
                    state.AheadRound = position.Round;
                    _ = Interlocked.Increment(ref position.Unused);
                    core.Files.CollectDirectory(directory, ref budget, batch.Requests, batch.Held!);
                }
            }
            finally
            {
                directory.Lock.Exit();
                core.Inodes.Release(directory);
            }

            return (false, budget);
        }
        catch (Exception failure) when (failure is CffsException or XnException or BlockDeviceException)
        {
            // Whoever wants it finds out why.
            return (true, budget);
        }
    }

    /// <summary>The next subdirectory whose record is in core, held; null when there is none near.</summary>
    private async ValueTask<Inode?> NextAsync(Inode parent, AheadPosition position)
    {
        await parent.Lock.EnterAsync(IoMode.Async).ConfigureAwait(false);
        try
        {
            if (parent is not { IsRemoved: false, Directory: { } state })
            {
                return null;
            }

            uint address = position.After + 1;
            for (int looked = 0; looked < LookMax; looked++)
            {
                ulong logical = address / Slot.PerBlock;
                if (!parent.Map.TryFind(logical, out MappedExtent extent) || !core.Cache.TryGet(new BlockNumber(extent.Start + (logical - extent.Logical)), out FrameNumber frame))
                {
                    return null;
                }

                for (int index = (int)(address % Slot.PerBlock); index < Slot.PerBlock; index++, address++)
                {
                    SlotPlace place = new(new BlockNumber(extent.Start + (logical - extent.Logical)), frame, index, address);
                    ReadOnlySpan<byte> sector = core.Directories.SectorOf(place);
                    if (Slot.KindOf(sector[(place.InSector * Slot.SizeBytes)..]) == SlotKind.Directory && !state.Dead.Contains(address) && Record.TryParse(sector, place.InSector, out _))
                    {
                        position.After = address;
                        return core.GetEmbeddedInode(parent, place);
                    }
                }

                core.Cache.Release(frame);
            }

            return null;
        }
        finally
        {
            parent.Lock.Exit();
        }
    }
}

/// <summary>Where reading ahead has come to among the subdirectories of one directory. Callers may race: a wrong number costs a request, or directories that nobody wants.</summary>
internal sealed class AheadPosition
{
    /// <summary>The slot address of the last one that was loaded, or used.</summary>
    public uint After;

    /// <summary>How many have been loaded in this round and not been used. Changed with interlocked operations.</summary>
    public int Unused;

    /// <summary>1 while somebody loads. Exchanged.</summary>
    public int IsRunning;

    /// <summary>Counts how often it was begun anew, from 1 on.</summary>
    public int Round = 1;
}
