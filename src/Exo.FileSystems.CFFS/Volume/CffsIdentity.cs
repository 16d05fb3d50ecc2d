// SPDX-License-Identifier: MIT
using Exo.Capabilities;

namespace Exo.FileSystems.CFFS;

/// <summary>
/// Whose permissions an operation runs with: a UNIX user with its groups. Immutable and thread-safe.
/// C-FFS maps the capabilities of a credential to users and groups (SOSP '97, section 4.5) with <see cref="From"/>.
/// </summary>
public sealed class CffsIdentity
{
    private readonly uint[] _groups;

    /// <summary>An identity with a user, a primary group and further groups.</summary>
    public CffsIdentity(uint user, uint group, params ReadOnlySpan<uint> groups)
        : this(user, group, groups.ToArray(), user == 0)
    {
    }

    private CffsIdentity(uint user, uint group, uint[] groups, bool isSuperuser, CffsDirectory? root = null)
    {
        Root = root;
        User = user;
        Group = group;
        _groups = groups;
        IsSuperuser = isSuperuser;
    }

    /// <summary>User 0: no permission check applies.</summary>
    public static CffsIdentity Superuser { get; } = new(0, 0);

    /// <summary>Who takes snapshots away: the superuser, to whom what they hold may go.</summary>
    internal static CffsIdentity Collector { get; } = new(0, 0);

    /// <summary>The user number.</summary>
    public uint User { get; }

    /// <summary>The primary group.</summary>
    public uint Group { get; }

    /// <summary>True when permission bits do not bind this identity.</summary>
    public bool IsSuperuser { get; }

    /// <summary>The directory that the identity is confined to (<see cref="CffsDirectory.Confine"/>); null is the whole volume.</summary>
    public CffsDirectory? Root { get; }

    internal CffsIdentity Beneath(CffsDirectory root) => new(User, Group, _groups, IsSuperuser, root);

    /// <summary>A user and a group as owners of what is made, with all permissions: somebody else has checked them.</summary>
    internal static CffsIdentity Trusted(uint user, uint group) => new(user, group, [], isSuperuser: true);

    /// <summary>
    /// The identity that a credential stands for: its first user capability (<see cref="UnixNames"/>), its group capabilities, or the superuser
    /// when it holds the root name with all rights.
    /// </summary>
    /// <exception cref="CffsException">The credential names no user (<see cref="CffsError.NotPermitted"/>).</exception>
    public static CffsIdentity From(Credential credential)
    {
        ArgumentNullException.ThrowIfNull(credential);
        uint? user = null;
        List<uint> groups = [];
        foreach (Capability capability in credential.Capabilities)
        {
            if (!capability.IsValid)
            {
                continue;
            }

            if (capability.Name.LengthBytes == 0 && capability.Rights == Rights.All)
            {
                return Superuser;
            }

            if (UnixNames.TryGetUser(capability.Name, out uint u))
            {
                user ??= u;
            }
            else if (UnixNames.TryGetGroup(capability.Name, out uint g))
            {
                groups.Add(g);
            }
        }

        return user is { } known
            ? new CffsIdentity(known, groups.Count > 0 ? groups[0] : uint.MaxValue, [.. groups], isSuperuser: false)
            : throw new CffsException(CffsError.NotPermitted, "the credential names no user");
    }

    /// <summary>True when the identity belongs to the group.</summary>
    public bool IsInGroup(uint group) => group == Group || Array.IndexOf(_groups, group) >= 0;
}
