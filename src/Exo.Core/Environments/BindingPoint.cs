// SPDX-License-Identifier: MIT
using Exo.Capabilities;

namespace Exo.Core.Environments;

/// <summary>
/// The place on a resource where bindings hang: its current epoch. An epoch that is closed while uses are in progress is itself
/// one use of its successor, so that "this epoch is drained" says that all earlier ones are.
/// </summary>
/// <remarks>Who binds takes the epoch first and checks the right second; who takes a right away changes it first and closes
/// the epoch second. Whatever the interleaving, no binding survives that rests on a right that is gone.</remarks>
internal sealed class BindingPoint
{
    private readonly Lock _closing = new();
    private BindingEpoch? _current;

    /// <summary>The epoch that new bindings belong to.</summary>
    public BindingEpoch Current
    {
        get
        {
            BindingEpoch? current = Volatile.Read(ref _current);
            if (current is not null)
            {
                return current;
            }

            BindingEpoch made = new();
            return Interlocked.CompareExchange(ref _current, made, null) ?? made;
        }
    }

    /// <summary>Whether uses are in progress, of the current epoch or of earlier ones. Changes under the reader.</summary>
    public bool IsInUse => Volatile.Read(ref _current) is { IsInUse: true };

    /// <summary>Ends every binding made so far. Does not wait: the epoch returned says when the last use has left; null: there was none.</summary>
    public BindingEpoch? Close()
    {
        lock (_closing)
        {
            BindingEpoch? old = Volatile.Read(ref _current);
            if (old is null)
            {
                return null;
            }

            BindingEpoch next = new();
            bool held = next.TryHold();
            Invariant.Check(held);
            old.Close();
            bool drained = old.WhenDrained(next.Drop);
            Volatile.Write(ref _current, drained ? null : next);
            return old;
        }
    }

    /// <summary>Ends every binding and waits for the uses in progress.</summary>
    /// <exception cref="InvalidOperationException">The calling thread is inside a use: it might wait for itself.</exception>
    public void CloseAndWait()
    {
        ThrowIfInUse();
        Close()?.WaitUntilDrained();
    }

    /// <summary>What has to be asked before anything is changed that ends with a wait for users.</summary>
    public static void ThrowIfInUse()
    {
        if (BindingEpoch.ThreadIsInUse)
        {
            throw new InvalidOperationException("A thread inside a use of a binding cannot take bindings back: it might wait for itself. Dispose the use first.");
        }
    }

    /// <summary>The error of every use after revocation.</summary>
    public static AccessDeniedException Revoked(string resource, Rights wanted) => new(resource, wanted, AccessRefusal.Revoked);
}
