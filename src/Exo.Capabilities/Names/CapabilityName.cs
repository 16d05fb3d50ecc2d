// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace Exo.Capabilities;

/// <summary>
/// A hierarchical capability name: a string of 0 to 255 bytes read as a path, written <c>1.0.7</c>; the empty name, written <c>.</c>, is the root.
/// A shorter name stands for more power: a name governs every name that it is a prefix of (Xok, <c>capability.h</c>; HotOS '97).
/// Immutable; names up to 16 bytes take no heap object.
/// </summary>
public readonly struct CapabilityName : IEquatable<CapabilityName>
{
    /// <summary>Longest name in bytes.</summary>
    public const int LengthBytesMax = 255;

    private const int InlineBytes = 16;

    // The first 16 bytes, big-endian, zero-padded: comparing words compares bytes in order.
    private readonly ulong _first;
    private readonly ulong _second;

    // The whole name when it is longer than the inline part.
    private readonly byte[]? _long;
    private readonly byte _length;

    private CapabilityName(ReadOnlySpan<byte> bytes)
    {
        Span<byte> head = stackalloc byte[InlineBytes];
        head.Clear();
        bytes[..Math.Min(bytes.Length, InlineBytes)].CopyTo(head);
        _first = BinaryPrimitives.ReadUInt64BigEndian(head);
        _second = BinaryPrimitives.ReadUInt64BigEndian(head[8..]);
        _length = (byte)bytes.Length;
        _long = bytes.Length > InlineBytes ? bytes.ToArray() : null;
    }

    /// <summary>The empty name, a prefix of every name.</summary>
    public static CapabilityName Root => default;

    /// <summary>Length in bytes, 0 to 255.</summary>
    public int LengthBytes => _length;

    /// <summary>Makes a name from its bytes.</summary>
    /// <exception cref="ArgumentException">More than 255 bytes.</exception>
    public static CapabilityName Create(params ReadOnlySpan<byte> bytes) =>
        bytes.Length <= LengthBytesMax
            ? new CapabilityName(bytes)
            : throw new ArgumentException($"a capability name has at most {LengthBytesMax} bytes, not {bytes.Length}", nameof(bytes));

    /// <summary>Reads the form that <see cref="ToString"/> writes: decimal bytes separated by dots, or <c>.</c> for the root.</summary>
    /// <exception cref="FormatException">The text is not such a name.</exception>
    public static CapabilityName Parse(ReadOnlySpan<char> text) =>
        TryParse(text, out CapabilityName name) ? name : throw new FormatException($"'{text}' is not a capability name such as 1.0.7");

    /// <summary>Reads the form that <see cref="ToString"/> writes. False, and the root name, when the text is not such a name.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out CapabilityName name)
    {
        name = default;
        if (text is ".")
        {
            return true;
        }

        if (text.IsEmpty)
        {
            return false;
        }

        Span<byte> bytes = stackalloc byte[LengthBytesMax];
        int length = 0;
        foreach (Range part in text.Split('.'))
        {
            if (length == LengthBytesMax || !TryParseByte(text[part], out byte value))
            {
                return false;
            }

            bytes[length++] = value;
        }

        name = new CapabilityName(bytes[..length]);
        return true;
    }

    // Stricter than byte.TryParse, which takes leading zeros and trailing NULs: a name has one written form.
    private static bool TryParseByte(ReadOnlySpan<char> digits, out byte value)
    {
        value = 0;
        if (digits.Length is 0 or > 3 || (digits.Length > 1 && digits[0] == '0'))
        {
            return false;
        }

        int sum = 0;
        foreach (char digit in digits)
        {
            if (!char.IsAsciiDigit(digit))
            {
                return false;
            }

            sum = (sum * 10) + (digit - '0');
        }

        value = (byte)sum;
        return sum <= byte.MaxValue;
    }

    /// <summary>Copies the name's bytes.</summary>
    /// <exception cref="ArgumentException">The destination is shorter than the name.</exception>
    public void CopyTo(Span<byte> destination)
    {
        if (destination.Length < _length)
        {
            throw new ArgumentException("the destination is shorter than the name", nameof(destination));
        }

        if (_long is not null)
        {
            _long.CopyTo(destination);
            return;
        }

        Span<byte> head = stackalloc byte[InlineBytes];
        BinaryPrimitives.WriteUInt64BigEndian(head, _first);
        BinaryPrimitives.WriteUInt64BigEndian(head[8..], _second);
        head[.._length].CopyTo(destination);
    }

    /// <summary>True when every byte of this name begins the other: this name governs the other. A name is a prefix of itself.</summary>
    public bool IsPrefixOf(in CapabilityName other)
    {
        int length = _length;
        if (length > other._length)
        {
            return false;
        }

        if (length <= 8)
        {
            return length == 0 || (_first ^ other._first) >> (64 - (length * 8)) == 0;
        }

        if (_first != other._first)
        {
            return false;
        }

        if (length <= InlineBytes)
        {
            return (_second ^ other._second) >> (128 - (length * 8)) == 0;
        }

        return other._long.AsSpan(0, length).SequenceEqual(_long);
    }

    /// <summary>The name with bytes added: a name below this one.</summary>
    /// <exception cref="ArgumentException">The result would be longer than 255 bytes.</exception>
    public CapabilityName Append(params ReadOnlySpan<byte> bytes)
    {
        Span<byte> whole = stackalloc byte[LengthBytesMax];
        if (_length + bytes.Length > LengthBytesMax)
        {
            throw new ArgumentException($"a capability name has at most {LengthBytesMax} bytes", nameof(bytes));
        }

        CopyTo(whole);
        bytes.CopyTo(whole[_length..]);
        return new CapabilityName(whole[..(_length + bytes.Length)]);
    }

    /// <inheritdoc/>
    public bool Equals(CapabilityName other) =>
        _length == other._length && _first == other._first && _second == other._second
        && (_long is null || _long.AsSpan().SequenceEqual(other._long));

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is CapabilityName other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(_first, _second, _length);

    /// <summary>The name as decimal bytes separated by dots; <c>.</c> for the root.</summary>
    public override string ToString()
    {
        if (_length == 0)
        {
            return ".";
        }

        Span<byte> bytes = stackalloc byte[LengthBytesMax];
        CopyTo(bytes);
        StringBuilder text = new();
        for (int i = 0; i < _length; i++)
        {
            text.Append(i == 0 ? "" : ".").Append(CultureInfo.InvariantCulture, $"{bytes[i]}");
        }

        return text.ToString();
    }

    /// <summary>Byte-wise equality.</summary>
    public static bool operator ==(CapabilityName left, CapabilityName right) => left.Equals(right);

    /// <summary>Byte-wise inequality.</summary>
    public static bool operator !=(CapabilityName left, CapabilityName right) => !left.Equals(right);
}
