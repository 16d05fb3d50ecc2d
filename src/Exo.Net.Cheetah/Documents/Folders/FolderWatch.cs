// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Exo.Core.Linux;
using Exo.Net.Cheetah.Http;
using Microsoft.Win32.SafeHandles;

namespace Exo.Net.Cheetah.Folders;

/// <summary>
/// Hears by inotify(7) what changes in a folder, on a thread of its own, so that nobody who asks whether something still holds asks the kernel.
/// <code>
///   directories, all of them    a name comes, goes, moves; permissions of a directory    Names rises
///                               or of what may be a variant of a document
///   files that are documents    contents, permissions, under whatever name               WatchedFile.Version rises
/// </code>
/// A lookup reads <see cref="Names"/> before it opens anything, and is stale once that has risen. A new directory is watched, and its subdirectories looked for, before <see cref="Names"/>
/// rises for the second time: so who looked a name up while nobody watched it is stale. When the kernel had no room for its news, all is stale and every directory is visited again. While there is
/// a directory that cannot be watched nothing is ever current.
/// </summary>
internal sealed unsafe class FolderWatch : IDisposable
{
    private const uint DirectoryEvents = FolderAbi.IN_CREATE | FolderAbi.IN_DELETE | FolderAbi.IN_MOVED_FROM | FolderAbi.IN_MOVED_TO | FolderAbi.IN_ATTRIB
        | FolderAbi.IN_DELETE_SELF | FolderAbi.IN_MOVE_SELF | FolderAbi.IN_ONLYDIR;

    private const uint FileEvents = FolderAbi.IN_MODIFY | FolderAbi.IN_ATTRIB;

    private const uint NameEvents = FolderAbi.IN_CREATE | FolderAbi.IN_DELETE | FolderAbi.IN_MOVED_FROM | FolderAbi.IN_MOVED_TO | FolderAbi.IN_DELETE_SELF
        | FolderAbi.IN_MOVE_SELF | FolderAbi.IN_UNMOUNT | FolderAbi.IN_IGNORED;

    // How soon another attempt is made to watch what could not be.
    private const int BlindRetryMs = 10_000;

    private readonly FolderRoot root;
    private readonly int watchesMax;
    private readonly int notify;
    private readonly int stop;
    private readonly Thread? thread;

    // Guards the maps, what is watched, and news on the way from the kernel into them.
    private readonly Lock gate = new();
    private readonly Dictionary<int, byte[]> directories = [];
    private readonly Dictionary<int, WatchedFile> files = [];
    private bool isDisposed;

    private readonly DocumentChanges changes = new();
    private long names;
    private volatile bool isBlind = true;

    public FolderWatch(FolderRoot root, int watchesMax)
    {
        this.root = root;
        this.watchesMax = watchesMax;
        notify = Libc.NotifyOpen(FolderAbi.IN_NONBLOCK | FolderAbi.IN_CLOEXEC);
        stop = notify < 0 ? -1 : Libc.EventFile(0, Libc.EventFdNonBlocking | Libc.EventFdCloseOnExec);
        if (stop >= 0)
        {
            thread = new Thread(Run) { Name = "exo folder watch", IsBackground = true };
            thread.Start();
        }
    }

    /// <summary>Rises with every change of names; negative while not all directories are watched.</summary>
    public long Names => isBlind ? -1 : Volatile.Read(ref names);

    /// <summary>
    /// Told before a version here rises. What is answered with elsewhere so ceases to hold at the moment when it would here: when the kernel's news is taken in. What is not watched any more would never cease, so its end is told, too.
    /// </summary>
    public DocumentChanges Changes => changes;

    /// <summary>Held while news is taken in.</summary>
    internal Lock Gate => gate;

    /// <summary>Whether what was looked up when <see cref="Names"/> was <paramref name="seen"/> is what would be found now.</summary>
    public bool HasKept(long seen) => seen >= 0 && seen == Volatile.Read(ref names);

    /// <summary>Watches an open file. Null when there is no watch to be had.</summary>
    public WatchedFile? Watch(SafeFileHandle file)
    {
        lock (gate)
        {
            int watch = Add(FolderRoot.ProcessPath(file), FileEvents);
            if (watch < 0)
            {
                return null;
            }

            ref WatchedFile? watched = ref CollectionsMarshal.GetValueRefOrAddDefault(files, watch, out _);
            watched ??= new WatchedFile(watch);
            watched.Users++;
            return watched;
        }
    }

    /// <summary>One user less.</summary>
    public void Release(WatchedFile file)
    {
        lock (gate)
        {
            if (--file.Users == 0 && !isDisposed && files.TryGetValue(file.Watch, out WatchedFile? known) && known == file)
            {
                changes.Begin();
                files.Remove(file.Watch);
                _ = Libc.NotifyRemove(notify, file.Watch);
                changes.End();
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (thread is not null)
        {
            ulong one = 1;
            _ = Libc.Write(stop, &one, sizeof(ulong));
            thread.Join();
        }

        lock (gate)
        {
            isDisposed = true;
            isBlind = true;
            Rise();
            foreach (int fd in (ReadOnlySpan<int>)[notify, stop])
            {
                if (fd >= 0)
                {
                    _ = Libc.Close(fd);
                }
            }
        }
    }

    private void Run()
    {
        VisitAll();
        byte[] news = GC.AllocateUninitializedArray<byte>(1 << 16, pinned: true);
        PollEntry* waits = stackalloc PollEntry[2];
        waits[0] = new PollEntry { Descriptor = notify, Events = UserFaultAbi.POLLIN };
        waits[1] = new PollEntry { Descriptor = stop, Events = UserFaultAbi.POLLIN };
        while (true)
        {
            int ready = Libc.Poll(waits, 2, isBlind ? BlindRetryMs : -1);
            if (ready > 0 && waits[1].Returned != 0)
            {
                return;
            }

            if (ready == 0)
            {
                VisitAll();
            }
            else if (ready > 0)
            {
                TakeIn(news);
            }
        }
    }

    private void Rise()
    {
        changes.Begin();
        Interlocked.Increment(ref names);
        changes.End();
    }

    private void TakeIn(byte[] news)
    {
        changes.Begin();
        try
        {
            TakeInAnnounced(news);
        }
        finally
        {
            changes.End();
        }
    }

    private void TakeInAnnounced(byte[] news)
    {
        List<byte[]> visits = [];
        bool isOverflow = false, haveNames = false;
        lock (gate)
        {
            // Under the lock from the kernel's queue on: a watch that is removed and made again has another number, but news of a file must not overtake that it is watched.
            int lengthBytes;
            fixed (byte* room = news)
            {
                lengthBytes = (int)Libc.Read(notify, room, (nuint)news.Length);
            }

            for (ReadOnlySpan<byte> rest = news.AsSpan(0, Math.Max(0, lengthBytes)); !rest.IsEmpty;)
            {
                NotifyEvent item = MemoryMarshal.Read<NotifyEvent>(rest);
                ReadOnlySpan<byte> name = rest.Slice(sizeof(NotifyEvent), (int)item.NameBytes);
                rest = rest[(sizeof(NotifyEvent) + name.Length)..];
                if ((item.Mask & FolderAbi.IN_Q_OVERFLOW) != 0)
                {
                    isOverflow = true;
                }
                else if (files.TryGetValue(item.Watch, out WatchedFile? file))
                {
                    file.Change();
                    if ((item.Mask & FolderAbi.IN_IGNORED) != 0)
                    {
                        files.Remove(item.Watch);
                    }
                }
                else if (directories.TryGetValue(item.Watch, out byte[]? path))
                {
                    bool isDirectory = (item.Mask & FolderAbi.IN_ISDIR) != 0;
                    haveNames |= (item.Mask & NameEvents) != 0 || isDirectory || ContentCoding.OfPath(name.TrimEnd((byte)0)) is not null;   // the last: it may be read now
                    if ((item.Mask & FolderAbi.IN_IGNORED) != 0)
                    {
                        directories.Remove(item.Watch);
                    }
                    else if (isDirectory && (item.Mask & (FolderAbi.IN_CREATE | FolderAbi.IN_MOVED_TO | FolderAbi.IN_ATTRIB)) != 0)
                    {
                        name = name[..Math.Max(0, name.IndexOf((byte)0))];
                        visits.Add(name.IsEmpty ? path : Join(path, name));
                    }
                }
            }

            if (isOverflow)
            {
                foreach (WatchedFile file in files.Values)
                {
                    file.Change();
                }
            }
        }

        if (isOverflow)
        {
            Rise();
            VisitAll();
        }
        else if (haveNames)
        {
            Rise();
            bool all = true;
            foreach (byte[] path in visits)
            {
                all &= TryVisit(path);
            }

            isBlind |= !all;
            if (visits.Count > 0)
            {
                Rise();
            }
        }
    }

    private void VisitAll()
    {
        lock (gate)
        {
            directories.Clear();   // also of those of whose going no news came
        }

        bool all = TryVisit("."u8.ToArray());
        Rise();
        isBlind = !all;
    }

    // Watches a directory and all below it; each is watched before its names are read, so none that comes meanwhile is missed. One that has gone meanwhile is missed by nobody: of its going there is news.
    private bool TryVisit(byte[] first)
    {
        Stack<byte[]> paths = new([first]);
        byte[] room = GC.AllocateUninitializedArray<byte>(1 << 15, pinned: true);
        bool all = true;
        while (paths.TryPop(out byte[]? path))
        {
            using SafeFileHandle? directory = root.TryOpen(path, Abi.O_RDONLY | Abi.O_DIRECTORY | FileAbi.O_NONBLOCK, FolderAbi.RESOLVE_NO_SYMLINKS, out int errno);
            if (directory is null)
            {
                all &= errno is Errno.ENOENT or Errno.ENOTDIR or Errno.ELOOP || (errno == Errno.EACCES && !CanBePassed(path));
                continue;
            }

            lock (gate)
            {
                int watch = Add(FolderRoot.ProcessPath(directory), DirectoryEvents);
                if (watch < 0)
                {
                    return false;
                }

                directories[watch] = path;
            }

            all &= TryReadNames(directory, room, path, paths);
        }

        return all;
    }

    private bool TryReadNames(SafeFileHandle directory, byte[] room, byte[] path, Stack<byte[]> paths)
    {
        const int RecordHeaderBytes = 19;   // ino u64, offset s64, length u16, type u8, then the name
        while (true)
        {
            int lengthBytes;
            fixed (byte* start = room)
            {
                lengthBytes = (int)Libc.ReadDirectory((int)directory.DangerousGetHandle(), start, (nuint)room.Length);
            }

            if (lengthBytes <= 0)
            {
                return lengthBytes == 0 || Errno.Last == Errno.ENOENT;
            }

            for (ReadOnlySpan<byte> records = room.AsSpan(0, lengthBytes); !records.IsEmpty;)
            {
                int recordBytes = BinaryPrimitives.ReadUInt16LittleEndian(records[16..]);
                ReadOnlySpan<byte> name = records[RecordHeaderBytes..recordBytes];
                name = name[..name.IndexOf((byte)0)];
                if (records[18] is FolderAbi.DT_DIR or FolderAbi.DT_UNKNOWN && !name.SequenceEqual("."u8) && !name.SequenceEqual(".."u8))
                {
                    paths.Push(Join(path, name));
                }

                records = records[recordBytes..];
            }
        }
    }

    // Names in a directory that may be used and not be listed can be served and not be watched.
    private bool CanBePassed(byte[] path)
    {
        using SafeFileHandle? inside = root.TryOpen(Join(path, "."u8), FolderAbi.O_PATH, FolderAbi.RESOLVE_NO_SYMLINKS, out _);
        return inside is not null;
    }

    private int Add(byte[] path, uint events)
    {
        if (isDisposed || notify < 0)
        {
            return -1;
        }

        int watch;
        fixed (byte* name = path)
        {
            watch = Libc.NotifyAdd(notify, name, events);
        }

        bool isNew = watch >= 0 && !directories.ContainsKey(watch) && !files.ContainsKey(watch);
        if (isNew && directories.Count + files.Count >= watchesMax)
        {
            _ = Libc.NotifyRemove(notify, watch);
            return -1;
        }

        return watch;
    }

    private static byte[] Join(byte[] path, ReadOnlySpan<byte> name) => [.. path, (byte)'/', .. name];
}
