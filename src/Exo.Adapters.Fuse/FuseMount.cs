// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Adapters.Fuse.Mounting;
using Exo.Adapters.Fuse.Session;
using Exo.Core.Linux;
using Exo.FileSystems.CFFS;
using Exo.FileSystems.CFFS.Watching;

namespace Exo.Adapters.Fuse;

/// <summary>
/// A C-FFS volume mounted on a directory: <c>using FuseMount mount = FuseMount.Start(volume, "/mnt", new())</c>. The volume stays the caller's, who may go on using it: the kernel keeps what it
/// has seen, and is told when it is true no more (<see cref="CatchUp"/>). With <see cref="FuseMountOptions.WritebackCache"/> the kernel does not take another length or time of a file that somebody has
/// open there, or that has several names. The mount ends with <see cref="Dispose"/>, <c>umount</c>, <c>fusermount3 -u</c> or the end of the process.
/// <para>Threads of this process must not touch the mount through memory maps: a page fault there would wait for itself.</para>
/// </summary>
public sealed class FuseMount : IDisposable
{
    // How long whoever still uses a detached mount may go on before the connection is cut.
    private static readonly TimeSpan DetachedTimeout = TimeSpan.FromSeconds(5);

    // How long a connection that is over may take to tell every thread.
    private static readonly TimeSpan EndTimeout = TimeSpan.FromSeconds(20);

    private const int ThreadsMax = 512;

    // Queues that a mount has without being asked to: one for each processor that there may be.
    private const int AutomaticQueuesMax = 64;

    private readonly FuseSession _session;
    private readonly FuseInvalidations _invalidations;
    private readonly FusePruning _pruning;
    private readonly WakeAffinity? _affinity;
    private readonly Lock _lock = new();
    private readonly List<int> _descriptors = [];
    private readonly List<Thread> _threads = [];
    private readonly TaskCompletionSource _end = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly ManualResetEventSlim _stop = new();
    private readonly int _connectionNumber;

    // Threads that serve; one is counted from the start for that which serves the device.
    private int _running = 1;
    private int _disposed;

    private FuseMount(CffsVolume volume, string directory, FuseMountOptions options)
    {
        Directory = directory;
        bool isReadOnly = options.ReadOnly || volume.IsReadOnly;
        using FuseRingSwitch? offered = options.Transport == FuseTransport.Device ? null : FuseRingSwitch.TrySwitchOn();
        if (options.Transport == FuseTransport.IoUring && offered is null && !FuseRingSwitch.IsOn)
        {
            throw new IOException("FUSE over io_uring is not there, or cannot be switched on");
        }

        int connection = FuseDevice.Mount(directory, options, isReadOnly);
        _descriptors.Add(connection);
        FuseNotifications notifications = new(connection);
        FuseRing? ring = null;
        _affinity = options.Transport != FuseTransport.Device ? WakeAffinity.TryCreate() : null;
        _session = new FuseSession(
            volume, options.WritebackCache && !isReadOnly, options.ExtendedAttributes, options.FileHandles, !options.NoAccessTimes,
            () => options.Transport != FuseTransport.Device && (ring = FuseRing.TryPrepare(
                _session!, notifications, connection, options.Transport == FuseTransport.IoUring ? int.MaxValue : AutomaticQueuesMax, _affinity, StartThread)) is not null,
            options.AccessControlLists)
        {
            AttributesChanged = node => notifications.InvalidateAttributes(node),
            ListingChanged = node => notifications.Invalidate(node, 0),
        };
        _invalidations = new FuseInvalidations(_session, notifications);
        _pruning = new FusePruning(_session, notifications, _stop);
        try
        {
            // The kernel's first message is FUSE_INIT; until it is answered nobody gets through.
            FuseDeviceWorker? first = null;
            FuseCrew crew = new(
                ThreadsMax,
                crew =>
                {
                    FuseWorker? begun = Interlocked.Exchange(ref first, null);
                    StartThread("exo-fuse", () => begun ?? new FuseDeviceWorker(_session, crew, notifications, CloneOf(connection)));
                });
            first = new FuseDeviceWorker(_session, crew, notifications, connection);
            while (!_session.IsReady)
            {
                if (!first.Step())
                {
                    throw new IOException($"the kernel's FUSE on {directory} is too old");
                }
            }

            // The connection keeps what it was offered.
            offered?.Dispose();
            UsesIoUring = ring is not null;
            ring?.Begin();
            if (ring is null && options.Transport == FuseTransport.IoUring)
            {
                throw new IOException("FUSE over io_uring: the kernel does not offer it, or no ring can be made");
            }

            // Over io_uring the device brings little more than what the kernel forgets.
            FuseMountPoint? point = MountTable.Find(directory);
            _connectionNumber = point?.ConnectionNumber ?? -1;
            if (point is not null)
            {
                FuseDevice.ReadFarAhead(point);
            }

            crew.Start(ring is not null ? 1 : options.Threads > 0 ? options.Threads : Math.Clamp(Environment.ProcessorCount, 2, 8));
            if (Interlocked.Decrement(ref _running) == 0)
            {
                _end.TrySetResult();
            }

            StartBeside("exo-fuse-flush", () => FlushUntilStopped(volume, options.SyncInterval));
            if (_affinity is not null && ring is not null)
            {
                StartBeside("exo-fuse-watch", _affinity.Watch);
            }

            _session.Door.Observe(_invalidations);
            _session.Thin = _pruning.Thin;
            StartBeside("exo-fuse-invalidate", _invalidations.Serve);
        }
        catch
        {
            // Nobody answers any more: what a mount from a block device is asked at its end would wait for ever.
            if (!FuseDevice.Force(directory))
            {
                FuseDevice.Unmount(directory, lazily: true);
            }

            Libc.Close(connection);
            throw;
        }
    }

    /// <summary>Where the volume is mounted: an absolute path.</summary>
    public string Directory { get; }

    /// <summary>Whether messages come over io_uring.</summary>
    public bool UsesIoUring { get; }

    /// <summary>Completes when the mount has ended, by whatever way.</summary>
    public Task Completion => _end.Task;

    /// <summary>How many messages of each kind the kernel has sent so far.</summary>
    public IReadOnlyList<FuseMessageCount> CountMessages() => _session.Messages.Snapshot();

    /// <summary>
    /// Waits until everything that was changed through the volume before this call, and not through the mount, shows in the mount. It does so shortly after each change anyway. Not to be called
    /// by somebody on whom the mount's users wait.
    /// </summary>
    public void CatchUp() => _invalidations.CatchUp();

    /// <summary>
    /// Has the kernel send what it holds of writes to the mount: with <see cref="FuseMountOptions.WritebackCache"/> any, else those through memory maps. What follows through the volume (a snapshot, say) has them then.
    /// Not to be called by somebody on whom the mount's users wait.
    /// </summary>
    public void WriteBack() => FuseDevice.WriteBack(Directory);

    /// <summary>The C-FFS volumes that are mounted, by whatever process, as this process sees the tree.</summary>
    /// <exception cref="IOException">The kernel's table of mounts cannot be read.</exception>
    public static IReadOnlyList<FuseMountPoint> ListMounts() => MountTable.List();

    /// <summary>Mounts. When it returns, the mount works.</summary>
    /// <exception cref="IOException">The directory does not exist, FUSE is not there, or the right to mount is missing.</exception>
    public static FuseMount Start(CffsVolume volume, string directory, FuseMountOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(volume);
        ArgumentException.ThrowIfNullOrEmpty(directory);
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(directory));
        if (!System.IO.Directory.Exists(full))
        {
            throw new DirectoryNotFoundException($"{directory}: no such directory");
        }

        return new FuseMount(volume, full, options ?? new FuseMountOptions());
    }

    /// <summary>Ends a mount that this or another process serves.</summary>
    /// <param name="directory">Where it is mounted.</param>
    /// <param name="lazily">Take it out of the tree at once although it is in use; it ends with its last user.</param>
    /// <returns>What was mounted there (<see cref="FuseMountOptions.Source"/>).</returns>
    /// <exception cref="IOException">Nothing of this kind is mounted there, it is in use, or the right is missing.</exception>
    public static string Unmount(string directory, bool lazily = false)
    {
        ArgumentException.ThrowIfNullOrEmpty(directory);
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(directory));
        string source = MountTable.Find(full)?.Source ?? throw new IOException($"{directory}: no C-FFS volume is mounted there");
        return FuseDevice.Unmount(full, lazily) is { } why ? throw new IOException(why) : source;
    }

    /// <summary>
    /// Unmounts. If the mount is in use, what was written to it is taken in, its users get errors from then on, and it is taken away; for an ordinary user without the right to that,
    /// it is detached, its users get a few seconds, and the connection is cut through the kernel's control file system. Every change that was answered is in the volume when this returns.
    /// </summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        if (!Completion.IsCompleted && FuseDevice.Unmount(Directory, lazily: false) is not null && !FuseDevice.CutOff(Directory))
        {
            FuseDevice.Unmount(Directory, lazily: true);
            if (!_end.Task.ContinueWith(_ => { }, TaskScheduler.Default).Wait(DetachedTimeout))
            {
                Abort();
            }
        }

        _stop.Set();
        _affinity?.End();
        _session.Door.EndObserving(_invalidations);
        _invalidations.End();
        bool ended = true;
        foreach (Thread thread in Threads())
        {
            ended &= thread.Join(EndTimeout);
        }

        if (!ended)
        {
            // Somebody keeps a detached mount that this user has no right to cut off: its threads serve it until the process ends.
            return;
        }

        foreach (int descriptor in _descriptors)
        {
            Libc.Close(descriptor);
        }

        _session.End();
        _stop.Dispose();
    }

    /// <summary>Cuts the connection: whoever waits for an answer gets an error.</summary>
    private void Abort()
    {
        try
        {
            File.WriteAllText(string.Create(CultureInfo.InvariantCulture, $"/sys/fs/fuse/connections/{_connectionNumber}/abort"), "1");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Without the control file system the users of the mount decide how long it lasts.
        }
    }

    private Thread[] Threads()
    {
        lock (_lock)
        {
            return [.. _threads];
        }
    }

    private int CloneOf(int connection)
    {
        int clone = FuseDevice.Clone(connection);
        if (clone < 0)
        {
            return connection;
        }

        lock (_lock)
        {
            _descriptors.Add(clone);
        }

        return clone;
    }

    /// <summary>Starts a thread that makes a worker, if it can, and serves until no more messages come.</summary>
    private void StartThread(string name, Func<FuseWorker?> make)
    {
        Interlocked.Increment(ref _running);
        Thread thread = new(() => Serve(make)) { IsBackground = true, Name = name };
        lock (_lock)
        {
            _threads.Add(thread);
        }

        thread.Start();
    }

    /// <summary>Starts a thread that serves no messages.</summary>
    private void StartBeside(string name, Action run)
    {
        Thread thread = new(() => run()) { IsBackground = true, Name = name };
        lock (_lock)
        {
            _threads.Add(thread);
        }

        thread.Start();
    }

    private void Serve(Func<FuseWorker?> make)
    {
        FuseWorker? worker = null;

        // What these threads change the kernel has asked for: it knows.
        ChangeFeed.ActFor(_invalidations);
        bool ended = ServeUntilBroken(() => (worker ??= make())?.Step() ?? false);
        worker?.Dispose();
        if (ended && Interlocked.Decrement(ref _running) == 0)
        {
            _end.TrySetResult();
        }
    }

    /// <summary>Repeats a step until it says that it was the last. False when it was broken off by an error.</summary>
    private bool ServeUntilBroken(Func<bool> step)
    {
        try
        {
            while (step())
            {
            }

            return true;
        }
        catch (Exception broken)
        {
            // A bug. Nothing can be trusted any more: the mount ends, whoever uses it gets errors, and whoever waits for its end is told.
            _end.TrySetException(broken);
            if (!FuseDevice.Force(Directory))
            {
                FuseDevice.Unmount(Directory, lazily: true);
                Abort();
            }

            return false;
        }
    }

    private void FlushUntilStopped(CffsVolume volume, TimeSpan interval)
    {
        while (!_stop.Wait(interval))
        {
            if (_session.TakeChanges() && !volume.IsReadOnly)
            {
                try
                {
                    volume.Sync();
                }
                catch (IOException)
                {
                    // What could not be written stays dirty: the next round, fsync or unmount tries again and reports.
                }
                catch (ObjectDisposedException)
                {
                    // Closed while it is mounted: closing has made everything durable.
                    return;
                }
            }
        }
    }
}
