// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Tests.Memory;
using Exo.Tests;

namespace Exo.Core.Tests.Environments;

/// <summary>Checked once, cheap afterwards, gone in one step; and nobody ever sees what somebody else was given.</summary>
public sealed class SecureBindingTests
{
    private readonly CapabilityAuthority _authority = CapabilityAuthority.Create();

    [Fact]
    public void One_api_for_whatever_the_resource_is()
    {
        Credential owner = Forge("1.1");
        Credential other = Forge("1.2");
        var port = new SecureResource<string>("port 80", "the queue", new AccessControlList(owner.Capabilities[0].Name, authority: _authority));
        SecureBinding<string> binding = port.Bind(owner, Rights.Write);
        using (BindingUse<string> use = binding.Use(Rights.Write))
        {
            Assert.Equal("the queue", use.Resource);
            Assert.Throws<InvalidOperationException>(() => port.TryRevoke(owner));
            Assert.Throws<InvalidOperationException>(() => port.TryModifyAcl(owner, 1, null));
        }

        Assert.Equal(AccessRefusal.NotDominated, port.TryBind(other, Rights.Read, out SecureBinding<string> none));
        Assert.False(none.IsValid);
        Assert.Equal(AccessRefusal.NotDominated, port.TryRevoke(other));
        Assert.True(binding.IsValid);
        Assert.Equal(AccessRefusal.None, port.TryModifyAcl(owner, 1, new AclEntry(other.Capabilities[0].Name, Rights.Read)));
        Assert.Equal(AccessRefusal.Revoked, binding.TryUse(Rights.Read, out _));
        SecureBinding<string> granted = port.Bind(other, Rights.Read);
        Assert.Equal(AccessRefusal.RightNotHeld, granted.TryUse(Rights.Write, out _));
        Assert.Equal(AccessRefusal.None, port.TryRevoke(owner));
        Assert.False(granted.IsValid);
        Assert.True(port.Bind(other, Rights.Read).IsValid);
    }

    [Fact]
    public void A_retired_resource_is_handed_on_when_its_last_use_has_left()
    {
        Credential owner = Forge("1.1");
        var ring = new SecureResource<string>("ring 3", "slots", new AccessControlList(owner.Capabilities[0].Name, authority: _authority));
        SecureBinding<string> binding = ring.Bind(owner, Rights.Read);
        int unused = 0;
        BindingUse<string> outer = binding.Use();
        BindingUse<string> inner = binding.Use();
        ring.Retire(() => unused++);
        Assert.Equal(AccessRefusal.Revoked, binding.TryUse(Rights.Read, out _));
        Assert.Equal(AccessRefusal.Revoked, ring.TryBind(owner, Rights.Read, out _));
        outer.Dispose();
        Assert.Equal(0, unused);
        inner.Dispose();
        inner.Dispose();
        Assert.Equal(1, unused);
        Assert.Equal(AccessRefusal.Revoked, ring.TryRevoke(owner));
    }

    [Fact]
    public void A_freed_frame_is_free_when_its_last_use_has_left()
    {
        using FramePool pool = FramePoolTests.Pool(2);
        Assert.True(pool.TryAllocate(pool.RootCredential, new FrameNumber(1)));
        SecureBinding<Frame> binding = pool.Bind(pool.RootCredential, new FrameNumber(1), Rights.Write);
        using (BindingUse<Frame> use = binding.Use(Rights.Write))
        {
            pool.Release(new FrameNumber(1));
            Assert.False(binding.IsValid);
            Assert.False(pool.TryAllocate(pool.RootCredential, new FrameNumber(1)));
            Assert.Throws<AccessDeniedException>(() => pool.Bind(pool.RootCredential, new FrameNumber(1), Rights.Read));
            use.WritableBytes()[0] = 1;
        }

        Assert.True(pool.TryAllocate(pool.RootCredential, new FrameNumber(1)));
    }

    [Fact]
    public void A_pool_disposed_under_a_use_keeps_its_memory_until_the_use_has_left()
    {
        FramePool pool = FramePoolTests.Pool(2);
        Assert.True(pool.TryAllocate(pool.RootCredential, out FrameNumber frame));
        SecureBinding<Frame> binding = pool.Bind(pool.RootCredential, frame, Rights.Write);
        using (BindingUse<Frame> use = binding.Use(Rights.Write))
        {
            pool.Dispose();
            use.WritableBytes().Fill(7);
            Assert.Equal(7, use.Bytes()[4095]);
        }

        Assert.Throws<ObjectDisposedException>(() => pool.Bytes(frame).Length);
        Assert.Throws<AccessDeniedException>(() => binding.Use().Dispose());
        Assert.Throws<ObjectDisposedException>(() => pool.Bind(pool.RootCredential, frame, Rights.Read));
    }

    /// <summary>
    /// One frame goes back and forth between two owners, each of whom fills it with its own byte through bindings. Threads that still hold
    /// the other's binding hammer on it. If any of them ever got through after the change, an owner would see a foreign byte.
    /// </summary>
    [Fact]
    public async Task No_use_gets_through_to_the_next_owner_whatever_the_threads_do()
    {
        const int Rounds = 3_000;
        using FramePool pool = FramePoolTests.Pool(1);
        Credential[] owners = [FramePoolTests.Forge(pool, "1.1", Rights.All), FramePoolTests.Forge(pool, "1.2", Rights.All)];
        var frame = new FrameNumber(0);
        var bindings = new SecureBinding<Frame>[2];
        Lock swap = new();
        bool stop = false;
        long uses = 0;
        long refusals = 0;
        long foreign = 0;
        Task[] writers = [.. Enumerable.Range(0, 4).Select(w => Task.Run(() =>
        {
            while (!Volatile.Read(ref stop))
            {
                SecureBinding<Frame> binding;
                lock (swap)
                {
                    binding = bindings[w & 1];
                }

                if (binding.Epoch is null || binding.TryUse(Rights.Write, out BindingUse<Frame> use) != AccessRefusal.None)
                {
                    Interlocked.Increment(ref refusals);
                    Thread.Yield();
                    continue;
                }

                using (use)
                {
                    byte mine = (byte)(1 + (w & 1));
                    use.WritableBytes()[..256].Fill(mine);
                    if (use.Bytes()[..256].ContainsAnyExcept(mine))
                    {
                        Interlocked.Increment(ref foreign);
                    }

                    Interlocked.Increment(ref uses);
                }
            }
        }))];

        for (int round = 0; round < Rounds || Interlocked.Read(ref uses) < Rounds || Interlocked.Read(ref refusals) < Rounds; round++)
        {
            int who = round & 1;
            SpinWait spin = default;
            while (!pool.TryAllocate(owners[who], frame))
            {
                spin.SpinOnce();
            }

            pool.Bytes(frame).Fill((byte)(1 + who));
            lock (swap)
            {
                bindings[who] = pool.Bind(owners[who], frame, Rights.Write);
            }

            Thread.Yield();

            // Half of the changes go through a revocation that waits, while the frame is still held.
            if (round % 4 < 2)
            {
                Assert.True(pool.TryUnbind(owners[who], frame, out _));
                pool.Bytes(frame)[0] = 99;
                Assert.Equal(99, pool.Bytes(frame)[0]);
            }

            pool.Release(frame);
        }

        Volatile.Write(ref stop, true);
        await Task.WhenAll(writers);
        Assert.Equal(0, foreign);
        Assert.True(uses >= Rounds && refusals >= Rounds);
        Assert.Equal(1, pool.FreeCount);
        Assert.Equal(0, pool.ReferenceCount(frame));
    }

    [Fact]
    public void A_use_allocates_nothing()
    {
        using FramePool pool = FramePoolTests.Pool(1);
        Assert.True(pool.TryAllocate(pool.RootCredential, out FrameNumber frame));
        SecureBinding<Frame> binding = pool.Bind(pool.RootCredential, frame, Rights.Write);
        Touch(binding);
        Assert.Equal(0, Allocations.Least(() =>
        {
            for (int i = 0; i < 1000; i++)
            {
                Touch(binding);
            }
        }));

        static void Touch(SecureBinding<Frame> binding)
        {
            using BindingUse<Frame> use = binding.Use(Rights.Write);
            use.WritableBytes()[5]++;
        }
    }

    private Credential Forge(string name) => Credential.Of(_authority.Root.Forge(CapabilityName.Parse(name), Rights.All));
}
