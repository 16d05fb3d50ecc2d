// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Ipc;
using Exo.Core.Scheduling;

namespace Exo.Core.Tests.Ipc;

/// <summary>Protected calls: who may, who is in, and what a callee cannot do to its caller.</summary>
public sealed class ProtectedCallTests : IDisposable
{
    private readonly CapabilityAuthority _authority = CapabilityAuthority.Create();
    private readonly ExoEnvironment _root;
    private readonly ExoEnvironment _server;
    private readonly ExoEnvironment _client;

    public ProtectedCallTests()
    {
        _root = ExoEnvironment.CreateRoot(_authority);
        _server = _root.CreateChild("server"u8);
        _client = _root.CreateChild("client"u8);
    }

    public void Dispose() => _root.Dispose();

    private AccessControlList Guard(params ExoEnvironment[] callers)
    {
        AccessControlList guard = new(_root.Name, authority: _authority);
        for (int i = 0; i < callers.Length; i++)
        {
            Assert.True(guard.TryModify(_root.Credential, i + 1, new AclEntry(callers[i].Name, Rights.Read), out _));
        }

        return guard;
    }

    [Fact]
    public void A_call_says_who_calls_and_brings_the_reply()
    {
        ExoEnvironment? seen = null;
        using ProtectedEntry<(long, long), long> entry = new(_server, Guard(_client), (caller, request) =>
        {
            seen = caller;
            return request.Item1 + request.Item2;
        });
        ProtectedCall<(long, long), long> call = entry.Bind(_client);
        Assert.Equal(CallRefusal.None, call.TryCall((40, 2), out long reply));
        Assert.Equal(42, reply);
        Assert.Same(_client, seen);
    }

    [Fact]
    public void Only_whom_the_guard_lets_through_binds_and_only_while_the_entry_is_open()
    {
        ProtectedEntry<int, int> entry = new(_server, Guard(_client), (_, request) => request);
        using ExoEnvironment stranger = _root.CreateChild("stranger"u8);
        using ExoEnvironment elsewhere = ExoEnvironment.CreateRoot(CapabilityAuthority.Create());
        Assert.Throws<AccessDeniedException>(() => entry.Bind(stranger));
        Assert.Throws<AccessDeniedException>(() => entry.Bind(elsewhere));
        ProtectedCall<int, int> call = entry.Bind(_client);
        entry.Dispose();
        Assert.Equal(CallRefusal.Revoked, call.TryCall(1, out _));
        Assert.Throws<AccessDeniedException>(() => entry.Bind(_client));
    }

    [Fact]
    public void Who_calls_in_a_circle_is_told()
    {
        ProtectedCall<int, CallRefusal>? there = null;
        using ProtectedEntry<int, CallRefusal> back = new(_client, Guard(_server), (_, _) => CallRefusal.None);
        ProtectedCall<int, CallRefusal> toClient = back.Bind(_server);
        using ProtectedEntry<int, CallRefusal> entry = new(_server, Guard(_client), (_, depth) => there!.TryCall(depth - 1, out CallRefusal _));
        there = entry.Bind(_client);
        Assert.Equal(CallRefusal.None, there.TryCall(1, out CallRefusal nested));
        Assert.Equal(CallRefusal.Busy, nested);
        Assert.Equal(CallRefusal.None, toClient.TryCall(0, out _));
    }

    [Fact]
    public void A_callee_that_throws_harms_itself_only()
    {
        using ProtectedEntry<int, int> entry = new(_server, Guard(_client), (_, request) => 10 / request);
        ProtectedCall<int, int> call = entry.Bind(_client);
        Assert.Equal(CallRefusal.Failed, call.TryCall(0, out int reply));
        Assert.Equal(0, reply);
        Assert.IsType<DivideByZeroException>(entry.LastFailure);
        Assert.Equal(CallRefusal.None, call.TryCall(5, out reply));
        Assert.Equal(2, reply);
    }

    [Fact]
    public void Nobody_calls_the_dead_and_the_dead_call_nobody()
    {
        using ProtectedEntry<int, int> entry = new(_server, Guard(_client), (_, request) => request);
        ProtectedCall<int, int> call = entry.Bind(_client);
        _client.Dispose();
        Assert.Equal(CallRefusal.Ended, call.TryCall(1, out _));
        using ExoEnvironment another = _root.CreateChild("client"u8);
        call = entry.Bind(another);
        _server.Dispose();
        Assert.Equal(CallRefusal.Ended, call.TryCall(1, out _));
    }

    [Fact]
    public async Task A_callee_that_runs_is_called_in_its_own_slice()
    {
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 0 });
        ScheduledEnvironment server = scheduler.Admit(_server);
        ScheduledEnvironment client = scheduler.Admit(_client);
        SynchronizationContext? inside = null;
        using ProtectedEntry<int, int> entry = new(_server, Guard(_client), (_, request) =>
        {
            inside = SynchronizationContext.Current;
            return request + 1;
        });
        ProtectedCall<int, int> call = entry.Bind(_client);
        Task<int>? fromWithin = null;
        _ = server.Start(_ =>
        {
            Assert.Equal(CallRefusal.Busy, call.TryCall(1, out int _));
            fromWithin = call.CallAsync(41).AsTask();
            return default;
        });
        scheduler.RunUntilIdle();
        Assert.Equal(42, await fromWithin!);

        // From an environment to one that sleeps: at once, and whatever the callee starts there is the callee's.
        Task<int> reply = client.Start(async self =>
        {
            int at = await call.CallAsync(1);
            Assert.Same(server.Context, inside);
            Assert.Same(self.Context, SynchronizationContext.Current);
            return at;
        });
        scheduler.RunUntilIdle();
        Assert.Equal(2, await reply);
    }

    [Fact(Timeout = 60_000)]
    public async Task Nobody_else_is_in_while_a_call_is()
    {
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 3 });
        ScheduledEnvironment server = scheduler.Admit(_server);
        int inside = 0;
        long sum = 0;
        using ProtectedEntry<int, int> entry = new(_server, Guard(_client), (_, request) =>
        {
            Assert.Equal(1, Interlocked.Increment(ref inside));
            sum += request;
            Interlocked.Decrement(ref inside);
            return request;
        });
        ProtectedCall<int, int> call = entry.Bind(_client);
        Task own = server.Start(async self =>
        {
            for (int i = 0; i < 20_000; i++)
            {
                Assert.Equal(1, Interlocked.Increment(ref inside));
                sum++;
                Interlocked.Decrement(ref inside);
                await self.Yield();
            }
        });
        Task[] callers = [.. Enumerable.Range(0, 3).Select(_ => Task.Run(async () =>
        {
            for (int i = 0; i < 5000; i++)
            {
                Assert.Equal(1, await call.CallAsync(1));
            }
        }))];
        await own.WaitAsync(TestContext.Current.CancellationToken);
        await Task.WhenAll(callers);
        Assert.Equal(35_000, sum);
        Assert.Null(entry.LastFailure);
    }
}
