// SPDX-License-Identifier: MIT
using Exo.Core.Net;

namespace Exo.Net.Cheetah.Wire;

/// <summary>
/// The body of a neighbour solicitation or advertisement (RFC 4861 sections 4.3 and 4.4), with its link-layer address option.
/// <code>
/// behind the ICMPv6 head   0        16                   24
///                          | target | option | 1 | MAC   |
/// </code>
/// </summary>
/// <param name="Target">The address asked for or told.</param>
/// <param name="Hardware">The sender's hardware address (solicitation) or the target's (advertisement); null when the option is absent.</param>
public readonly record struct NeighborMessage(InternetAddress Target, MacAddress? Hardware)
{
    /// <summary>Bytes of the body.</summary>
    public int SizeBytes => Hardware is null ? 16 : 24;

    /// <summary>Reads a body; an option of no length makes it invalid (RFC 4861 section 4.6).</summary>
    /// <param name="body">Behind the ICMPv6 head.</param>
    /// <param name="isSolicitation">Tells which option holds the address: the source's or the target's.</param>
    /// <param name="message">What it says.</param>
    public static bool TryParse(ReadOnlySpan<byte> body, bool isSolicitation, out NeighborMessage message)
    {
        message = default;
        if (body.Length < InternetAddress.V6Bytes)
        {
            return false;
        }

        InternetAddress target = InternetAddress.ReadV6(body);
        MacAddress? hardware = null;
        for (ReadOnlySpan<byte> options = body[InternetAddress.V6Bytes..]; !options.IsEmpty;)
        {
            int optionBytes = options.Length < 8 ? 0 : options[1] * 8;
            if (optionBytes == 0 || optionBytes > options.Length)
            {
                return false;
            }

            if (options[0] == (isSolicitation ? 1 : 2) && hardware is null)
            {
                hardware = MacAddress.Read(options[2..]);
            }

            options = options[optionBytes..];
        }

        if (target.IsMulticast || target.IsV4)
        {
            return false;
        }

        message = new NeighborMessage(target, hardware);
        return true;
    }

    /// <summary>Writes the body.</summary>
    public void Emit(Span<byte> body, bool isSolicitation)
    {
        Target.Emit(body);
        if (Hardware is { } hardware)
        {
            body[16] = (byte)(isSolicitation ? 1 : 2);
            body[17] = 1;
            hardware.Write(body[18..]);
        }
    }
}
