// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.AddressSpaces;
using Exo.Core.Memory;
using Exo.Core.Tests.Memory;

namespace Exo.Core.Tests.AddressSpaces;

/// <summary>The table and its faults, without virtual memory.</summary>
public sealed class SoftwareDoorTests : IDisposable
{
    private readonly FramePool _pool = FramePoolTests.Pool(64);

    public void Dispose() => _pool.Dispose();

    [Fact]
    public void A_bound_page_shows_the_frames_bytes_and_changes_them()
    {
        using AddressSpace space = Space(4);
        FrameNumber frame = Allocate();
        _pool.Bytes(frame).Fill(7);
        space.Bind(_pool.RootCredential, 2, frame, PageAccess.Write);
        Assert.Equal(2, _pool.ReferenceCount(frame));

        byte[] bytes = new byte[8];
        space.Read(2 * AddressSpace.PageBytes + 100, bytes);
        Assert.All(bytes, b => Assert.Equal(7, b));
        space.Write(2 * AddressSpace.PageBytes, [1, 2, 3]);
        Assert.Equal([1, 2, 3, 7], _pool.Bytes(frame)[..4].ToArray());

        space.Unbind(0, 4);
        Assert.Equal(1, _pool.ReferenceCount(frame));
        Assert.Equal(0, space.BoundPages);
    }

    [Fact]
    public void A_range_crosses_pages_whose_frames_are_anywhere()
    {
        using AddressSpace space = Space(3);
        FrameNumber[] frames = [Allocate(), Allocate(), Allocate()];
        Array.Reverse(frames);
        for (int page = 0; page < 3; page++)
        {
            space.Bind(_pool.RootCredential, page, frames[page], PageAccess.Write);
        }

        byte[] pattern = [.. Enumerable.Range(0, 2 * AddressSpace.PageBytes + 10).Select(i => (byte)(i * 7))];
        space.Write(1000, pattern);
        byte[] back = new byte[pattern.Length];
        space.Read(1000, back);
        Assert.Equal(pattern, back);
        Assert.Equal(pattern[AddressSpace.PageBytes - 1000], _pool.Bytes(frames[1])[0]);
    }

    [Fact]
    public void Missing_pages_are_bound_by_the_upcall_or_refused()
    {
        List<PageFault> seen = [];
        using AddressSpace space = Space(4, (in PageFault fault) =>
        {
            seen.Add(fault);
            if (fault.Page == 3)
            {
                return false;
            }

            if (fault.Page != 2)
            {
                fault.Space.Bind(_pool.RootCredential, fault.Page, Allocate(), PageAccess.Write);
            }

            return true;
        });
        space.Write(0, [1]);
        space.Read(1, new byte[1]);
        Assert.Equal([new PageFault(space, 0, PageFaultKind.Missing, IsWrite: true)], seen);

        var refused = Assert.Throws<PageFaultException>(() => space.Read(3 * AddressSpace.PageBytes, new byte[1]));
        Assert.Equal((3, PageFaultKind.Missing), (refused.Page, refused.Kind));
        Assert.Throws<PageFaultException>(() => space.Write(2 * AddressSpace.PageBytes, [1]));
        Assert.Equal((3, 2), (space.FaultsDelivered, space.FaultsRefused));
    }

    [Fact]
    public void A_write_to_a_page_bound_for_reading_is_a_fault_that_may_be_granted()
    {
        bool grant = false;
        using AddressSpace space = Space(1, (in PageFault fault) =>
        {
            Assert.Equal(PageFaultKind.WriteProtected, fault.Kind);
            if (grant)
            {
                fault.Space.Protect(_pool.RootCredential, fault.Page, PageAccess.Write);
            }

            return grant;
        });
        FrameNumber frame = Allocate(zero: true);
        space.Bind(_pool.RootCredential, 0, frame, PageAccess.Read);
        Assert.Throws<PageFaultException>(() => space.Write(0, [1]));
        Assert.Equal(0, _pool.Bytes(frame)[0]);
        grant = true;
        space.Write(0, [1]);
        Assert.Equal(1, _pool.Bytes(frame)[0]);
    }

    [Fact]
    public void Whoever_may_only_read_a_frame_cannot_bind_it_for_writing()
    {
        using AddressSpace space = Space(2);
        Credential owner = FramePoolTests.Forge(_pool, "1.1", Rights.All);
        Credential reader = FramePoolTests.Forge(_pool, "1.1", Rights.Read);
        Credential stranger = FramePoolTests.Forge(_pool, "1.2", Rights.All);
        Assert.True(_pool.TryAllocate(owner, out FrameNumber frame));
        Assert.Throws<AccessDeniedException>(() => space.Bind(stranger, 0, frame, PageAccess.Read));
        Assert.Throws<AccessDeniedException>(() => space.Bind(reader, 0, frame, PageAccess.Write));
        Assert.False(space.Translations[0].IsBound);
        Assert.Equal(1, _pool.ReferenceCount(frame));

        space.Bind(reader, 0, frame, PageAccess.Read);
        Assert.Throws<AccessDeniedException>(() => space.Protect(reader, 0, PageAccess.Write));
        Assert.Equal(PageAccess.Read, space.Translations[0].Access);
    }

    [Fact]
    public void A_frame_that_is_taken_back_is_missing_everywhere()
    {
        using AddressSpace space = Space(4);
        using AddressSpace other = Space(1);
        Credential owner = FramePoolTests.Forge(_pool, "1.1", Rights.All);
        Assert.True(_pool.TryAllocate(owner, out FrameNumber frame));
        space.Bind(owner, 1, frame, PageAccess.Write);
        space.Bind(owner, 3, frame, PageAccess.Read);
        other.Bind(owner, 0, frame, PageAccess.Read);
        Assert.Equal(4, _pool.ReferenceCount(frame));

        Assert.True(_pool.TryUnbind(owner, frame, out _));
        Assert.Equal(0, space.BoundPages + other.BoundPages);
        Assert.Equal(1, _pool.ReferenceCount(frame));
        Assert.Throws<PageFaultException>(() => space.Read(AddressSpace.PageBytes, new byte[1]));
    }

    [Fact]
    public void Dirty_is_what_was_written_since_it_was_called_clean()
    {
        using AddressSpace space = Space(3);
        for (int page = 0; page < 3; page++)
        {
            space.Bind(_pool.RootCredential, page, Allocate(), PageAccess.Write);
        }

        Assert.Equal([true, true, true], Dirty(space));
        space.ClearDirty(0, 3);
        space.Read(0, new byte[3 * AddressSpace.PageBytes]);
        Assert.Equal([false, false, false], Dirty(space));
        space.Write(AddressSpace.PageBytes, [1]);
        Assert.Equal([false, true, false], Dirty(space));
        Assert.Equal(0, space.FaultsDelivered);
    }

    [Fact]
    public void A_fork_shares_until_one_of_the_two_writes()
    {
        PageFaultUpcall copy = (in PageFault fault) =>
        {
            Assert.Equal(PageFaultKind.CopyOnWrite, fault.Kind);
            FrameNumber fresh = Allocate();
            fault.Space.CopyPage(_pool.RootCredential, fault.Page, fresh);
            _pool.Release(fresh);
            return true;
        };
        using AddressSpace parent = Space(2, copy);
        FrameNumber frame = Allocate();
        _pool.Bytes(frame).Fill(1);
        parent.Bind(_pool.RootCredential, 0, frame, PageAccess.Write);
        _pool.Release(frame);

        AddressSpace child = parent.Fork(copy, withWindow: false);
        Assert.Equal(frame, child.Translations[0].Frame);
        Assert.Equal(2, _pool.ReferenceCount(frame));
        parent.Write(0, [2]);
        Assert.Equal((1, 2), (ByteAt(child, 0), ByteAt(parent, 0)));

        // The child is the last holder of the old frame: it just writes.
        child.Write(0, [3]);
        Assert.Equal((1, 0), (parent.FaultsDelivered, child.FaultsDelivered));
        Assert.Equal((3, 2), (ByteAt(child, 0), ByteAt(parent, 0)));
        Assert.Equal(frame, child.Translations[0].Frame);
        child.Dispose();
        Assert.Equal(63, _pool.FreeCount);
    }

    [Fact]
    public void Nothing_but_the_table_grows_with_use()
    {
        using AddressSpace space = Space(8);
        FrameNumber frame = Allocate();
        byte[] bytes = new byte[64];
        for (int round = 0; round < 2; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 1000; i++)
            {
                space.Bind(_pool.RootCredential, 0, frame, PageAccess.Write);
                space.Write(0, bytes);
                space.ClearDirty(0);
                space.Read(0, bytes);
                space.Unbind(0);
            }

            Assert.True(round == 0 || GC.GetAllocatedBytesForCurrentThread() == before);
        }
    }

    private static byte ByteAt(AddressSpace space, long offsetBytes)
    {
        byte[] one = new byte[1];
        space.Read(offsetBytes, one);
        return one[0];
    }

    private static bool[] Dirty(AddressSpace space) => [.. Enumerable.Range(0, space.PageCount).Select(page => space.Translations[page].IsDirty)];

    private AddressSpace Space(int pages, PageFaultUpcall? upcall = null) => AddressSpace.Reserve(_pool, pages * AddressSpace.PageBytes, upcall, withWindow: false);

    private FrameNumber Allocate(bool zero = false)
    {
        Assert.True(_pool.TryAllocate(_pool.RootCredential, out FrameNumber frame, zero));
        return frame;
    }
}
