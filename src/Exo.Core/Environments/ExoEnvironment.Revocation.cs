// SPDX-License-Identifier: MIT
using Exo.Capabilities;

namespace Exo.Core.Environments;

/// <content>Visible revocation: ask, wait until the deadline, take the rest by force and write it down.</content>
public sealed partial class ExoEnvironment
{
    private readonly List<RevocationRequest> _requests = [];
    private RevocationUpcall? _upcall;
    private long _requestCount;
    private long _holdings;

    /// <summary>Who answers when things are asked back; null: nobody, then everything asked for is taken at the deadline.</summary>
    public void OnRevocation(RevocationUpcall? upcall) => Volatile.Write(ref _upcall, upcall);

    /// <summary>
    /// Asks the environment for things back: tells its upcall, and at the deadline takes by force, youngest first, what has not
    /// been given back, listing it in <see cref="Repossessions"/>. Until it is settled the environment gets no new things of that kind. A capability that governs
    /// the parent (the root: itself) is needed. What environments below it hold is not touched: ask those.
    /// </summary>
    /// <param name="by">Who asks.</param>
    /// <param name="kind">What.</param>
    /// <param name="count">How many; what is more than the environment itself holds, beyond earlier requests, is not asked for.</param>
    /// <param name="timeAllowed">Time until the deadline, zero or more.</param>
    /// <returns>Completes when all is given back, or at the deadline.</returns>
    /// <exception cref="AccessDeniedException">The credential does not govern the parent.</exception>
    public Task<RevocationOutcome> RevokeAsync(Credential by, ResourceKind kind, long count, TimeSpan timeAllowed)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        ArgumentOutOfRangeException.ThrowIfLessThan(timeAllowed, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(timeAllowed, TimeSpan.FromDays(40));
        Index(kind);
        ThrowUnlessGoverns(by, Parent ?? this);

        RevocationRequest request;
        lock (_lock)
        {
            long asked = 0;
            foreach (RevocationRequest earlier in _requests)
            {
                asked += earlier.Kind == kind ? earlier.Remaining : 0;
            }

            count = Math.Min(count, _held.Keys.LongCount(held => held.Resource.Kind == kind) - asked);
            if (_hasEnded || count <= 0)
            {
                return Task.FromResult(default(RevocationOutcome));
            }

            request = new RevocationRequest(++_requestCount, kind, count, TimeProvider.GetUtcNow() + timeAllowed);
            _requests.Add(request);
            Count(EnvironmentCounter.Upcalls);
        }

        RevocationUpcall? upcall = Volatile.Read(ref _upcall);
        if (upcall is not null)
        {
            _ = Task.Run(() => TellAsync(upcall, request));
        }

        ITimer timer = TimeProvider.CreateTimer(static state => ((Action)state!)(), (Action)(() => Expire(request)), timeAllowed, Timeout.InfiniteTimeSpan);
        lock (_lock)
        {
            request.Timer = timer;
        }

        if (request.Settled.Task.IsCompleted)
        {
            timer.Dispose();
        }

        return request.Settled.Task;
    }

    private async Task TellAsync(RevocationUpcall upcall, RevocationRequest request)
    {
        try
        {
            await upcall(request).ConfigureAwait(false);
        }
#pragma warning disable CA1031 // Whatever a library OS throws is its own affair: the deadline stands.
        catch (Exception)
#pragma warning restore CA1031
        {
            Count(EnvironmentCounter.UpcallFailures);
        }
    }

    // The lock is held; one thing of that kind has come back. The oldest request is served first.
    private void CountOffRequest(ResourceKind kind)
    {
        RevocationRequest? request = _requests.Find(r => r.Kind == kind);
        if (request is null)
        {
            return;
        }

        Count(EnvironmentCounter.GivenBack);
        if (request.CountOff() == 0)
        {
            _requests.Remove(request);
            request.Settled.SetResult(new RevocationOutcome(request.Count, 0));
            request.Timer?.Dispose();
        }
    }

    private void Expire(RevocationRequest request)
    {
        (IRevocable Resource, ulong Number)[] taken;
        lock (_lock)
        {
            if (!_requests.Remove(request))
            {
                return;
            }

            taken = [.. _held.Where(held => held.Key.Resource.Kind == request.Kind)
                .OrderByDescending(held => held.Value).Take((int)Math.Min(request.Remaining, int.MaxValue)).Select(held => held.Key)];
            Invariant.Check(taken.Length == request.Remaining);
            TakeOffList(taken, request.Id);
        }

        Repossess(taken);
        request.Settled.SetResult(new RevocationOutcome(request.Count - taken.Length, taken.Length));
        request.Timer?.Dispose();
    }

    private void RepossessAll()
    {
        (IRevocable Resource, ulong Number)[] taken;
        RevocationRequest[] open;
        lock (_lock)
        {
            open = [.. _requests];
            _requests.Clear();
            taken = [.. _held.Keys];
            TakeOffList(taken, requestId: 0);
        }

        Repossess(taken);
        foreach (RevocationRequest request in open)
        {
            request.Settled.SetResult(new RevocationOutcome(request.Count - request.Remaining, request.Remaining));
            request.Timer?.Dispose();
        }
    }

    // The lock is held. From here on the things are nobody's but this thread's.
    private void TakeOffList((IRevocable Resource, ulong Number)[] things, long requestId)
    {
        DateTimeOffset now = TimeProvider.GetUtcNow();
        foreach ((IRevocable resource, ulong number) in things)
        {
            _held.Remove((resource, number));
            Discharge(Index(resource.Kind));
            Count(EnvironmentCounter.Repossessed);
            Repossessions.Add(new Repossession(resource, number, now, requestId));
        }
    }

    private void Repossess((IRevocable Resource, ulong Number)[] things)
    {
        foreach ((IRevocable resource, ulong number) in things)
        {
            resource.Repossess(new RepossessionOrder(this, number));
        }
    }
}
