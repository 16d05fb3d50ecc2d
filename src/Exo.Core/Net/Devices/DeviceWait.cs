// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Net;

/// <summary>Waiting on descriptors and on whoever calls <see cref="Wake"/>: ppoll on them and on an event file.</summary>
internal sealed unsafe class DeviceWait : IDisposable
{
    private readonly SafeFileHandle _event;

    public DeviceWait()
    {
        int fd = Libc.EventFile(0, Libc.EventFdNonBlocking | Libc.EventFdCloseOnExec);
        if (fd < 0)
        {
            throw new IOException($"Cannot make an event file: {Errno.Describe(Errno.Last)}.");
        }

        _event = new SafeFileHandle(fd, ownsHandle: true);
    }

    /// <summary>Blocks until the descriptor is ready or somebody wakes; an error of the descriptor counts as all that was wanted, so that the next call reports it.</summary>
    public NetworkEvents Wait(int descriptor, NetworkEvents wanted, TimeSpan timeout) => Wait([descriptor], wanted, timeout);

    /// <summary>The same for several descriptors, as many as an interface has queues: what one of them is ready for has happened.</summary>
    public NetworkEvents Wait(ReadOnlySpan<int> descriptors, NetworkEvents wanted, TimeSpan timeout)
    {
        short events = 0;
        if ((wanted & NetworkEvents.Receivable) != 0)
        {
            events |= PacketAbi.POLLIN;
        }

        if ((wanted & NetworkEvents.Transmittable) != 0)
        {
            events |= PacketAbi.POLLOUT;
        }

        int wake = (int)_event.DangerousGetHandle();
        PollEntry* entries = stackalloc PollEntry[descriptors.Length + 1];
        for (int i = 0; i < descriptors.Length; i++)
        {
            entries[i] = new PollEntry { Descriptor = descriptors[i], Events = events };
        }

        entries[descriptors.Length] = new PollEntry { Descriptor = wake, Events = PacketAbi.POLLIN };
        bool isForever = timeout < TimeSpan.Zero;
        TimeSpecification time = new()
        {
            Seconds = timeout.Ticks / TimeSpan.TicksPerSecond, Nanoseconds = timeout.Ticks % TimeSpan.TicksPerSecond * 100,
        };
        int ready = Libc.PollPrecisely(entries, (nuint)descriptors.Length + 1, isForever ? null : &time, null);
        if (ready <= 0)
        {
            // Time-out, or a signal: returning early is allowed.
            Invariant.Check(ready == 0 || Errno.Last is Errno.EINTR or Errno.ENOMEM);
            return NetworkEvents.None;
        }

        NetworkEvents happened = NetworkEvents.None;
        if (entries[descriptors.Length].Returned != 0)
        {
            ulong count;
            _ = Libc.Read(wake, &count, sizeof(ulong));
            happened |= NetworkEvents.Woken;
        }

        short returned = 0;
        for (int i = 0; i < descriptors.Length; i++)
        {
            returned |= entries[i].Returned;
        }

        if ((returned & ~(PacketAbi.POLLIN | PacketAbi.POLLOUT)) != 0)
        {
            return happened | wanted;
        }

        if ((returned & PacketAbi.POLLIN) != 0)
        {
            happened |= NetworkEvents.Receivable;
        }

        if ((returned & PacketAbi.POLLOUT) != 0)
        {
            happened |= NetworkEvents.Transmittable;
        }

        return happened;
    }

    /// <summary>Ends a wait, or the next one. From any thread, also while the device is being disposed of.</summary>
    public void Wake()
    {
        bool isHeld = false;
        try
        {
            _event.DangerousAddRef(ref isHeld);
            ulong one = 1;
            _ = Libc.Write((int)_event.DangerousGetHandle(), &one, sizeof(ulong));
        }
        catch (ObjectDisposedException)
        {
            // Nobody waits on a device that is gone.
        }
        finally
        {
            if (isHeld)
            {
                _event.DangerousRelease();
            }
        }
    }

    public void Dispose() => _event.Dispose();
}
