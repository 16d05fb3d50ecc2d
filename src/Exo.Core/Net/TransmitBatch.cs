// SPDX-License-Identifier: MIT
namespace Exo.Core.Net;

/// <summary>
/// Packets collected to be sent with one call. It holds no references to frames: who fills it keeps them until <see cref="NetworkDevice.Transmit(TransmitBatch)"/> has
/// accepted the packets. Allocates nothing after it was made. For one thread.
/// </summary>
public sealed class TransmitBatch
{
    private readonly TransmitPacket[] _packets;
    private readonly PacketSlice[] _slices;
    private int _first;
    private int _end;
    private int _sliceCount;

    /// <summary>Makes an empty batch.</summary>
    /// <param name="packetCapacity">Packets that fit, 1 or more.</param>
    /// <param name="sliceCapacity">Payload slices that fit, of all packets together.</param>
    public TransmitBatch(int packetCapacity = NetworkDevice.BatchPacketsMax, int sliceCapacity = 1024)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(packetCapacity, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(sliceCapacity);
        _packets = new TransmitPacket[packetCapacity];
        _slices = new PacketSlice[sliceCapacity];
    }

    /// <summary>Packets in it that no device has accepted yet.</summary>
    public int Count => _end - _first;

    /// <summary>The packets.</summary>
    public ReadOnlySpan<TransmitPacket> Packets => _packets.AsSpan(_first, Count);

    /// <summary>The vector of payload slices that the packets index.</summary>
    public ReadOnlySpan<PacketSlice> Slices => _slices.AsSpan(0, _sliceCount);

    /// <summary>Adds a packet.</summary>
    /// <returns>False, and nothing is changed, when there is no room: transmit first.</returns>
    public bool TryAdd(PacketSlice header, ReadOnlySpan<PacketSlice> payload, PacketOffload offload = default)
    {
        if (_end == _packets.Length || payload.Length > _slices.Length - _sliceCount)
        {
            return false;
        }

        payload.CopyTo(_slices.AsSpan(_sliceCount));
        _packets[_end++] = new TransmitPacket(header, _sliceCount, payload.Length, offload);
        _sliceCount += payload.Length;
        return true;
    }

    /// <summary>Drops the first packets, which have been accepted or are given up.</summary>
    public void RemoveFirst(int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, Count);
        _first += count;
        if (_first == _end)
        {
            Clear();
        }
    }

    /// <summary>Empties it.</summary>
    public void Clear() => _first = _end = _sliceCount = 0;
}
