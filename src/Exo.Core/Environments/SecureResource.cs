// SPDX-License-Identifier: MIT
using Exo.Capabilities;

namespace Exo.Core.Environments;

/// <summary>
/// A resource behind an access-control list, to be reached through secure bindings: block extents, packet rings, ports,
/// or whatever its maker hands out. (Frames, of which there are millions, have the same built into
/// <see cref="Memory.FramePool"/>.) Thread-safe.
/// </summary>
/// <typeparam name="T">What a use gives access to.</typeparam>
public sealed class SecureResource<T>
    where T : notnull
{
    private readonly BindingPoint _point = new();
    private readonly AccessControlList _guard;
    private readonly T _value;
    private volatile bool _isRetired;

    /// <summary>Puts <paramref name="value"/> behind a guard. Whoever keeps a reference to the value itself is on the kernel's side.</summary>
    /// <param name="name">For messages, e.g. "port 80".</param>
    /// <param name="value">The thing that uses get to see.</param>
    /// <param name="guard">Who may; change it through <see cref="TryModifyAcl"/> only, so that bindings end.</param>
    public SecureResource(string name, T value, AccessControlList guard)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(value);
        ArgumentNullException.ThrowIfNull(guard);
        Name = name;
        _value = value;
        _guard = guard;
    }

    /// <summary>The resource's name.</summary>
    public string Name { get; }

    /// <summary>Whether a credential has a right here. Allocates nothing.</summary>
    public AccessRefusal Check(Credential credential, Rights wanted) =>
        _isRetired ? AccessRefusal.Revoked : _guard.Check(credential, wanted);

    /// <summary>Checks the right once and hands out a binding.</summary>
    /// <exception cref="AccessDeniedException">The credential lacks the right, or the resource is retired.</exception>
    public SecureBinding<T> Bind(Credential credential, Rights rights)
    {
        AccessRefusal refusal = TryBind(credential, rights, out SecureBinding<T> binding);
        return refusal == AccessRefusal.None ? binding : throw new AccessDeniedException(Name, rights, refusal);
    }

    /// <summary><see cref="Bind"/> that tells why not instead of throwing.</summary>
    public AccessRefusal TryBind(Credential credential, Rights rights, out SecureBinding<T> binding)
    {
        // The epoch first, the right second: see BindingPoint.
        BindingEpoch epoch = _point.Current;
        AccessRefusal refusal = Check(credential, rights);
        binding = refusal == AccessRefusal.None ? new SecureBinding<T>(epoch, _value, rights) : default;
        return refusal;
    }

    /// <summary>Changes an entry of the access-control list (null clears it). Every binding ends, and uses in progress are waited for.</summary>
    /// <exception cref="InvalidOperationException">The calling thread is inside a use.</exception>
    public AccessRefusal TryModifyAcl(Credential by, int index, AclEntry? entry)
    {
        BindingPoint.ThrowIfInUse();
        if (_isRetired)
        {
            return AccessRefusal.Revoked;
        }

        if (_guard.TryModify(by, index, entry, out AccessRefusal refusal))
        {
            _point.CloseAndWait();
        }

        return refusal;
    }

    /// <summary>Ends every binding and waits for uses in progress; new bindings can be made. Needs the right to modify the list.</summary>
    /// <exception cref="InvalidOperationException">The calling thread is inside a use.</exception>
    public AccessRefusal TryRevoke(Credential by)
    {
        BindingPoint.ThrowIfInUse();
        AccessRefusal refusal = Check(by, Rights.ModifyAcl);
        if (refusal == AccessRefusal.None)
        {
            _point.CloseAndWait();
        }

        return refusal;
    }

    /// <summary>
    /// The resource's maker takes it back for good: every binding ends, none can be made. Does not wait.
    /// </summary>
    /// <param name="whenUnused">Runs once, when the last use in progress has left; at once if there is none.</param>
    public void Retire(Action whenUnused)
    {
        ArgumentNullException.ThrowIfNull(whenUnused);
        _isRetired = true;
        if (_point.Close() is { } epoch)
        {
            epoch.WhenDrained(whenUnused);
        }
        else
        {
            whenUnused();
        }
    }

    /// <inheritdoc/>
    public override string ToString() => Name;
}
