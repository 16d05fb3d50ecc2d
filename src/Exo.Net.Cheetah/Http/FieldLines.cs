// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Http;

/// <summary>The values of a field that may come on several lines, in order; the lines of a parsed head are known to be well formed.</summary>
/// <param name="slot">The first of them, and how many there are.</param>
/// <param name="request">The bytes that the head was read from.</param>
/// <param name="headBytes">Bytes of the head.</param>
/// <param name="name">The field's name in lower case.</param>
internal ref struct FieldLines(in FieldSlot slot, ReadOnlySpan<byte> request, int headBytes, ReadOnlySpan<byte> name)
{
    private readonly ReadOnlySpan<byte> name = name;
    private readonly ReadOnlySpan<byte> first = slot.In(request);
    private ReadOnlySpan<byte> rest = request[(slot.Start + slot.LengthBytes)..headBytes];
    private int left = slot.Count;
    private bool hasBegun;

    /// <summary>The next value, without white space at its ends.</summary>
    public bool TryTake(out ReadOnlySpan<byte> value)
    {
        value = default;
        if (left == 0)
        {
            return false;
        }

        left--;
        if (!hasBegun)
        {
            hasBegun = true;
            value = first;
            return true;
        }

        while (true)
        {
            rest = rest[(rest.IndexOf((byte)'\n') + 1)..];
            ReadOnlySpan<byte> line = rest[..rest.IndexOf((byte)'\r')];
            if (line.Length > name.Length && line[name.Length] == ':' && HttpText.Is(line[..name.Length], name))
            {
                value = HttpText.Trim(line[(name.Length + 1)..]);
                return true;
            }
        }
    }
}
