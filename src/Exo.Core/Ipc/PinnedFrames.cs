// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Memory;

namespace Exo.Core.Ipc;

/// <summary>
/// A run of frames that something works in for long, by address: as a sleeping predicate, it holds their epochs, so that they are handed on to nobody, and lets go as soon as one is taken back.
/// Work is done under <see cref="Lock"/>, and only while <see cref="IsRevoked"/> is false there: passing through the lock once is the grace period.
/// </summary>
internal sealed class PinnedFrames : IDisposable
{
    private readonly List<BindingEpoch> _held = [];
    private readonly Action _revoke;
    private int _leases;
    private bool _isReleased;

    /// <summary>Checks the rights and pins.</summary>
    /// <exception cref="AccessDeniedException">A right is lacking, or a binding was taken back.</exception>
    public PinnedFrames(FramePool pool, Credential credential, FrameNumber first, int count, Rights rights, Lock? sharedLock = null)
    {
        Lock = sharedLock ?? new Lock();
        Pool = pool;
        First = first;
        Count = count;
        Address = pool.Address(first);
        _revoke = Release;
        try
        {
            for (uint i = 0; i < (uint)count; i++)
            {
                SecureBinding<Frame> binding = pool.Bind(credential, new FrameNumber(first.Value + i), rights);
                if (i == 0)
                {
                    FirstBinding = binding;
                }

                Pin(binding.Epoch!, rights);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Who holds it and has seen <see cref="IsRevoked"/> false may touch the memory.</summary>
    public Lock Lock { get; }

    public FramePool Pool { get; }

    public FrameNumber First { get; }

    public int Count { get; }

    /// <summary>Where the run begins.</summary>
    public nint Address { get; }

    /// <summary>The binding to the first frame, for predicates.</summary>
    public SecureBinding<Frame> FirstBinding { get; }

    /// <summary>They are not to be touched any more, but by leases that are out.</summary>
    public bool IsRevoked { get; private set; }

    public void Dispose() => Release();

    /// <summary>Somebody goes on working in them beyond the lock: they are handed on to nobody before <see cref="EndLease"/>. Under the lock.</summary>
    public void Lease() => _leases++;

    /// <summary>The counterpart of <see cref="Lease"/>; not under the lock.</summary>
    public void EndLease()
    {
        bool isLast;
        lock (Lock)
        {
            Invariant.Check(_leases > 0);
            isLast = --_leases == 0 && IsRevoked;
        }

        if (isLast)
        {
            Release();
        }
    }

    private void Pin(BindingEpoch epoch, Rights rights)
    {
        if (!epoch.TryHold())
        {
            throw BindingPoint.Revoked(First.ToString(), rights);
        }

        lock (Lock)
        {
            _held.Add(epoch);
        }

        if (!epoch.TrySubscribe(_revoke))
        {
            throw BindingPoint.Revoked(First.ToString(), rights);
        }
    }

    private void Release()
    {
        BindingEpoch[] held;
        lock (Lock)
        {
            IsRevoked = true;
            if (_isReleased || _leases > 0)
            {
                return;
            }

            _isReleased = true;
            held = [.. _held];
        }

        foreach (BindingEpoch epoch in held)
        {
            epoch.Unsubscribe(_revoke);
            epoch.Drop();
        }
    }
}
