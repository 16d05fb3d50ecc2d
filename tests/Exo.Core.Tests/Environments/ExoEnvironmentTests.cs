// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Tests.Memory;

namespace Exo.Core.Tests.Environments;

/// <summary>Principals: their names, their quotas, what is asked back from them and what is taken.</summary>
public sealed class ExoEnvironmentTests : IDisposable
{
    private readonly ManualTime _time = new();
    private readonly FramePool _pool = FramePoolTests.Pool(64);
    private readonly ExoEnvironment _root;

    public ExoEnvironmentTests() => _root = ExoEnvironment.CreateRoot(_pool.Authority, timeProvider: _time);

    public void Dispose()
    {
        _root.Dispose();
        _pool.Dispose();
    }

    [Fact]
    public void Names_and_powers_follow_the_tree()
    {
        ExoEnvironment parent = _root.CreateChild([1]);
        ExoEnvironment child = parent.CreateChild([4, 2]);
        Assert.Equal("1.4.2", child.Name.ToString());
        Assert.True(parent.Credential.Capabilities[0].Dominates(child.Credential.Capabilities[0]));
        Assert.False(child.Credential.Capabilities[0].Dominates(parent.Credential.Capabilities[0]));
        Assert.Throws<ArgumentException>(() => parent.CreateChild([4, 2]));
        Assert.Throws<ArgumentException>(() => parent.CreateChild([]));
        Assert.Throws<ArgumentException>(() => parent.CreateChild(new byte[255]));
        Assert.Throws<AccessDeniedException>(() => child.SetQuota(child.Credential, ResourceKind.Frames, 5));
        child.SetQuota(parent.Credential, ResourceKind.Frames, 5);
        Assert.Equal(5, child.Quota(ResourceKind.Frames));
        Assert.Throws<ArgumentOutOfRangeException>(() => child.Quota((ResourceKind)9));
        Assert.Throws<ArgumentOutOfRangeException>(() => parent.CreateChild([9], new EnvironmentQuotas { Blocks = -1 }));
        parent.Dispose();
        Assert.False(child.Credential.Capabilities[0].IsValid);
        Assert.Equal(QuotaRefusal.EnvironmentEnded, child.TryHold(_pool, 63).Refusal);
        Assert.Throws<ObjectDisposedException>(() => child.CreateChild([1]));
        Assert.Equal("1", _root.CreateChild([1]).Name.ToString());
    }

    [Fact]
    public void A_frame_is_charged_all_the_way_up_and_a_refusal_names_whose_limit_it_was()
    {
        ExoEnvironment parent = _root.CreateChild([1], new EnvironmentQuotas { Frames = 3 });
        ExoEnvironment a = parent.CreateChild([1], new EnvironmentQuotas { Frames = 2 });
        ExoEnvironment b = parent.CreateChild([2]);
        Assert.True(a.TryAllocateFrame(_pool, out FrameNumber frame).IsGranted);
        Assert.True(a.TryAllocateFrame(_pool, out _).IsGranted);
        Assert.Equal(new QuotaVerdict(QuotaRefusal.QuotaExhausted, a), a.TryAllocateFrame(_pool, out _));
        Assert.True(b.TryAllocateFrame(_pool, out _).IsGranted);
        Assert.Equal(new QuotaVerdict(QuotaRefusal.QuotaExhausted, parent), b.TryAllocateFrame(_pool, out _));
        Assert.Equal(61, _pool.FreeCount);
        Assert.Equal((3, 2, 1), (parent.Held(ResourceKind.Frames), a.Held(ResourceKind.Frames), b.Held(ResourceKind.Frames)));
        Assert.Equal(1, b.Counters[(int)EnvironmentCounter.Refusals]);
        Assert.False(b.TryReleaseFrame(_pool, frame));
        Assert.True(a.TryReleaseFrame(_pool, frame));
        Assert.False(a.TryReleaseFrame(_pool, frame));
        Assert.True(b.TryAllocateFrame(_pool, out _).IsGranted);
        Assert.Equal(QuotaRefusal.AlreadyHeld, HoldAgain(b).Refusal);
        Assert.Equal(3, _root.Held(ResourceKind.Frames));

        QuotaVerdict HoldAgain(ExoEnvironment environment)
        {
            parent.SetQuota(_root.Credential, ResourceKind.Frames, 10);
            Assert.True(environment.TryAllocateFrame(_pool, out FrameNumber own).IsGranted);
            QuotaVerdict verdict = environment.TryHold(_pool, own.Value);
            Assert.True(environment.TryReleaseFrame(_pool, own));
            return verdict;
        }
    }

    [Fact]
    public async Task What_is_given_back_in_time_is_not_taken()
    {
        ExoEnvironment user = _root.CreateChild([1]);
        Stack<FrameNumber> frames = new(Allocate(user, 5));
        user.OnRevocation(async request =>
        {
            await Task.Yield();
            while (request.Remaining > 0)
            {
                Assert.True(user.TryReleaseFrame(_pool, frames.Pop()));
            }
        });
        RevocationOutcome outcome = await user.RevokeAsync(_root.Credential, ResourceKind.Frames, 3, TimeSpan.FromSeconds(1));
        Assert.Equal(new RevocationOutcome(3, 0), outcome);
        Assert.Equal(2, user.Held(ResourceKind.Frames));
        Assert.Equal(0, user.Repossessions.Count);
        Assert.Equal(3, user.Counters[(int)EnvironmentCounter.GivenBack]);
        _time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(2, user.Held(ResourceKind.Frames));
        Assert.Throws<AccessDeniedException>(() => { _ = user.RevokeAsync(user.Credential, ResourceKind.Frames, 1, TimeSpan.Zero); });
        Assert.Equal(default, await user.RevokeAsync(_root.Credential, ResourceKind.Blocks, 1, TimeSpan.Zero));
    }

    [Fact]
    public async Task What_is_not_given_back_is_taken_at_the_deadline_and_written_down()
    {
        ExoEnvironment user = _root.CreateChild([1]);
        FrameNumber[] frames = Allocate(user, 4);
        SecureBinding<Frame>[] bindings = [.. frames.Select(f => _pool.Bind(user.Credential, f, Rights.Write))];
        TaskCompletionSource told = new();
        user.OnRevocation(request =>
        {
            Assert.True(user.TryReleaseFrame(_pool, frames[0]));
            told.SetResult();
            throw new InvalidOperationException("the library OS breaks down");
        });
        Task<RevocationOutcome> revocation = user.RevokeAsync(_root.Credential, ResourceKind.Frames, 3, TimeSpan.FromSeconds(10));
        await told.Task;
        _time.Advance(TimeSpan.FromSeconds(9));
        Assert.False(revocation.IsCompleted);
        Assert.Equal(QuotaRefusal.BeingRevoked, user.TryAllocateFrame(_pool, out _).Refusal);
        Assert.True(bindings[3].IsValid);
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(new RevocationOutcome(1, 2), await revocation);
        Assert.Equal([frames[3].Value, frames[2].Value], user.Repossessions.ToArray().Select(line => (uint)line.Number));
        Assert.All(user.Repossessions.ToArray(), line => Assert.Equal((_pool, 1L, _time.GetUtcNow()), (line.Resource, line.RequestId, line.Time)));
        Assert.False(bindings[3].IsValid);
        Assert.True(bindings[1].IsValid);
        Assert.False(user.TryReleaseFrame(_pool, frames[3]));
        Assert.Equal(63, _pool.FreeCount);
        Assert.True(user.TryAllocateFrame(_pool, out _).IsGranted);
        Assert.True(user.Repossessions.TryTake(out Repossession first));
        Assert.Equal(frames[3].Value, first.Number);
        Assert.Equal(1, user.Repossessions.Count);
    }

    [Fact]
    public async Task A_frame_in_use_or_in_flight_is_taken_but_not_handed_on()
    {
        ExoEnvironment user = _root.CreateChild([1]);
        FrameNumber frame = Allocate(user, 1)[0];
        _pool.Retain(frame); // a transfer in flight
        SecureBinding<Frame> binding = _pool.Bind(user.Credential, frame, Rights.Write);
        Task<RevocationOutcome> revocation = user.RevokeAsync(_root.Credential, ResourceKind.Frames, 1, TimeSpan.FromSeconds(1));
        UseAcrossTheDeadline(binding);
        Assert.Equal(new RevocationOutcome(0, 1), await revocation);
        Assert.Equal(AccessRefusal.NotDominated, _pool.Check(user.Credential, frame, Rights.Read));
        Assert.False(_pool.TryAllocate(_root.Credential, frame));
        _pool.Release(frame);
        Assert.True(_pool.TryAllocate(_root.Credential, frame));

        void UseAcrossTheDeadline(SecureBinding<Frame> held)
        {
            using BindingUse<Frame> use = held.Use(Rights.Write);
            _time.Advance(TimeSpan.FromSeconds(1));
            use.WritableBytes()[0] = 1;
            Assert.Equal(AccessRefusal.Revoked, held.TryUse(Rights.Read, out _));
        }
    }

    [Fact]
    public async Task An_environment_that_ends_leaves_nothing_behind_and_steals_nothing()
    {
        ExoEnvironment victim = _root.CreateChild([1]);
        ExoEnvironment thief = _root.CreateChild([2]);
        ExoEnvironment below = thief.CreateChild([7]);
        FrameNumber kept = Allocate(victim, 1)[0];
        Allocate(thief, 3);
        Allocate(below, 2);
        Assert.True(thief.TryHold(_pool, kept.Value).IsGranted);
        Assert.True(thief.TryHold(_pool, ulong.MaxValue).IsGranted);
        Task<RevocationOutcome> open = thief.RevokeAsync(_root.Credential, ResourceKind.Frames, 2, TimeSpan.FromHours(1));
        thief.Dispose();
        thief.Dispose();
        Assert.Equal(new RevocationOutcome(0, 2), await open);
        Assert.Equal(63, _pool.FreeCount);
        Assert.Equal(1, _pool.ReferenceCount(kept));
        Assert.Equal(AccessRefusal.None, _pool.Check(victim.Credential, kept, Rights.All));
        Assert.Equal(1, _root.Held(ResourceKind.Frames));
    }

    /// <summary>Random holds, returns and quota changes in a tree against a naive count.</summary>
    [Fact]
    public void Quotas_agree_with_a_naive_count()
    {
        Gen.Select(Gen.Int[0, 3], Gen.Int[0, 6], Gen.Int[0, 9]).Array[1, 60].Sample(steps =>
        {
            var store = new CountingStore();
            using ExoEnvironment root = ExoEnvironment.CreateRoot(_pool.Authority, new EnvironmentQuotas { Blocks = 6 });
            ExoEnvironment a = root.CreateChild([1], new EnvironmentQuotas { Blocks = 4 });
            ExoEnvironment b = root.CreateChild([2], new EnvironmentQuotas { Blocks = 4 });
            ExoEnvironment c = a.CreateChild([1], new EnvironmentQuotas { Blocks = 3 });
            ExoEnvironment[] all = [root, a, b, c];
            HashSet<(int, ulong)> model = [];
            foreach ((int who, int number, int action) in steps)
            {
                ExoEnvironment at = all[who];
                if (action < 6)
                {
                    bool room = all.Select((e, i) => (e, i)).Where(x => x.e.Name.IsPrefixOf(at.Name)).All(x => Total(x.i) < x.e.Quota(ResourceKind.Blocks));
                    bool expected = room && !model.Contains((who, (ulong)number));
                    Assert.Equal(expected, at.TryHold(store, (ulong)number).IsGranted);
                    if (expected)
                    {
                        model.Add((who, (ulong)number));
                    }
                }
                else
                {
                    Assert.Equal(model.Remove((who, (ulong)number)), at.TryGiveBack(store, (ulong)number));
                }

                for (int i = 0; i < all.Length; i++)
                {
                    Assert.Equal(Total(i), all[i].Held(ResourceKind.Blocks));
                }
            }

            int expectedRepossessions = model.Count;
            root.Dispose();
            Assert.Equal(expectedRepossessions, store.Repossessed);
            long Total(int index) => model.Count(held => all[index].Name.IsPrefixOf(all[held.Item1].Name));
        }, iter: 300, threads: 1);
    }

    /// <summary>Threads give back while deadlines pass: each thing leaves exactly once, by one door or the other.</summary>
    [Fact]
    public async Task Every_thing_leaves_by_one_door_only()
    {
        var store = new CountingStore();
        using ExoEnvironment user = _root.CreateChild([1], new EnvironmentQuotas { Blocks = 1000 });
        long given = 0;
        long held = 0;
        Task[] workers = [.. Enumerable.Range(0, 3).Select(w => Task.Run(() =>
        {
            for (ulong i = 0; i < 20_000; i++)
            {
                ulong number = (ulong)w << 32 | i % 50;
                if (user.TryHold(store, number).IsGranted)
                {
                    Interlocked.Increment(ref held);
                }
                else if (user.TryGiveBack(store, number))
                {
                    Interlocked.Increment(ref given);
                }
            }
        }))];
        long taken = 0;
        while (!Task.WhenAll(workers).IsCompleted)
        {
            Task<RevocationOutcome> revocation = user.RevokeAsync(_root.Credential, ResourceKind.Blocks, 20, TimeSpan.FromMilliseconds(5));
            _time.Advance(TimeSpan.FromMilliseconds(5));
            RevocationOutcome outcome = await revocation;
            taken += outcome.Repossessed;
        }

        await Task.WhenAll(workers);
        Assert.Equal(held - given - taken, user.Held(ResourceKind.Blocks));
        Assert.Equal(taken, store.Repossessed);
        user.Dispose();
        Assert.Equal(held - given, store.Repossessed);
        Assert.Equal(0, _root.Held(ResourceKind.Blocks));
    }

    private FrameNumber[] Allocate(ExoEnvironment environment, int count)
    {
        var frames = new FrameNumber[count];
        for (int i = 0; i < count; i++)
        {
            Assert.True(environment.TryAllocateFrame(_pool, out frames[i]).IsGranted);
        }

        return frames;
    }

    private sealed class CountingStore : IRevocable
    {
        private long _repossessed;

        public ResourceKind Kind => ResourceKind.Blocks;

        public long Repossessed => Volatile.Read(ref _repossessed);

        public void Repossess(RepossessionOrder order) => Interlocked.Increment(ref _repossessed);
    }
}
