// SPDX-License-Identifier: MIT
using Exo.Core.Linux;

namespace Exo.Core.Net;

/// <summary>
/// One of the four rings of an AF_XDP socket: entries between two counters, one written by us, one by the kernel. Counters run freely; entry n is at n &amp; mask.
/// <code>
///   fill, transmit         we write entries, then our counter (producer); the kernel's (consumer) says what it has taken
///   receive, completion    the kernel writes; our counter (consumer) says what we have taken
/// </code>
/// </summary>
internal sealed unsafe class XdpRing : IDisposable
{
    private readonly MappedRegion _region;
    private readonly uint* _producer;
    private readonly uint* _consumer;
    private readonly uint* _flags;
    private readonly byte* _entries;
    private readonly uint _count;
    private uint _mine;

    private XdpRing(MappedRegion region, in XdpRingOffsets offsets, uint count)
    {
        byte* at = (byte*)region.Address;
        _region = region;
        _producer = (uint*)(at + offsets.Producer);
        _consumer = (uint*)(at + offsets.Consumer);
        _flags = (uint*)(at + offsets.Flags);
        _entries = at + offsets.Entries;
        _count = count;
    }

    /// <summary>The kernel wants to be called before it looks at the ring.</summary>
    public bool NeedsWakeup => (Volatile.Read(ref *_flags) & XdpAbi.XDP_RING_NEED_WAKEUP) != 0;

    /// <summary>Entries in all.</summary>
    public int Capacity => (int)_count;

    /// <summary>We produce: entries that can be written.</summary>
    public uint Room => _count - (_mine - Volatile.Read(ref *_consumer));

    /// <summary>We produce: entries that the kernel has not taken yet.</summary>
    public uint Waiting => Volatile.Read(ref *_producer) - Volatile.Read(ref *_consumer);

    /// <summary>We consume: entries that can be read.</summary>
    public uint Available => Volatile.Read(ref *_producer) - _mine;

    /// <summary>Sizes a ring and maps it.</summary>
    /// <param name="socket">The AF_XDP socket.</param>
    /// <param name="option">XDP_RX_RING and so on.</param>
    /// <param name="pageOffset">Where mmap finds it.</param>
    /// <param name="offsets">Where its parts are.</param>
    /// <param name="count">Entries, a power of two.</param>
    /// <param name="entryBytes">16 for descriptors, 8 for addresses.</param>
    /// <exception cref="IOException">The kernel refused.</exception>
    public static XdpRing Open(int socket, int option, long pageOffset, in XdpRingOffsets offsets, int count, int entryBytes)
    {
        if (Libc.SetSocketOption(socket, XdpAbi.SOL_XDP, option, &count, sizeof(int)) != 0)
        {
            throw new IOException($"Cannot make a ring of {count} entries: {Errno.Describe(Errno.Last)}.");
        }

        return new XdpRing(MappedRegion.Shared(socket, (long)offsets.Entries + (long)count * entryBytes, pageOffset, Abi.MAP_POPULATE), offsets, (uint)count);
    }

    /// <summary>The descriptor <paramref name="index"/> places behind our counter.</summary>
    public ref XdpDescriptor Descriptor(uint index) => ref ((XdpDescriptor*)_entries)[(_mine + index) & (_count - 1)];

    /// <summary>The address <paramref name="index"/> places behind our counter.</summary>
    public ref ulong Address(uint index) => ref ((ulong*)_entries)[(_mine + index) & (_count - 1)];

    /// <summary>We produce: hands over the next entries.</summary>
    public void Produce(uint count)
    {
        _mine += count;
        Volatile.Write(ref *_producer, _mine);
    }

    /// <summary>We consume: gives back the next entries.</summary>
    public void Consume(uint count)
    {
        _mine += count;
        Volatile.Write(ref *_consumer, _mine);
    }

    public void Dispose() => _region.Dispose();
}
