// SPDX-License-Identifier: MIT
using System.IO.Pipes;
using Exo.Capabilities;
using Exo.Core.AddressSpaces;
using Exo.Core.Linux;
using Exo.Core.Memory;
using Exo.Core.Tests.Memory;
using Exo.Tests;

namespace Exo.Core.Tests.AddressSpaces;

/// <summary>The window: real virtual memory, used by system calls, with faults delivered by the kernel.</summary>
public sealed unsafe class WindowTests : IDisposable
{
    private readonly FramePool _pool = FramePoolTests.Pool(256);
    private readonly List<Thread> _pagers = [];

    public void Dispose()
    {
        foreach (Thread pager in _pagers)
        {
            pager.Join();
        }

        _pool.Dispose();
    }

    [Fact]
    public void A_system_call_that_touches_missing_pages_waits_until_they_are_bound()
    {
        using AddressSpace space = Space(8, Zeroes);
        byte[] pattern = [.. Enumerable.Range(0, 3 * AddressSpace.PageBytes).Select(i => (byte)(i * 13))];
        Assert.Equal(pattern.Length, ReadInto(space, 100, pattern));
        Assert.Equal(4, space.FaultsDelivered);
        byte[] back = new byte[pattern.Length];
        space.Read(100, back);
        Assert.Equal(pattern, back);
        Assert.Equal(pattern, WriteFrom(space, 100, pattern.Length));
        Assert.Equal(4, space.BoundPages);
    }

    [Fact]
    public void Frames_anywhere_in_the_pool_are_neighbours_in_the_window()
    {
        using AddressSpace space = Space(16);
        for (int page = 0; page < 16; page++)
        {
            Assert.True(_pool.TryAllocate(_pool.RootCredential, new FrameNumber((uint)(page * 37 % 64 + 100))));
            _pool.Bytes(new FrameNumber((uint)(page * 37 % 64 + 100))).Fill((byte)page);
            space.Bind(_pool.RootCredential, page, new FrameNumber((uint)(page * 37 % 64 + 100)), PageAccess.Read);
        }

        byte[] all = WriteFrom(space, 0, 16 * AddressSpace.PageBytes);
        Assert.Equal(Enumerable.Range(0, 16).Select(i => (byte)i), all.Where((_, i) => i % AddressSpace.PageBytes == 9));
        Assert.Equal(0, space.FaultsDelivered);
    }

    [Fact]
    public void A_refused_access_is_an_error_of_the_system_call_and_the_page_can_be_bound_later()
    {
        bool grant = false;
        using AddressSpace space = Space(2, (in PageFault fault) => grant && Zeroes(fault));
        Assert.Equal(-Errno.EFAULT, ReadInto(space, 0, [1]));
        grant = true;
        space.Bind(_pool.RootCredential, 0, Allocate(), PageAccess.Write);
        Assert.Equal(1, ReadInto(space, 0, [1]));
        space.Unbind(0);
        Assert.Equal(1, ReadInto(space, 0, [2]));
        Assert.Equal(2, WriteFrom(space, 0, 1)[0]);
    }

    [Fact]
    public void A_write_through_the_window_to_a_page_bound_for_reading_is_delivered()
    {
        List<PageFault> seen = [];
        bool grant = false;
        using AddressSpace space = Space(1, (in PageFault fault) =>
        {
            seen.Add(fault);
            if (grant)
            {
                fault.Space.Protect(_pool.RootCredential, 0, PageAccess.Write);
            }

            return grant;
        });
        FrameNumber frame = Allocate();
        space.Bind(_pool.RootCredential, 0, frame, PageAccess.Read);
        Assert.Equal(0, WriteFrom(space, 0, 1)[0]);
        Assert.Equal(-Errno.EFAULT, ReadInto(space, 0, [1]));
        Assert.Equal(0, _pool.Bytes(frame)[0]);
        grant = true;
        space.Protect(_pool.RootCredential, 0, PageAccess.Read);
        Assert.Equal(1, ReadInto(space, 0, [1]));
        Assert.Equal(1, _pool.Bytes(frame)[0]);
        Assert.All(seen, fault => Assert.Equal(new PageFault(space, 0, PageFaultKind.WriteProtected, IsWrite: true), fault));
    }

    [Fact]
    public void Writes_of_the_window_are_noted_without_asking_anybody()
    {
        using AddressSpace space = Space(3, Zeroes);
        space.Bind(_pool.RootCredential, 0, AllocateRun(3), PageAccess.Write, count: 3);
        space.ClearDirty(0, 3);
        _ = WriteFrom(space, 0, 3 * AddressSpace.PageBytes);
        Assert.Equal([false, false, false], space.Translations.ToArray().Select(entry => entry.IsDirty));
        Assert.Equal(1, ReadInto(space, 2 * AddressSpace.PageBytes, [9]));
        Assert.Equal([false, false, true], space.Translations.ToArray().Select(entry => entry.IsDirty));
        Assert.Equal(0, space.FaultsDelivered);
    }

    [Fact]
    public void A_fork_is_copied_page_by_page_as_either_side_writes()
    {
        using AddressSpace parent = Space(4, Copies);
        parent.Bind(_pool.RootCredential, 0, AllocateRun(4), PageAccess.Write, count: 4);
        for (int page = 0; page < 4; page++)
        {
            Assert.Equal(1, ReadInto(parent, page * AddressSpace.PageBytes, [(byte)(10 + page)]));
        }

        using AddressSpace child = parent.Fork(Copies);
        Serve(child);
        Assert.Equal(1, ReadInto(parent, 0, [20]));
        Assert.Equal(1, ReadInto(child, AddressSpace.PageBytes, [21]));
        Assert.Equal([20, 11, 12, 13], Firsts(parent));
        Assert.Equal([10, 21, 12, 13], Firsts(child));
        Assert.Equal((1, 1), (parent.FaultsDelivered, child.FaultsDelivered));
        Assert.Equal(parent.Translations[3].Frame, child.Translations[3].Frame);
    }

    [Fact]
    public void A_frame_taken_back_is_gone_from_the_window_too()
    {
        using AddressSpace space = Space(1, (in PageFault _) => false);
        Credential owner = FramePoolTests.Forge(_pool, "1.1", Rights.All);
        Assert.True(_pool.TryAllocate(owner, out FrameNumber frame, zero: true));
        space.Bind(owner, 0, frame, PageAccess.Write);
        Assert.Equal(1, ReadInto(space, 0, [1]));
        Assert.True(_pool.TryUnbind(owner, frame, out _));
        Assert.Equal(-Errno.EFAULT, ReadInto(space, 0, [2]));
        Assert.Equal(1, _pool.Bytes(frame)[0]);
    }

    [Fact]
    public void Threads_that_write_while_pages_come_and_go_lose_nothing()
    {
        const int Pages = 24;
        const int Rounds = 400;
        using FramePool store = FramePoolTests.Pool(Pages);
        bool[] stored = new bool[Pages];
        Queue<int> resident = new();

        // A pager with a third of the frames: the oldest page goes to the store.
        using AddressSpace space = Space(Pages, (in PageFault fault) =>
        {
            FrameNumber frame;
            if (resident.Count < Pages / 3)
            {
                frame = Allocate();
            }
            else
            {
                int victim = resident.Dequeue();
                Assert.True(fault.Space.TryUnbind(victim, out Translation was));
                frame = was.Frame;
                _pool.Bytes(frame).CopyTo(store.Bytes(new FrameNumber((uint)victim)));
                stored[victim] = true;
            }

            if (stored[fault.Page])
            {
                store.Bytes(new FrameNumber((uint)fault.Page)).CopyTo(_pool.Bytes(frame));
            }
            else
            {
                _pool.Bytes(frame).Clear();
            }

            resident.Enqueue(fault.Page);
            fault.Space.Bind(_pool.RootCredential, fault.Page, frame, PageAccess.Write);
            return true;
        });
        for (uint i = 0; i < Pages; i++)
        {
            Assert.True(store.TryAllocate(store.RootCredential, new FrameNumber(i)));
        }

        List<string> wrong = [];
        Thread[] writers = [.. Enumerable.Range(0, 4).Select(number => new Thread(() =>
        {
            Random random = new(number);
            byte[] expected = new byte[Pages];
            for (int round = 0; round < Rounds; round++)
            {
                int page = random.Next(Pages);
                long at = page * AddressSpace.PageBytes + number * 64;
                byte before = WriteFrom(space, at, 1)[0];
                byte next = (byte)random.Next(256);
                bool wrote = ReadInto(space, at, [next]) == 1;
                if (!wrote || before != expected[page])
                {
                    lock (wrong)
                    {
                        wrong.Add($"writer {number}, page {page}: {before} instead of {expected[page]}");
                    }
                }

                expected[page] = next;
            }
        }))];
        foreach (Thread writer in writers)
        {
            writer.Start();
        }

        foreach (Thread writer in writers)
        {
            writer.Join();
        }

        Assert.Empty(wrong);
        Assert.True(space.FaultsDelivered > Pages);
    }

    [Fact]
    public void Disposing_a_space_ends_the_service()
    {
        AddressSpace space = Space(1, Zeroes);
        Assert.Equal(1, ReadInto(space, 0, [1]));
        space.Dispose();
        Assert.True(_pagers[^1].Join(TimeSpan.FromSeconds(30)));
        Assert.Throws<ObjectDisposedException>(() => space.Read(0, new byte[1]));
    }

    private bool Zeroes(in PageFault fault)
    {
        fault.Space.Bind(_pool.RootCredential, fault.Page, Allocate(), PageAccess.Write);
        return true;
    }

    private bool Copies(in PageFault fault)
    {
        FrameNumber fresh = Allocate();
        fault.Space.CopyPage(_pool.RootCredential, fault.Page, fresh);
        _pool.Release(fresh);
        return true;
    }

    private AddressSpace Space(int pages, PageFaultUpcall? upcall = null)
    {
        AddressSpace space = AddressSpace.Reserve(_pool, pages * AddressSpace.PageBytes, upcall);
        Requires.That(space.DeliversKernelFaults, $"no page faults of the kernel are delivered here ({space.WindowNote})");
        Serve(space);
        return space;
    }

    private void Serve(AddressSpace space)
    {
        Thread pager = new(() => space.ServeFaults()) { IsBackground = true };
        pager.Start();
        _pagers.Add(pager);
    }

    private FrameNumber Allocate()
    {
        Assert.True(_pool.TryAllocate(_pool.RootCredential, out FrameNumber frame, zero: true));
        return frame;
    }

    private FrameNumber AllocateRun(int count)
    {
        Assert.True(_pool.TryAllocateRun(_pool.RootCredential, count, out FrameNumber first, zero: true));
        return first;
    }

    private static byte[] Firsts(AddressSpace space) => [.. Enumerable.Range(0, space.PageCount).Select(page => WriteFrom(space, page * AddressSpace.PageBytes, 1)[0])];

    /// <summary>The kernel copies bytes into the window, out of a pipe. How many, or the error, negative.</summary>
    private static int ReadInto(AddressSpace space, long offsetBytes, byte[] bytes)
    {
        using var pipe = new Pipe();
        fixed (byte* source = bytes)
        {
            Assert.Equal(bytes.Length, (int)Libc.Write(pipe.WriteEnd, source, (nuint)bytes.Length));
        }

        nint count = Libc.Read(pipe.ReadEnd, (void*)(space.BaseAddress + (nint)offsetBytes), (nuint)bytes.Length);
        return count < 0 ? -Errno.Last : (int)count;
    }

    /// <summary>The kernel copies bytes out of the window, into a file.</summary>
    private static byte[] WriteFrom(AddressSpace space, long offsetBytes, int lengthBytes)
    {
        byte[] bytes = new byte[lengthBytes];
        using var pipe = new Pipe();
        Assert.Equal(lengthBytes, (int)Libc.Write(pipe.WriteEnd, (void*)(space.BaseAddress + (nint)offsetBytes), (nuint)lengthBytes));
        fixed (byte* target = bytes)
        {
            Assert.Equal(lengthBytes, (int)Libc.Read(pipe.ReadEnd, target, (nuint)lengthBytes));
        }

        return bytes;
    }

    private sealed class Pipe : IDisposable
    {
        private readonly AnonymousPipeServerStream _pipe = new(PipeDirection.In);

        public int ReadEnd => (int)_pipe.SafePipeHandle.DangerousGetHandle();

        public int WriteEnd => (int)_pipe.ClientSafePipeHandle.DangerousGetHandle();

        public void Dispose()
        {
            _pipe.DisposeLocalCopyOfClientHandle();
            _pipe.Dispose();
        }
    }
}
