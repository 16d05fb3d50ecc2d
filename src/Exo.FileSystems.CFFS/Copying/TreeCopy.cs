// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS.Copying;

/// <summary>
/// Copies a tree as the papers' <c>xcp</c> did: one thread reads ahead in the order of the disk (<see cref="CopyReader"/>), this one makes the copies, and what it has made goes to the disk
/// meanwhile. Small files are made whole, one change of one sector each. The copy grows in the orphan directory and gets its name when all of it is durable: a crash leaves all of it or nothing.
/// </summary>
internal sealed class TreeCopy(VolumeCore from, VolumeCore to, bool sharesContents, IProgress<CffsCopyReport>? progress, CancellationToken cancellation)
{
    private const int StepsPerReport = 1024;

    // After so much is made it begins to go to the disk; a quarter of the cache where that is less.
    private const long WriteBehindBytes = 64L << 20;

    private readonly byte[] _buffer = GC.AllocateUninitializedArray<byte>(256 * FramePool.FrameBytes);
    private readonly Dictionary<ulong, Inode> _linked = [];
    private readonly List<Inode> _held = [];
    private Task _writingBehind = Task.CompletedTask;
    private long _unwritten;
    private (Inode Source, Inode Target, bool IsKept)? _file;
    private long _directories;
    private long _files;
    private long _others;
    private long _links;
    private long _bytes;
    private long _sharedBytes;

    private bool IsSameVolume => from == to;

    public CffsCopyReport Report => new(_directories, _files, _others, _links, _bytes, _sharedBytes);

    /// <summary>Copies everything below a directory, which the caller holds, to a new name. It is durable when this returns.</summary>
    public void Run(Inode source, Inode directory, ReadOnlyMemory<byte> name)
    {
        to.Names.RequireNewAsync(directory, name, CffsIdentity.Superuser, IoMode.Sync).Take();
        Inode root = to.Names.CreateHiddenAsync(IoMode.Sync).Take();
        bool isShown = false;
        try
        {
            Copy(source, root);
            to.Committer.SyncAsync(IoMode.Sync).Take();
            to.Names.ShowAsync(root, directory, name, CffsIdentity.Superuser, IoMode.Sync).Take();
            isShown = true;
            to.Committer.SyncAsync(IoMode.Sync).Take();
            progress?.Report(Report);
        }
        finally
        {
            try
            {
                if (!isShown)
                {
                    to.Names.DropTreeAsync(root, IoMode.Sync).Take();
                }
            }
            finally
            {
                to.Inodes.Release(root);
            }
        }
    }

    private void Copy(Inode source, Inode root)
    {
        int blocksMax = Math.Min(from.Cache.Frames.FrameCount, to.Cache.Frames.FrameCount) / 8;
        CopyQueue queue = new(blocksMax);
        CopyReader reader = new(from, queue, IsClonedWhole, inode => (IsSameVolume && inode == root) || (inode.IsFrozen && !source.IsFrozen));
        from.Inodes.Hold(source);
        to.Inodes.Hold(root);
        CopiedDirectory top = new(source) { Target = root };
        HashSet<CopiedDirectory> open = [top];
        Thread reading = new(() => reader.Read(top)) { IsBackground = true, Name = "exo-copy-read" };
        reading.Start();
        try
        {
            for (int step = 1; queue.TryTake(out CopyStep next); step++)
            {
                cancellation.ThrowIfCancellationRequested();
                Do(next, open);
                if (step % StepsPerReport == 0)
                {
                    progress?.Report(Report);
                }
            }
        }
        finally
        {
            foreach (CopyStep left in queue.Abandon().Where(step => step.Source is not null))
            {
                from.Inodes.Release(left.Source!);
            }

            reading.Join();
            EndFile();
            foreach (CopiedDirectory directory in open)
            {
                Close(directory);
            }

            _held.ForEach(to.Inodes.Release);
            _writingBehind.ContinueWith(_ => { }, TaskScheduler.Default).Wait(CancellationToken.None);
        }

        // What could not be written stays dirty; the sync that follows tries again and says so.
    }

    private void Do(in CopyStep step, HashSet<CopiedDirectory> open)
    {
        switch (step.Kind)
        {
            case CopyStepKind.Entry when step.Below is { } below:
                open.Add(below);
                below.Target = Make(step, ModeBits.Directory | 0x1C0, 0, default);
                break;
            case CopyStepKind.Entry:
                try
                {
                    CopyEntry(step, step.Source!);
                }
                finally
                {
                    from.Inodes.Release(step.Source!);
                }

                break;
            case CopyStepKind.Range:
                CopyRange(step.Offset, step.LengthBytes);
                break;
            case CopyStepKind.FileEnd:
                FinishFile();
                break;
            default:
                Finish(step.Directory.Source, step.Directory.Target!);
                open.Remove(step.Directory);
                Close(step.Directory);
                _directories++;
                break;
        }
    }

    private void Close(CopiedDirectory directory)
    {
        from.Inodes.Release(directory.Source);
        if (directory.Target is not null)
        {
            to.Inodes.Release(directory.Target);
        }
    }

    private void CopyEntry(in CopyStep step, Inode source)
    {
        Record record = CopyReader.RecordOf(from, source);
        bool hasSeveralNames = record.Links > 1;
        if (hasSeveralNames && _linked.TryGetValue(source.Number, out Inode? known))
        {
            to.Names.LinkAsync(known, step.Directory.Target!, step.Name, CffsIdentity.Superuser, IoMode.Sync).Take();
            Touch(CopiedAttributes.Of(record), known);
            _links++;
            return;
        }

        if (!hasSeveralNames && record.Attributes == 0 && !step.HasRanges && CopyReader.IsSmall(record) && TryCopyWhole(step, source))
        {
            _files++;
            return;
        }

        switch (record.Kind)
        {
            case SlotKind.File:
                Inode file = Make(step, ModeBits.File | 0x180, 0, default);
                _file = (source, file, hasSeveralNames);
                from.Inodes.Hold(source);
                Remember(hasSeveralNames, source, file);
                _files++;
                if (!step.HasRanges)
                {
                    CopyAtOnce(source, file);
                    FinishFile();
                }

                break;
            case SlotKind.SymbolicLink:
                Inode link = Make(step, record.Mode, 0, from.Files.ReadLinkAsync(source, IoMode.Sync).Take());
                FinishOther(hasSeveralNames, source, link);
                break;
            case SlotKind.Special:
                FinishOther(hasSeveralNames, source, Make(step, record.Mode, record.Start, default));
                break;
            default:
                throw new CffsException(CffsError.Corrupt, $"inode {source.Number} is of no known kind");
        }
    }

    private void FinishOther(bool hasSeveralNames, Inode source, Inode copy)
    {
        Finish(source, copy);
        if (!Remember(hasSeveralNames, source, copy))
        {
            to.Inodes.Release(copy);
        }

        _others++;
    }

    /// <summary>Keeps, and goes on holding, the copy of what has more names to come.</summary>
    private bool Remember(bool hasSeveralNames, Inode source, Inode copy)
    {
        if (hasSeveralNames)
        {
            _linked.Add(source.Number, copy);
            _held.Add(copy);
        }

        return hasSeveralNames;
    }

    private Inode Make(in CopyStep step, int mode, ulong device, ReadOnlyMemory<byte> target)
    {
        (Inode made, bool _) = to.Names.CreateWithContentsAsync(
            step.Directory.Target!, step.Name, (ushort)mode, device, target, exclusive: true, CffsIdentity.Superuser, IoMode.Sync).Take();
        return made;
    }

    private bool TryCopyWhole(in CopyStep step, Inode source)
    {
        CopiedAttributes attributes;
        int length;
        source.Lock.Enter();
        try
        {
            attributes = CopiedAttributes.Of(source.Record);
            if (source.IsRemoved || !CopyReader.IsSmall(source.Record))
            {
                return false;
            }

            length = from.Files.ReadAsync(source, 0, _buffer.AsMemory(0, (int)source.Record.Size), IoMode.Sync).Take();
        }
        finally
        {
            source.Lock.Exit();
        }

        if (!to.Names.TryCreateWholeAsync(
            step.Directory.Target!, step.Name, attributes.Permissions, _buffer.AsMemory(0, length), CffsIdentity.Trusted(attributes.User, attributes.Group), IoMode.Sync, attributes).Take())
        {
            return false;
        }

        _bytes += length;
        Wrote(length);
        return true;
    }

    private bool IsClonedWhole(Inode source) => IsSameVolume && sharesContents && to.Templates.SharesData && source.Record.Size > 0;

    private void CopyAtOnce(Inode source, Inode target)
    {
        if (CopyReader.IsSmall(source.Record) || !IsClonedWhole(source))
        {
            long size = (long)source.Record.Size;
            for (long offset = 0; offset < size; offset += _buffer.Length)
            {
                CopyRange(offset, _buffer.Length);
            }

            return;
        }

        _sharedBytes += CffsVolume.CloneAsync(to, source, 0, target, 0, long.MaxValue, keepsSetId: null, IoMode.Sync).Take();
    }

    private void CopyRange(long offset, int lengthBytes)
    {
        if (_file is not { Source: var source, Target: var target })
        {
            // It had got another name meanwhile, under which it has been copied.
            return;
        }

        int length;
        source.Lock.Enter();
        try
        {
            length = source.IsRemoved ? 0 : from.Files.ReadAsync(source, offset, _buffer.AsMemory(0, lengthBytes), IoMode.Sync).Take();
        }
        finally
        {
            source.Lock.Exit();
        }

        target.Lock.Enter();
        try
        {
            to.BeginWritingAsync(IoMode.Sync).Take();
            to.Files.WriteAsync(target, offset, _buffer.AsMemory(0, length), IoMode.Sync).Take();
        }
        finally
        {
            target.Lock.Exit();
        }

        _bytes += length;
        Wrote(length);
    }

    private void FinishFile()
    {
        if (_file is not { Source: var source, Target: var target })
        {
            return;
        }

        target.Lock.Enter();
        try
        {
            // Holes at the end.
            if (target.Record.Size < source.Record.Size)
            {
                to.Files.SetLengthAsync(target, (long)source.Record.Size, IoMode.Sync).Take();
            }
        }
        finally
        {
            target.Lock.Exit();
        }

        Finish(source, target);
        EndFile();
    }

    private void EndFile()
    {
        if (_file is { } file)
        {
            from.Inodes.Release(file.Source);
            if (!file.IsKept)
            {
                to.Inodes.Release(file.Target);
            }

            _file = null;
        }
    }

    /// <summary>Gives a copy its original's attributes, when nothing else about it changes any more.</summary>
    private void Finish(Inode source, Inode target)
    {
        if (source.Record.Attributes != 0 && source.Record.Kind != SlotKind.Special)
        {
            CopyExtendedAttributes(source, target);
        }

        Touch(CopiedAttributes.Of(CopyReader.RecordOf(from, source)), target);
    }

    private void Touch(in CopiedAttributes attributes, Inode target)
    {
        target.Lock.Enter();
        try
        {
            lock (to.Metadata)
            {
                attributes.ApplyTo(ref target.Record);
                to.Committer.AddDirty(target);
            }
        }
        finally
        {
            target.Lock.Exit();
        }
    }

    private void CopyExtendedAttributes(Inode source, Inode target)
    {
        List<(byte[] Name, byte[] Value)> attributes = [];
        source.Lock.Enter();
        try
        {
            foreach (byte[] name in from.Attributes.ListAsync(source, IoMode.Sync).Take())
            {
                if (from.Attributes.GetAsync(source, name, IoMode.Sync).Take() is { } value)
                {
                    attributes.Add((name, value));
                }
            }
        }
        finally
        {
            source.Lock.Exit();
        }

        target.Lock.Enter();
        try
        {
            foreach ((byte[] name, byte[] value) in attributes)
            {
                to.Attributes.SetAsync(target, name, (ReadOnlyMemory<byte>)value, CffsAttributeSet.Always, IoMode.Sync).Take();
            }
        }
        finally
        {
            target.Lock.Exit();
        }
    }

    /// <summary>Lets what has been made go to the disk while more is read and made.</summary>
    private void Wrote(int lengthBytes)
    {
        _unwritten += lengthBytes;
        if (_unwritten >= Math.Min(WriteBehindBytes, (long)to.Cache.Frames.FrameCount * FramePool.FrameBytes / 4) && _writingBehind.IsCompleted)
        {
            _unwritten = 0;
            _writingBehind = Task.Run(() => to.Committer.SyncAsync(IoMode.Sync).Take(), CancellationToken.None);
        }
    }
}
