// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Net.Cheetah;

/// <summary>
/// Compares paths by their bytes and finds array keys by a span, without allocating. The hash is not secret: only paths that
/// exist become keys, so a client cannot choose colliding ones.
/// </summary>
internal sealed class PathComparer : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
{
    public static readonly PathComparer Instance = new();

    public byte[] Create(ReadOnlySpan<byte> alternate) => alternate.ToArray();

    public bool Equals(ReadOnlySpan<byte> alternate, byte[] other) => alternate.SequenceEqual(other);

    public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

    public int GetHashCode(byte[] obj) => GetHashCode(obj.AsSpan());

    public int GetHashCode(ReadOnlySpan<byte> alternate)
    {
        const ulong Multiplier = 0x9E37_79B9_7F4A_7C15;
        ulong hash = (ulong)alternate.Length * Multiplier;
        while (alternate.Length >= sizeof(ulong))
        {
            hash = ulong.RotateLeft((hash ^ MemoryMarshal.Read<ulong>(alternate)) * Multiplier, 29);
            alternate = alternate[sizeof(ulong)..];
        }

        foreach (byte b in alternate)
        {
            hash = (hash ^ b) * Multiplier;
        }

        return (int)(hash >> 32);
    }
}
