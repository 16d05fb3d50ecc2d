// SPDX-License-Identifier: MIT
using System.Numerics;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// SipHash-2-4 (Aumasson, Bernstein 2012) of the four names of a connection and a word: what initial sequence numbers, SYN cookies and timestamp
/// offsets are drawn from, so that nobody who lacks the key can tell one from another.
/// </summary>
internal readonly struct SipHash(ulong key0, ulong key1)
{
    /// <summary>What the state begins with beside the key: "somepseudorandomlygeneratedbytes".</summary>
    public const ulong Initial0 = 0x736F_6D65_7073_6575, Initial1 = 0x646F_7261_6E64_6F6D, Initial2 = 0x6C79_6765_6E65_7261, Initial3 = 0x7465_6462_7974_6573;

    /// <summary>The first half of the key.</summary>
    public ulong Key0 => key0;

    /// <summary>The second half.</summary>
    public ulong Key1 => key1;

    public ulong Of(in ConnectionKey key, ulong word)
    {
        ReadOnlySpan<ulong> words =
            [key.Local.High, key.Local.Low, key.Remote.High, key.Remote.Low, ((ulong)key.LocalPort << 16) | key.RemotePort, word];
        return Of(words);
    }

    public ulong Of(ReadOnlySpan<ulong> words)
    {
        ulong v0 = key0 ^ Initial0, v1 = key1 ^ Initial1, v2 = key0 ^ Initial2, v3 = key1 ^ Initial3;
        foreach (ulong word in words)
        {
            v3 ^= word;
            Rounds(2, ref v0, ref v1, ref v2, ref v3);
            v0 ^= word;
        }

        ulong length = (ulong)(words.Length * 8) << 56;
        v3 ^= length;
        Rounds(2, ref v0, ref v1, ref v2, ref v3);
        v0 ^= length;
        v2 ^= 0xFF;
        Rounds(4, ref v0, ref v1, ref v2, ref v3);
        return v0 ^ v1 ^ v2 ^ v3;
    }

    private static void Rounds(int count, ref ulong v0, ref ulong v1, ref ulong v2, ref ulong v3)
    {
        for (int i = 0; i < count; i++)
        {
            v0 += v1;
            v2 += v3;
            v1 = BitOperations.RotateLeft(v1, 13) ^ v0;
            v3 = BitOperations.RotateLeft(v3, 16) ^ v2;
            v0 = BitOperations.RotateLeft(v0, 32);
            v2 += v1;
            v0 += v3;
            v1 = BitOperations.RotateLeft(v1, 17) ^ v2;
            v3 = BitOperations.RotateLeft(v3, 21) ^ v0;
            v2 = BitOperations.RotateLeft(v2, 32);
        }
    }
}
