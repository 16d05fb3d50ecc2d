// SPDX-License-Identifier: MIT
using Exo.Capabilities;

namespace Exo.Core.Environments;

/// <summary>
/// A secure binding (SOSP'95, section 3.2): the right to a resource (a frame, a block extent, a packet ring, a port) was
/// checked once, when the binding was made; each use costs two atomic instructions. The binding does not keep the resource: once the resource is taken
/// back, every use fails with <see cref="AccessRefusal.Revoked"/>, and the resource is not handed on before the uses
/// that were in progress have ended.
/// </summary>
/// <remarks>A value; copies are the same binding. Revoking a capability does not by itself undo bindings made with it.</remarks>
/// <typeparam name="T">What the user gets to see of the resource; reachable only through a use.</typeparam>
public readonly struct SecureBinding<T>
    where T : notnull
{
    private readonly BindingEpoch? _epoch;
    private readonly T _resource;

    internal SecureBinding(BindingEpoch epoch, T resource, Rights rights)
    {
        _epoch = epoch;
        _resource = resource;
        Rights = rights;
    }

    /// <summary>What may be done with it.</summary>
    public Rights Rights { get; }

    /// <summary>Whether the binding still holds. Only a use keeps the answer from changing.</summary>
    public bool IsValid => _epoch is not null && _epoch.IsOpen;

    /// <summary>What a predicate pins and subscribes to.</summary>
    internal BindingEpoch? Epoch => _epoch;

    /// <summary>The resource by name, outside a use: for those who pin the epoch before they touch it.</summary>
    internal T Named => _resource;

    /// <summary>The resource's name, for messages.</summary>
    public override string ToString() => _epoch is null ? "no binding" : $"binding to {_resource}";

    /// <summary>Begins a use; dispose it to end it. Keep uses short: a revocation waits for them.</summary>
    /// <exception cref="AccessDeniedException">The binding was revoked, or was made without the right.</exception>
    /// <exception cref="InvalidOperationException">This is the default value and binds nothing.</exception>
    public BindingUse<T> Use(Rights wanted = Rights.Read)
    {
        AccessRefusal refusal = TryUse(wanted, out BindingUse<T> use);
        return refusal == AccessRefusal.None ? use : throw new AccessDeniedException(_resource.ToString() ?? "resource", wanted, refusal);
    }

    /// <summary><see cref="Use"/> that tells why not instead of throwing: <see cref="AccessRefusal.Revoked"/> or <see cref="AccessRefusal.RightNotHeld"/>.</summary>
    /// <exception cref="InvalidOperationException">This is the default value and binds nothing.</exception>
    public AccessRefusal TryUse(Rights wanted, out BindingUse<T> use)
    {
        use = default;
        if (_epoch is null)
        {
            throw new InvalidOperationException("The default value of a binding binds nothing.");
        }

        if ((wanted & ~Rights) != 0)
        {
            return AccessRefusal.RightNotHeld;
        }

        if (!_epoch.TryEnter())
        {
            return AccessRefusal.Revoked;
        }

        use = new BindingUse<T>(_epoch, _resource, wanted);
        return AccessRefusal.None;
    }
}

/// <summary>
/// A use in progress: the resource stays what it is until this is disposed, by the thread that began it. Do not keep the
/// resource, or anything reached through it, beyond that, and do not dispose a copy: that is a broken invariant.
/// </summary>
public ref struct BindingUse<T>
    where T : notnull
{
    private readonly T _resource;
    private BindingEpoch? _epoch;

    internal BindingUse(BindingEpoch epoch, T resource, Rights rights)
    {
        _epoch = epoch;
        _resource = resource;
        Rights = rights;
    }

    /// <summary>The right that this use was begun with.</summary>
    public Rights Rights { get; }

    /// <summary>The resource.</summary>
    /// <exception cref="ObjectDisposedException">The use has ended.</exception>
    public readonly T Resource
    {
        get
        {
            ObjectDisposedException.ThrowIf(_epoch is null, typeof(BindingUse<T>));
            return _resource;
        }
    }

    /// <summary>Ends the use. Twice is once. A use of a frame that could write wakes whose predicates hold now.</summary>
    public void Dispose()
    {
        BindingEpoch? epoch = _epoch;
        _epoch = null;
        if (epoch is null)
        {
            return;
        }

        epoch.Leave();

        // Leaving is a full fence: what was written is visible before anybody's sleep is looked for. Known when compiled for each T.
        if (typeof(T) == typeof(Memory.Frame) && (Rights & Rights.Write) != 0)
        {
            ((Memory.Frame)(object)_resource).Ring();
        }
    }
}
