// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Net;

/// <summary>Memory that a handler in the kernel and its library OS share: a map of one value, mapped here. Neither needs a call to see what the other writes.</summary>
internal sealed unsafe class HandlerMemory : IDisposable
{
    private readonly SafeFileHandle _map;
    private readonly MappedRegion _region;

    private HandlerMemory(SafeFileHandle map, MappedRegion region)
    {
        _map = map;
        _region = region;
    }

    /// <summary>What programs load an address of it by (BPF_PSEUDO_MAP_VALUE).</summary>
    public int Descriptor => (int)_map.DangerousGetHandle();

    /// <summary>The first byte.</summary>
    public nint Address => _region.Address;

    /// <summary>Zeroed memory.</summary>
    /// <exception cref="NetworkDeviceException">The kernel refused.</exception>
    public static HandlerMemory Create(string interfaceName, int lengthBytes)
    {
        BpfMapCreate create = new() { Type = BpfAbi.MAP_TYPE_ARRAY, KeyBytes = 4, ValueBytes = (uint)lengthBytes, EntriesMax = 1, Flags = BpfAbi.F_MMAPABLE };
        int map = Libc.Bpf(BpfAbi.MAP_CREATE, &create);
        if (map < 0)
        {
            int errno = Errno.Last;
            throw new NetworkDeviceException(errno, interfaceName, $"Cannot make memory for a handler of {interfaceName}: {Errno.Describe(errno)}; it needs CAP_BPF.");
        }

        SafeFileHandle handle = new(map, ownsHandle: true);
        try
        {
            return new HandlerMemory(handle, MappedRegion.Shared(map, lengthBytes));
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        _region.Dispose();
        _map.Dispose();
    }
}
