// SPDX-License-Identifier: MIT
using CsCheck;

namespace Exo.Capabilities.Tests.Names;

/// <summary>Names against plain byte arrays.</summary>
public sealed class CapabilityNameTests
{
    [Fact]
    public void A_name_is_written_as_decimal_bytes_with_dots()
    {
        CapabilityName name = CapabilityName.Create(1, 0, 7);
        Assert.Equal("1.0.7", name.ToString());
        Assert.Equal(name, CapabilityName.Parse("1.0.7"));
        Assert.Equal(3, name.LengthBytes);
        Assert.Equal(".", CapabilityName.Root.ToString());
        Assert.Equal(CapabilityName.Root, CapabilityName.Parse("."));
    }

    [Fact]
    public void A_shorter_name_governs_the_longer_ones_below_it()
    {
        CapabilityName user = CapabilityName.Parse("1.7");
        Assert.True(user.IsPrefixOf(CapabilityName.Parse("1.7.3")));
        Assert.False(CapabilityName.Parse("1.7.3").IsPrefixOf(user));
        Assert.False(user.IsPrefixOf(CapabilityName.Parse("1.70")));
        Assert.True(user.IsPrefixOf(user));
    }

    [Fact]
    public void Trailing_zeros_count() => Assert.NotEqual(CapabilityName.Create(1), CapabilityName.Create(1, 0));

    [Fact]
    public void Prefix_and_equality_are_those_of_byte_arrays() => Generators.RelatedNames.Sample(pair =>
    {
        CapabilityName a = CapabilityName.Create(pair.A);
        CapabilityName b = CapabilityName.Create(pair.B);
        Assert.Equal(Generators.IsPrefix(pair.A, pair.B), a.IsPrefixOf(b));
        Assert.Equal(Generators.IsPrefix(pair.B, pair.A), b.IsPrefixOf(a));
        bool isSame = pair.A.SequenceEqual(pair.B);
        Assert.Equal(isSame, a == b);
        Assert.Equal(!isSame, a != b);
        Assert.True(!isSame || a.GetHashCode() == b.GetHashCode());
        Assert.Equal(pair.A, Generators.BytesOf(a));
    }, iter: 20_000);

    [Fact]
    public void Every_cut_of_a_long_name_is_a_prefix_and_every_changed_byte_is_seen()
    {
        byte[] whole = [.. Enumerable.Range(0, 255).Select(i => (byte)i)];
        CapabilityName name = CapabilityName.Create(whole);
        for (int length = 0; length <= whole.Length; length++)
        {
            Assert.True(CapabilityName.Create(whole.AsSpan(0, length)).IsPrefixOf(name));
            if (length > 0)
            {
                byte[] changed = whole[..length];
                changed[^1] ^= 0x80;
                Assert.False(CapabilityName.Create(changed).IsPrefixOf(name));
            }
        }
    }

    [Fact]
    public void Append_adds_bytes_below() => Generators.RelatedNames.Sample(pair =>
    {
        CapabilityName a = CapabilityName.Create(pair.A);
        if (pair.A.Length + pair.B.Length > CapabilityName.LengthBytesMax)
        {
            Assert.Throws<ArgumentException>(() => a.Append(pair.B));
            return;
        }

        CapabilityName below = a.Append(pair.B);
        Assert.True(a.IsPrefixOf(below));
        Assert.Equal([.. pair.A, .. pair.B], Generators.BytesOf(below));
    }, iter: 5_000);

    [Fact]
    public void A_name_survives_being_written_and_read() => Generators.NameBytes.Sample(bytes =>
    {
        CapabilityName name = CapabilityName.Create(bytes);
        Assert.Equal(name, CapabilityName.Parse(name.ToString()));
    }, iter: 5_000);

    [Fact]
    public void Any_text_is_a_name_in_its_one_written_form_or_an_error() =>
        Gen.OneOf(Gen.String, Gen.Char["0123456789. \0+-x٣"].Array[0, 12].Select(c => new string(c))).Sample(text =>
        {
            if (CapabilityName.TryParse(text, out CapabilityName name))
            {
                Assert.Equal(text, name.ToString());
            }
            else
            {
                Assert.Equal(CapabilityName.Root, name);
                Assert.Throws<FormatException>(() => CapabilityName.Parse(text));
            }
        }, iter: 50_000);

    [Theory]
    [InlineData("")]
    [InlineData("..")]
    [InlineData("1.")]
    [InlineData(".1")]
    [InlineData("256")]
    [InlineData("007")]
    [InlineData("1\0")]
    [InlineData("+1")]
    [InlineData("1 .2")]
    [InlineData("٣")]
    public void Other_forms_are_refused(string text) => Assert.False(CapabilityName.TryParse(text, out _));

    [Fact]
    public void Two_hundred_fifty_five_bytes_are_the_most()
    {
        Assert.Equal(255, CapabilityName.Create(new byte[255]).LengthBytes);
        Assert.Throws<ArgumentException>(() => CapabilityName.Create(new byte[256]));
        Assert.True(CapabilityName.TryParse(string.Join('.', Enumerable.Repeat("0", 255)), out _));
        Assert.False(CapabilityName.TryParse(string.Join('.', Enumerable.Repeat("0", 256)), out _));
        Assert.Throws<ArgumentException>(() => CapabilityName.Create(1, 2).CopyTo(new byte[1]));
    }

    [Fact]
    public void Users_and_groups_have_names_of_their_own() => Gen.UInt.Sample(number =>
    {
        Assert.True(UnixNames.TryGetUser(UnixNames.User(number), out uint user));
        Assert.True(UnixNames.TryGetGroup(UnixNames.Group(number), out uint group));
        Assert.Equal((number, number), (user, group));
        Assert.False(UnixNames.TryGetUser(UnixNames.Group(number), out _));
        Assert.False(UnixNames.TryGetGroup(UnixNames.User(number), out _));
        Assert.False(UnixNames.TryGetUser(UnixNames.User(number).Append(0), out _));
        Assert.True(CapabilityName.Create(1).IsPrefixOf(UnixNames.User(number)));
        Assert.Equal($"2.{number >> 24}.{(number >> 16) & 255}.{(number >> 8) & 255}.{number & 255}", UnixNames.Group(number).ToString());
    }, iter: 1_000);

    [Fact]
    public void The_world_is_neither_user_nor_group()
    {
        Assert.Equal("3", UnixNames.World.ToString());
        Assert.False(UnixNames.TryGetUser(UnixNames.World, out _));
        Assert.False(UnixNames.TryGetGroup(UnixNames.World, out _));
    }
}
