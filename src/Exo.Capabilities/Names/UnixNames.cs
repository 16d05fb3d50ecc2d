// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.Capabilities;

/// <summary>
/// Where UNIX users and groups live in the space of names, after ExOS (<c>cap.h</c>): users below 1, groups below 2, the world is 3.
/// A user's name is 1 and the number as four big-endian bytes.
/// </summary>
public static class UnixNames
{
    private const byte UserPrefix = 1;
    private const byte GroupPrefix = 2;

    /// <summary>The name that everybody holds.</summary>
    public static CapabilityName World { get; } = CapabilityName.Create(3);

    /// <summary>The name of a user.</summary>
    public static CapabilityName User(uint user) => Make(UserPrefix, user);

    /// <summary>The name of a group.</summary>
    public static CapabilityName Group(uint group) => Make(GroupPrefix, group);

    /// <summary>The user number in a name that is exactly a user's.</summary>
    public static bool TryGetUser(in CapabilityName name, out uint user) => TryGet(UserPrefix, name, out user);

    /// <summary>The group number in a name that is exactly a group's.</summary>
    public static bool TryGetGroup(in CapabilityName name, out uint group) => TryGet(GroupPrefix, name, out group);

    private static CapabilityName Make(byte prefix, uint number)
    {
        Span<byte> bytes = stackalloc byte[5];
        bytes[0] = prefix;
        BinaryPrimitives.WriteUInt32BigEndian(bytes[1..], number);
        return CapabilityName.Create(bytes);
    }

    private static bool TryGet(byte prefix, in CapabilityName name, out uint number)
    {
        number = 0;
        if (name.LengthBytes != 5)
        {
            return false;
        }

        Span<byte> bytes = stackalloc byte[5];
        name.CopyTo(bytes);
        number = BinaryPrimitives.ReadUInt32BigEndian(bytes[1..]);
        return bytes[0] == prefix;
    }
}
