// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Http;

/// <summary>
/// What an Accept-Encoding field says of the codings that the server knows (RFC 9110 section 12.5.3), in thousandths.
/// <code>
/// gzip;q=0.5, br, *;q=0       br 1000, gzip 500, zstd 0, identity 0
/// (empty)                     identity only
/// </code>
/// A field that is not well formed says nothing: the document goes out as it is, which everybody understands. So it does when all that there is has been excluded, identity included:
/// the RFC leaves a server the choice between that and 406, and whoever asks so can do more with the document than with a page that refuses it.
/// </summary>
internal struct AcceptedCodings
{
    private const short NotSaid = -1;

    private short brotli = NotSaid, zstandard = NotSaid, gzip = NotSaid, identity = NotSaid, any = NotSaid;

    /// <summary>Nothing said yet.</summary>
    public AcceptedCodings()
    {
    }

    /// <summary>How much the document as it is is wanted. 0: least of all.</summary>
    public readonly int IdentityQuality => identity != NotSaid ? identity : Math.Max((short)0, any);

    /// <summary>
    /// The representation of a document to answer a request with: of those most wanted the shortest, the document as it is when no other is accepted. Without the field that is the document as it is:
    /// any coding would do for the RFC, but who does not know the field may not know the coding.
    /// </summary>
    public static Document Choose(Document original, in RequestHead head, ReadOnlySpan<byte> request)
    {
        if (original.Variants.Length == 0 || head.AcceptEncoding.Count == 0)
        {
            return original;
        }

        var accepted = new AcceptedCodings();
        var lines = new FieldLines(head.AcceptEncoding, request, head.LengthBytes, "accept-encoding"u8);
        while (lines.TryTake(out ReadOnlySpan<byte> value))
        {
            if (!accepted.TryAdd(value))
            {
                return original;
            }
        }

        Document best = original;
        int bestQuality = Math.Max(1, accepted.IdentityQuality) - 1;   // as much wanted as the original is enough for a variant
        foreach (Document variant in original.Variants)
        {
            int quality = accepted.QualityOf(variant.Coding!);
            if (quality > bestQuality)
            {
                (best, bestQuality) = (variant, quality);
            }
        }

        return best;
    }

    /// <summary>How much a coding is wanted; 0 = not to be used.</summary>
    public readonly int QualityOf(ContentCoding coding)
    {
        short said = coding.Place switch { 0 => brotli, 1 => zstandard, _ => gzip };
        return Math.Max((short)0, said != NotSaid ? said : any);
    }

    /// <summary>Reads the value of a line of the field. False when it is malformed; what was read of it does not count then.</summary>
    public bool TryAdd(ReadOnlySpan<byte> value)
    {
        while (HttpText.TryTakeElement(ref value, out ReadOnlySpan<byte> element))
        {
            int semicolon = element.IndexOf((byte)';');
            ReadOnlySpan<byte> coding = semicolon < 0 ? element : HttpText.Trim(element[..semicolon]);
            short quality = 1000;
            if (coding.IsEmpty || coding.ContainsAnyExcept(HttpText.TokenBytes) || (semicolon >= 0 && !TryWeight(HttpText.Trim(element[(semicolon + 1)..]), out quality)))
            {
                return false;
            }

            switch (coding.Length)
            {
                case 1 when coding[0] == '*':
                    Note(ref any, quality);
                    break;
                case 2 when HttpText.Is(coding, "br"u8):
                    Note(ref brotli, quality);
                    break;
                case 4 when HttpText.Is(coding, "zstd"u8):
                    Note(ref zstandard, quality);
                    break;
                case 4 when HttpText.Is(coding, "gzip"u8):
                case 6 when HttpText.Is(coding, "x-gzip"u8):   // the same (RFC 9110 section 8.4.1.3)
                    Note(ref gzip, quality);
                    break;
                case 8 when HttpText.Is(coding, "identity"u8):
                    Note(ref identity, quality);
                    break;
            }
        }

        return true;
    }

    // Said twice: the less counts, so that what is excluded anywhere is excluded.
    private static void Note(ref short said, short quality) => said = said == NotSaid ? quality : Math.Min(said, quality);

    // "q=" ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )
    private static bool TryWeight(ReadOnlySpan<byte> text, out short thousandths)
    {
        thousandths = 0;
        if (text.Length is < 3 or > 7 || (text[0] | 0x20) != 'q' || text[1] != '=' || text[2] is not ((byte)'0' or (byte)'1') || (text.Length > 3 && text[3] != '.'))
        {
            return false;
        }

        int value = text[2] - '0';
        for (int i = 0, factor = 100; i < 3; i++, factor /= 10)
        {
            int digit = 4 + i < text.Length ? text[4 + i] - '0' : 0;
            if (digit is < 0 or > 9)
            {
                return false;
            }

            value = i == 0 ? (value * 1000) + (digit * factor) : value + (digit * factor);
        }

        thousandths = (short)value;
        return value <= 1000;
    }
}
