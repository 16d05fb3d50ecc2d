// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Core.Linux;
using Exo.Core.Memory;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.AddressSpaces;

/// <summary>
/// Virtual memory that the processor and the kernel translate as the table says: a reserved range of which every page either leads to the frame bound to it or faults to whoever reads <see cref="TryReceive"/>.
/// <code>
/// page in the table        mapping of the page in the window                           page-table entry
/// never bound              anonymous, registered MISSING | WP                          none: a touch is delivered
/// bound, takes writes      the frame's 4 KiB of the memory file, MISSING | MINOR | WP  present
/// bound, does not          the same                                                    present, write-protected
/// unbound again            the same as before                                          none: a touch is delivered (MINOR)
/// </code>
/// Taking a page away only clears its page-table entry, so there is no moment at which a touch would find something else than the frame or a fault. Only a page that gets another frame than the
/// one it had last is mapped anew; while that is done it is readable, and a thread that writes to it at that moment without having the right is refused by a signal instead of a fault.
/// </summary>
/// <remarks>Guarded by the lock of the space, but for <see cref="TryReceive"/> and <see cref="Wait"/>.</remarks>
internal sealed unsafe class PageWindow : IDisposable
{
    private const ulong NeededFeatures = UserFaultAbi.UFFD_FEATURE_PAGEFAULT_FLAG_WP | UserFaultAbi.UFFD_FEATURE_MINOR_SHMEM
        | UserFaultAbi.UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UserFaultAbi.UFFD_FEATURE_POISON;

    // A page that was never mapped, and one whose mapping must not be kept.
    private const uint NoFrame = uint.MaxValue;
    private const uint MapAnew = uint.MaxValue - 1;

    private readonly FramePool _frames;
    private readonly MappedRegion _region;
    private readonly SafeFileHandle _faults;
    private readonly SafeFileHandle _wake;

    // Which frame's bytes the mapping of each page is of, whether or not there is a page-table entry.
    private readonly uint[] _mapped;

    private PageWindow(FramePool frames, MappedRegion region, SafeFileHandle faults, SafeFileHandle wake, bool seesKernel)
    {
        _frames = frames;
        _region = region;
        _faults = faults;
        _wake = wake;
        SeesKernel = seesKernel;
        _mapped = new uint[region.LengthBytes / FramePool.FrameBytes];
        _mapped.AsSpan().Fill(NoFrame);
    }

    /// <summary>First byte.</summary>
    public nint Address => _region.Address;

    /// <summary>Whether a fault of the kernel in the name of this process (a read into the window) is delivered too, or fails with EFAULT.</summary>
    public bool SeesKernel { get; }

    /// <summary>Reserves a window. Null, with the reason, where the system has no such faults for us.</summary>
    public static PageWindow? TryReserve(FramePool frames, long lengthBytes, out string whyNot)
    {
        bool seesKernel = true;
        int fd = Libc.UserFaultOpen(Abi.O_CLOEXEC | UserFaultAbi.O_NONBLOCK);
        if (fd < 0)
        {
            seesKernel = false;
            fd = Libc.UserFaultOpen(Abi.O_CLOEXEC | UserFaultAbi.O_NONBLOCK | UserFaultAbi.UFFD_USER_MODE_ONLY);
        }

        if (fd < 0)
        {
            whyNot = $"userfaultfd: {Errno.Describe(Errno.Last)}";
            return null;
        }

        var faults = new SafeFileHandle(fd, ownsHandle: true);
        SafeFileHandle? wake = null;
        MappedRegion? region = null;
        try
        {
            UserFaultFeatures features = new() { Api = UserFaultAbi.UFFD_API, Features = NeededFeatures };
            if (Libc.IoControl(fd, UserFaultAbi.UFFDIO_API, &features) != 0)
            {
                whyNot = "this kernel's userfaultfd cannot write-protect or trap pages of memory files";
                return null;
            }

            int eventFile = Libc.EventFile(0, Abi.O_CLOEXEC | UserFaultAbi.O_NONBLOCK);
            if (eventFile < 0)
            {
                throw new IOException($"Cannot make an event: {Errno.Describe(Errno.Last)}.");
            }

            wake = new SafeFileHandle(eventFile, ownsHandle: true);
            region = MappedRegion.Anonymous(lengthBytes);
            region.DoNotFork();
            PageWindow window = new(frames, region, faults, wake, seesKernel);
            window.Register(0, (int)(lengthBytes / FramePool.FrameBytes), UserFaultAbi.UFFDIO_REGISTER_MODE_MISSING | UserFaultAbi.UFFDIO_REGISTER_MODE_WP);
            faults = null;
            wake = null;
            region = null;
            whyNot = "";
            return window;
        }
        finally
        {
            region?.Dispose();
            wake?.Dispose();
            faults?.Dispose();
        }
    }

    /// <summary>
    /// Lets pages lead to frames that follow one another, and lets who waits for them go on; lazily: their first touch still faults (MINOR). What they led to before has been taken away (<see cref="Clear"/>), or are the same frames.
    /// </summary>
    /// <exception cref="IOException">The kernel refused: too many separate pieces (vm.max_map_count) or no memory. Nothing but the mapping of these pages is undefined: they fault.</exception>
    public void Set(int firstPage, FrameNumber firstFrame, int count, bool takesWrites, bool isLazy)
    {
        for (int done = 0; done < count;)
        {
            int run = 1;
            bool isSame = _mapped[firstPage + done] == firstFrame.Value + (uint)done;
            while (done + run < count && (_mapped[firstPage + done + run] == firstFrame.Value + (uint)(done + run)) == isSame)
            {
                run++;
            }

            if (!isSame)
            {
                Map(firstPage + done, new FrameNumber(firstFrame.Value + (uint)done), run, takesWrites);
            }

            done += run;
        }

        if (!isLazy)
        {
            Populate(firstPage, firstFrame, count, takesWrites);
            Wake(firstPage, count);
        }
    }

    /// <summary>Forbids or permits writes to pages that are set. Permitting lets who waits go on.</summary>
    public void Protect(int firstPage, int count, bool takesWrites)
    {
        UserFaultRequest request = new() { Range = Range(firstPage, count), Mode = takesWrites ? 0 : UserFaultAbi.UFFDIO_WRITEPROTECT_MODE_WP };
        Call(UserFaultAbi.UFFDIO_WRITEPROTECT, &request, "protect");
    }

    /// <summary>From here on a touch of these pages faults.</summary>
    public void Clear(int firstPage, int count)
    {
        for (int done = 0; done < count;)
        {
            // What was never bound is anonymous: nothing to clear, and clearing it would be a call for nothing.
            int run = 1;
            bool isMapped = _mapped[firstPage + done] != NoFrame;
            while (done + run < count && (_mapped[firstPage + done + run] != NoFrame) == isMapped)
            {
                run++;
            }

            if (isMapped)
            {
                int result = Libc.MemoryAdvise(At(firstPage + done), (nuint)run * FramePool.FrameBytes, Abi.MADV_DONTNEED);
                Invariant.Check(result == 0);
            }

            done += run;
        }
    }

    /// <summary>Lets go on who waits for a page: it looks again.</summary>
    public void Wake(int firstPage, int count)
    {
        UserFaultRange range = Range(firstPage, count);
        int result = Libc.IoControl(Descriptor(_faults), UserFaultAbi.UFFDIO_WAKE, &range);
        Invariant.Check(result == 0);
    }

    /// <summary>
    /// Refuses an access: whoever waits for it gets what an access to nothing gets (SIGBUS or SIGSEGV in user code, EFAULT from a system call). Lasts until something is set there.
    /// </summary>
    public void Refuse(int page, bool isBound)
    {
        if (isBound)
        {
            // A write to what may be read: the mapping itself becomes read-only.
            int result = Libc.MemoryProtect(At(page), FramePool.FrameBytes, Abi.PROT_READ);
            Invariant.Check(result == 0);
        }
        else
        {
            UserFaultRequest request = new() { Range = Range(page, 1) };
            _ = Libc.IoControl(Descriptor(_faults), UserFaultAbi.UFFDIO_POISON, &request);
        }

        _mapped[page] = MapAnew;
        Wake(page, 1);
    }

    /// <summary>The next fault that nobody has received yet. Any thread, without the lock.</summary>
    public bool TryReceive(out int page, out bool isWrite)
    {
        UserFaultMessage message;
        while (Libc.Read(Descriptor(_faults), &message, (nuint)sizeof(UserFaultMessage)) == sizeof(UserFaultMessage))
        {
            if (message.Event == UserFaultAbi.UFFD_EVENT_PAGEFAULT)
            {
                page = (int)(((long)message.Address - Address) / FramePool.FrameBytes);
                isWrite = (message.Flags & (UserFaultAbi.UFFD_PAGEFAULT_FLAG_WRITE | UserFaultAbi.UFFD_PAGEFAULT_FLAG_WP)) != 0;
                return true;
            }
        }

        page = 0;
        isWrite = false;
        return false;
    }

    /// <summary>Waits for a fault, or for <see cref="Interrupt"/>. Any thread, without the lock.</summary>
    public void Wait(int timeoutMs)
    {
        PollEntry* entries = stackalloc PollEntry[2];
        entries[0] = new PollEntry { Descriptor = Descriptor(_faults), Events = UserFaultAbi.POLLIN };
        entries[1] = new PollEntry { Descriptor = Descriptor(_wake), Events = UserFaultAbi.POLLIN };
        if (Libc.Poll(entries, 2, timeoutMs) > 0 && entries[1].Returned != 0)
        {
            ulong count;
            _ = Libc.Read(Descriptor(_wake), &count, sizeof(ulong));
        }
    }

    /// <summary>Ends one <see cref="Wait"/>, now or the next.</summary>
    public void Interrupt()
    {
        ulong one = 1;
        _ = Libc.Write(Descriptor(_wake), &one, sizeof(ulong));
    }

    /// <summary>Closing the descriptor lets go on whoever still waits; the memory goes with it.</summary>
    public void Dispose()
    {
        _faults.Dispose();
        _wake.Dispose();
        _region.Dispose();
    }

    private void Map(int page, FrameNumber frame, int count, bool takesWrites)
    {
        _mapped.AsSpan(page, count).Fill(MapAnew);
        nuint lengthBytes = (nuint)count * FramePool.FrameBytes;
        int protection = takesWrites ? Abi.PROT_READ | Abi.PROT_WRITE : Abi.PROT_READ;
        nint mapped = Libc.MemoryMap(At(page), lengthBytes, protection, Abi.MAP_SHARED | Abi.MAP_FIXED | Abi.MAP_NORESERVE,
            Descriptor(_frames.MemoryFile), (long)frame.Value * FramePool.FrameBytes);
        if (mapped == -1)
        {
            throw Failed("map");
        }

        _ = Libc.MemoryAdvise(At(page), lengthBytes, Abi.MADV_DONTFORK);
        Register(page, count, UserFaultAbi.UFFDIO_REGISTER_MODE_MISSING | UserFaultAbi.UFFDIO_REGISTER_MODE_WP | UserFaultAbi.UFFDIO_REGISTER_MODE_MINOR);
        if (!takesWrites)
        {
            Protect(page, count, takesWrites: false);
            if (Libc.MemoryProtect(At(page), lengthBytes, Abi.PROT_READ | Abi.PROT_WRITE) != 0)
            {
                throw Failed("protect");
            }
        }

        for (int i = 0; i < count; i++)
        {
            _mapped[page + i] = frame.Value + (uint)i;
        }
    }

    /// <summary>Makes the page-table entries, so that nobody faults only for the lack of one.</summary>
    private void Populate(int page, FrameNumber frame, int count, bool takesWrites)
    {
        ulong mode = UserFaultAbi.UFFDIO_CONTINUE_MODE_DONTWAKE | (takesWrites ? 0 : UserFaultAbi.UFFDIO_CONTINUE_MODE_WP);
        for (int done = 0; done < count;)
        {
            // A frame that was never touched has no memory yet: looking at it gives it some.
            for (int i = done; i < count; i++)
            {
                _ = Volatile.Read(ref *(byte*)_frames.Address(new FrameNumber(frame.Value + (uint)i)));
            }

            UserFaultRequest request = new() { Range = Range(page + done, count - done), Mode = mode };
            if (Libc.IoControl(Descriptor(_faults), UserFaultAbi.UFFDIO_CONTINUE, &request) == 0)
            {
                return;
            }

            int error = Errno.Last;
            done += request.Result > 0 ? (int)(request.Result / FramePool.FrameBytes) : 0;
            if (error == Errno.EEXIST)
            {
                // There already, perhaps with the other protection.
                Protect(page + done, 1, takesWrites);
                done++;
            }
            else if (error is not (Errno.EAGAIN or Errno.EFAULT))
            {
                throw new IOException($"Cannot populate pages of an address space: {Errno.Describe(error)}.");
            }
        }
    }

    private void Register(int page, int count, ulong mode)
    {
        UserFaultRequest request = new() { Range = Range(page, count), Mode = mode };
        Call(UserFaultAbi.UFFDIO_REGISTER, &request, "register");
    }

    private void Call(nuint operation, UserFaultRequest* request, string what)
    {
        while (Libc.IoControl(Descriptor(_faults), operation, request) != 0)
        {
            // EAGAIN: the mappings of the process are being changed by somebody else.
            if (Errno.Last != Errno.EAGAIN)
            {
                throw Failed(what);
            }
        }
    }

    private static IOException Failed(string what) => new($"Cannot {what} pages of an address space: {Errno.Describe(Marshal.GetLastPInvokeError())}.");

    private nint At(int page) => Address + (nint)page * FramePool.FrameBytes;

    private UserFaultRange Range(int page, int count) => new() { Start = (ulong)At(page), LengthBytes = (ulong)count * FramePool.FrameBytes };

    private static int Descriptor(SafeFileHandle handle) => (int)handle.DangerousGetHandle();
}
