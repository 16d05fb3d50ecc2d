// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Exo.Capabilities;

namespace Exo.Core.Memory;

/// <summary>
/// Access-control lists of frames. A frame's owner field is its owner's number while the list is the owner's unchanged one, and
/// the negated number once the frame has a list of its own, kept here.
/// </summary>
internal sealed class FrameAcls(FrameOwners owners)
{
    private readonly ConcurrentDictionary<uint, AccessControlList> _own = new();
    private readonly Lock _changing = new();

    /// <summary>The list that guards a frame whose owner field reads <paramref name="owner"/>.</summary>
    public AccessControlList ListOf(FrameNumber frame, int owner) =>
        owner < 0 && _own.TryGetValue(frame.Value, out AccessControlList? own) ? own : owners.ListOf(Math.Abs(owner));

    /// <summary>Changes one entry, giving the frame a list of its own first if need be. A refusal changes nothing.</summary>
    public bool TryModify(Credential by, FrameNumber frame, ref int owner, int index, AclEntry? entry, out AccessRefusal refusal)
    {
        lock (_changing)
        {
            int seen = Volatile.Read(ref owner);
            if (seen == 0)
            {
                refusal = AccessRefusal.NotDominated;
                return false;
            }

            AccessControlList list = seen < 0 ? ListOf(frame, seen) : owners.NewListFor(seen);
            if (!list.TryModify(by, index, entry, out refusal))
            {
                return false;
            }

            if (seen > 0)
            {
                _own[frame.Value] = list;
                if (Interlocked.CompareExchange(ref owner, -seen, seen) != seen)
                {
                    // Freed meanwhile: the list goes with it.
                    _own.TryRemove(frame.Value, out _);
                    refusal = AccessRefusal.NotDominated;
                    return false;
                }
            }

            return true;
        }
    }

    /// <summary>The frame is being freed; <paramref name="owner"/> is what its field read.</summary>
    public void Forget(FrameNumber frame, int owner)
    {
        if (owner < 0)
        {
            _own.TryRemove(frame.Value, out _);
        }
    }
}
