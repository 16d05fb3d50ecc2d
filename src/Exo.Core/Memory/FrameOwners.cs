// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Exo.Capabilities;

namespace Exo.Core.Memory;

/// <summary>
/// The names that own frames, numbered from 1, so that a frame's access-control list costs four bytes until somebody changes
/// it. Each name has one unchanged list, shared by all its frames. Names are kept for the pool's life: a pool has few owners.
/// </summary>
internal sealed class FrameOwners(CapabilityAuthority authority)
{
    private readonly ConcurrentDictionary<CapabilityName, int> _indexByName = new();
    private readonly Lock _growing = new();
    private AccessControlList[] _lists = new AccessControlList[8];
    private int _count;

    /// <summary>Names so far; they are numbered from 1.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>The number of the name that new frames of this credential belong to: that of its first valid capability.</summary>
    /// <exception cref="AccessDeniedException">The credential has no valid capability of this authority.</exception>
    public int IndexOf(Credential owner)
    {
        ArgumentNullException.ThrowIfNull(owner);
        foreach (Capability capability in owner.Capabilities)
        {
            if (capability.IsValid && ReferenceEquals(capability.Authority, authority))
            {
                CapabilityName name = capability.Name;
                return _indexByName.TryGetValue(name, out int index) ? index : Add(name);
            }
        }

        throw new AccessDeniedException("page frames", Rights.Write, AccessRefusal.NoValidCapability);
    }

    /// <summary>The list that frames of this owner have until it is changed. Never changed itself.</summary>
    public AccessControlList ListOf(int index) => Volatile.Read(ref _lists)[index];

    /// <summary>A fresh list for one frame of this owner, to be changed.</summary>
    public AccessControlList NewListFor(int index) => new(ListOf(index)[0]!.Value.Name, authority: authority);

    private int Add(CapabilityName name)
    {
        lock (_growing)
        {
            if (_indexByName.TryGetValue(name, out int index))
            {
                return index;
            }

            index = _count + 1;
            AccessControlList[] lists = _lists;
            if (index == lists.Length)
            {
                Array.Resize(ref lists, lists.Length * 2);
            }

            lists[index] = new AccessControlList(name, capacity: 1, authority);
            Volatile.Write(ref _lists, lists);
            _indexByName[name] = index;
            Volatile.Write(ref _count, index);
            return index;
        }
    }
}
