// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Core.DownloadedCode;
using Exo.Core.Environments;
using Exo.Core.Linux;
using Exo.Core.PacketFilters;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Net;

/// <summary>
/// A filter tree at an interface's XDP hook: a map of sockets, the program that redirects to it, and the link that holds the program there. The link is an open
/// file: when it is closed, by us or by the end of the process however it comes, the interface is as it was.
/// </summary>
internal sealed unsafe class XdpProgram : IDisposable
{
    private readonly string _interfaceName;
    private readonly PacketFilterTree? _filters;
    private readonly SafeFileHandle _map;
    private readonly SafeFileHandle _link;
    private readonly Lock _lock = new();
    private long _version;

    private XdpProgram(string interfaceName, PacketFilterTree? filters, SafeFileHandle map, SafeFileHandle link, bool isGeneric, string? note, long version)
    {
        _version = version;
        _interfaceName = interfaceName;
        _filters = filters;
        _map = map;
        _link = link;
        IsGeneric = isGeneric;
        Note = note;
    }

    public bool IsGeneric { get; }

    /// <summary>Why it is not in the driver.</summary>
    public string? Note { get; }

    /// <param name="link">The interface.</param>
    /// <param name="options">Where, and the filters.</param>
    /// <param name="queues">Queues that can be directed (<see cref="Direct"/>): those below this number.</param>
    public static XdpProgram Attach(NetworkLink link, XdpOptions options, int queues)
    {
        BpfMapCreate create = new() { Type = BpfAbi.MAP_TYPE_XSKMAP, KeyBytes = 4, ValueBytes = 4, EntriesMax = (uint)queues };
        using SafeFileHandle? map = Handle(Libc.Bpf(BpfAbi.MAP_CREATE, &create)) ?? throw Refused(link.Name, "make a map of sockets for", "it needs CAP_BPF and CAP_NET_ADMIN");
        long version = options.Filters?.Version ?? 0;   // first: a filter that comes in between is looked at twice
        using SafeFileHandle program = Load(link.Name, options.Filters, map);
        string? note = null;
        if (options.Mode != XdpMode.Generic)
        {
            if (TryAttach(link.Index, program, XdpAbi.XDP_FLAGS_DRV_MODE) is { } driver)
            {
                return new XdpProgram(link.Name, options.Filters, Keep(map), driver, isGeneric: false, null, version);
            }

            if (options.Mode == XdpMode.Driver)
            {
                throw Refused(link.Name, "attach an XDP program to the driver of");
            }

            note = $"the driver takes no XDP program: {Errno.Describe(Errno.Last)}";
        }

        return TryAttach(link.Index, program, XdpAbi.XDP_FLAGS_SKB_MODE) is { } generic
            ? new XdpProgram(link.Name, options.Filters, Keep(map), generic, isGeneric: true, note, version)
            : throw Refused(link.Name, "attach an XDP program to", "another one may be there");
    }

    /// <summary>From now on the packets of a queue that a filter accepts go to that socket.</summary>
    public void Direct(int queue, int socket)
    {
        uint key = (uint)queue, value = (uint)socket;
        BpfMapUpdate update = new() { Map = Number(_map), Key = (ulong)&key, Value = (ulong)&value };
        if (Libc.Bpf(BpfAbi.MAP_UPDATE_ELEM, &update) != 0)
        {
            throw Refused(_interfaceName, "direct packets to the socket on");
        }
    }

    /// <summary>Replaces the program by one for the filters as they are now; no packet is seen by neither or by both.</summary>
    public void Update()
    {
        lock (_lock)
        {
            if (_filters is null || _link.IsClosed || _version == _filters.Version)
            {
                return;
            }

            long version = _filters.Version;
            using SafeFileHandle program = Load(_interfaceName, _filters, _map);
            BpfLinkUpdate update = new() { Link = Number(_link), Program = Number(program) };
            if (Libc.Bpf(BpfAbi.LINK_UPDATE, &update) != 0)
            {
                throw Refused(_interfaceName, "replace the XDP program of");
            }

            _version = version;
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _link.Dispose();
            _map.Dispose();
        }
    }

    private static SafeFileHandle? TryAttach(int interfaceIndex, SafeFileHandle program, uint mode)
    {
        BpfLinkCreate create = new() { Program = Number(program), InterfaceIndex = (uint)interfaceIndex, AttachType = BpfAbi.ATTACH_XDP, Flags = mode };
        return Handle(Libc.Bpf(BpfAbi.LINK_CREATE, &create));
    }

    private static SafeFileHandle Load(string interfaceName, PacketFilterTree? filters, SafeFileHandle map)
    {
        byte[] instructions = Lower(filters, (int)map.DangerousGetHandle()).ToBytes();
        fixed (byte* first = instructions, license = "MIT\0"u8)
        {
            // Packets longer than a page come to programs only that say that they know about pieces; kernels before 5.18 do not know the flag.
            foreach (uint flags in (ReadOnlySpan<uint>)[BpfAbi.PROG_XDP_HAS_FRAGS, 0])
            {
                BpfProgramLoad load = new()
                {
                    Type = BpfAbi.PROG_TYPE_XDP,
                    InstructionCount = (uint)(instructions.Length / Instruction.SizeBytes),
                    Instructions = (ulong)first,
                    License = (ulong)license,
                    Flags = flags,
                    ExpectedAttachType = BpfAbi.ATTACH_XDP,
                };
                if (Handle(Libc.Bpf(BpfAbi.PROG_LOAD, &load)) is { } program)
                {
                    return program;
                }
            }
        }

        throw Refused(interfaceName, "load the filters' program for");
    }

    private static Program Lower(PacketFilterTree? filters, int map)
    {
        if (filters is null)
        {
            // A tree of its own with the filter that accepts everything.
            var authority = Exo.Capabilities.CapabilityAuthority.Create();
            using ExoEnvironment all = ExoEnvironment.CreateRoot(authority);
            PacketFilterTree tree = new(authority);
            tree.TryInsert(all, PacketFilter.Create(), out _);
            bool isShort = tree.TryToXdpProgram(map, out Program? everything);
            Invariant.Check(isShort);
            return everything!;
        }

        return filters.TryToXdpProgram(map, out Program? program) ? program : throw new InvalidOperationException("The filters make a program longer than 32,767 slots.");
    }

    private static SafeFileHandle? Handle(int fd) => fd < 0 ? null : new SafeFileHandle(fd, ownsHandle: true);

    // The caller's "using" closes its own handle.
    private static SafeFileHandle Keep(SafeFileHandle handle)
    {
        SafeFileHandle kept = new(handle.DangerousGetHandle(), ownsHandle: true);
        handle.SetHandleAsInvalid();
        return kept;
    }

    private static uint Number(SafeFileHandle handle) => (uint)handle.DangerousGetHandle();

    private static NetworkDeviceException Refused(string name, string what, string? hint = null)
    {
        int errno = Errno.Last;
        return new NetworkDeviceException(errno, name, $"Cannot {what} {name}: {Errno.Describe(errno)}{(hint is null ? "" : "; " + hint)}.");
    }
}
