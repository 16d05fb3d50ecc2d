// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Environments;

namespace Exo.Core.Ipc;

/// <summary>What an environment does for others: runs in it, on its caller's thread and in its caller's slice.</summary>
/// <param name="caller">Who calls. The exokernel says it, not the caller.</param>
/// <param name="request">The words passed: a copy.</param>
public delegate TReply ProtectedMethod<TRequest, TReply>(ExoEnvironment caller, TRequest request)
    where TRequest : unmanaged
    where TReply : unmanaged;

/// <summary>
/// Where an environment lets itself be called (Xok's ipc1): a protected control transfer. A caller who passes the guard binds once; each call then enters the environment, which nobody else is in meanwhile, runs the
/// method in the caller's slice, and comes back: no switch, no queue. Words are passed by value in both directions; what is larger goes through frames.
/// <para>
/// While the environment runs, or is being called, further callers are refused as busy (Xok's IPC_BLOCKED): so its code is never in two places, and whoever calls in a circle is told, not stuck.
/// </para>
/// </summary>
public sealed class ProtectedEntry<TRequest, TReply> : IDisposable
    where TRequest : unmanaged
    where TReply : unmanaged
{
    private readonly AccessControlList _guard;
    private volatile bool _isClosed;

    /// <summary>Opens an entry.</summary>
    /// <param name="callee">Whose code the method is.</param>
    /// <param name="guard">Who may call: whoever may read.</param>
    /// <param name="method">What is done. Short: it keeps its caller's processor. What it throws the caller sees as <see cref="CallRefusal.Failed"/>, and the callee in <see cref="LastFailure"/>.</param>
    public ProtectedEntry(ExoEnvironment callee, AccessControlList guard, ProtectedMethod<TRequest, TReply> method)
    {
        ArgumentNullException.ThrowIfNull(callee);
        ArgumentNullException.ThrowIfNull(guard);
        ArgumentNullException.ThrowIfNull(method);
        Callee = callee;
        _guard = guard;
        Method = method;
    }

    /// <summary>Whose entry it is.</summary>
    public ExoEnvironment Callee { get; }

    /// <summary>What the method threw last; for the callee to look at.</summary>
    public Exception? LastFailure { get; internal set; }

    internal ProtectedMethod<TRequest, TReply> Method { get; }

    internal bool IsClosed => _isClosed;

    /// <summary>Checks once whether an environment may call, and hands out what it calls with.</summary>
    /// <exception cref="AccessDeniedException">The guard does not let the caller's capability through, or the entry is closed.</exception>
    public ProtectedCall<TRequest, TReply> Bind(ExoEnvironment caller)
    {
        ArgumentNullException.ThrowIfNull(caller);
        AccessRefusal refusal = _isClosed ? AccessRefusal.Revoked : _guard.Check(caller.Credential, Rights.Read);
        return refusal == AccessRefusal.None
            ? new ProtectedCall<TRequest, TReply>(this, caller)
            : throw new AccessDeniedException($"entry of {Callee}", Rights.Read, refusal);
    }

    /// <summary>Closes the entry: calls from now on are refused as <see cref="CallRefusal.Revoked"/>. One in progress comes to its end.</summary>
    public void Dispose() => _isClosed = true;
}

/// <summary>The right to call, checked once.</summary>
public sealed class ProtectedCall<TRequest, TReply>
    where TRequest : unmanaged
    where TReply : unmanaged
{
    private readonly ProtectedEntry<TRequest, TReply> _entry;
    private readonly ExoEnvironment _callee;
    private readonly ExoEnvironment _caller;

    internal ProtectedCall(ProtectedEntry<TRequest, TReply> entry, ExoEnvironment caller)
    {
        _entry = entry;
        _callee = entry.Callee;
        _caller = caller;
    }

    /// <summary>Calls, if the callee is in nobody's hands. Never waits, allocates nothing.</summary>
    /// <param name="request">What is passed.</param>
    /// <param name="reply">What came back; the default value when refused.</param>
    public CallRefusal TryCall(TRequest request, out TReply reply)
    {
        reply = default;
        ExoEnvironment callee = _callee;
        if (!callee.TryEnter())
        {
            return callee.HasEnded ? CallRefusal.Ended : CallRefusal.Busy;
        }

        CallRefusal refusal = Run(request, out reply);
        callee.Exit();
        return refusal;
    }

    /// <summary>
    /// <see cref="TryCall"/>; and where the callee is busy and on a scheduler, the call waits on its queue and is answered in the callee's own slice.
    /// </summary>
    /// <exception cref="ProtectedCallException">The call was refused, or the method threw.</exception>
    public ValueTask<TReply> CallAsync(TRequest request)
    {
        CallRefusal refusal = TryCall(request, out TReply reply);
        return refusal switch
        {
            CallRefusal.None => new ValueTask<TReply>(reply),
            CallRefusal.Busy => new ValueTask<TReply>(WaitAsync(request)),
            _ => ValueTask.FromException<TReply>(new ProtectedCallException(_callee, refusal)),
        };
    }

    private async Task<TReply> WaitAsync(TRequest request)
    {
        if (_callee.Scheduled is { } scheduled)
        {
            return await scheduled.Start(_ =>
            {
                // The callee runs, so the caller is in it already.
                CallRefusal refusal = Run(request, out TReply reply);
                return refusal == CallRefusal.None ? new ValueTask<TReply>(reply) : throw new ProtectedCallException(_callee, refusal);
            });
        }

        while (true)
        {
            await Task.Yield();
            CallRefusal refusal = TryCall(request, out TReply reply);
            if (refusal != CallRefusal.Busy)
            {
                return refusal == CallRefusal.None ? reply : throw new ProtectedCallException(_callee, refusal);
            }
        }
    }

    // In the callee. Whatever its method starts goes on there, not with the caller.
    private CallRefusal Run(TRequest request, out TReply reply)
    {
        reply = default;
        if (_entry.IsClosed || _callee.HasEnded || _caller.HasEnded)
        {
            return _entry.IsClosed ? CallRefusal.Revoked : CallRefusal.Ended;
        }

        SynchronizationContext? callers = SynchronizationContext.Current;
        SynchronizationContext? callees = _callee.Scheduled?.Context;
        if (callers != callees)
        {
            SynchronizationContext.SetSynchronizationContext(callees);
        }

        try
        {
            reply = _entry.Method(_caller, request);
            return CallRefusal.None;
        }
#pragma warning disable CA1031 // What a callee throws is its own affair and must not unwind its caller.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            _entry.LastFailure = failure;
            return CallRefusal.Failed;
        }
        finally
        {
            if (callers != callees)
            {
                SynchronizationContext.SetSynchronizationContext(callers);
            }
        }
    }
}

/// <summary>Why a protected call was not carried out. A closed list.</summary>
public enum CallRefusal : byte
{
    /// <summary>It was.</summary>
    None = 0,

    /// <summary>The callee runs, or is being called by somebody; or the caller is in it already, directly or through others.</summary>
    Busy = 1,

    /// <summary>The entry is closed.</summary>
    Revoked = 2,

    /// <summary>The callee, or the caller, has ended.</summary>
    Ended = 3,

    /// <summary>The method threw.</summary>
    Failed = 4,
}

/// <summary>A protected call that was refused.</summary>
public sealed class ProtectedCallException : Exception
{
    internal ProtectedCallException(ExoEnvironment callee, CallRefusal refusal)
        : base($"The call of {callee} was refused: {refusal}.")
    {
        Refusal = refusal;
    }

    /// <summary>Why.</summary>
    public CallRefusal Refusal { get; }
}
