// SPDX-License-Identifier: MIT
using CsCheck;

namespace Exo.Capabilities.Tests;

/// <summary>What the properties draw from. Few byte values and short lengths, so that names are often prefixes of one another.</summary>
internal static class Generators
{
    /// <summary>Mostly short; also around the inline size (16) and the word size (8); now and then of any length.</summary>
    public static readonly Gen<byte[]> NameBytes = Gen.OneOf(
        Gen.Byte[0, 1].Array[0, 3], Gen.Byte[0, 1].Array[0, 3], Gen.Byte[7, 7].Array[6, 18], Gen.Byte[7, 7].Array[250, 255], Gen.Byte.Array[0, 255]);

    /// <summary>Two names that share a random part of their beginning.</summary>
    public static readonly Gen<(byte[] A, byte[] B)> RelatedNames = Gen.Select(NameBytes, NameBytes, Gen.Int[0, 255], (a, b, cut) =>
        (a, a.Take(cut).Concat(b).Take(CapabilityName.LengthBytesMax).ToArray()));

    public static readonly Gen<Rights> AnyRights = Gen.Int[0, 3].Select(bits => (Rights)bits);

    public static bool IsPrefix(byte[] a, byte[] b) => a.Length <= b.Length && b.Take(a.Length).SequenceEqual(a);

    public static byte[] BytesOf(in CapabilityName name)
    {
        byte[] bytes = new byte[name.LengthBytes];
        name.CopyTo(bytes);
        return bytes;
    }
}
