// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;

namespace Exo.Capabilities;

/// <summary>What a capability or an ACL entry grants. Reading is implied by validity and needs no bit (Xok, <c>capability.h</c>).</summary>
[Flags]
[SuppressMessage("Design", "CA1069:Enums values should not be duplicated", Justification = "one bit, two readings: on a capability and on an ACL")]
public enum Rights : byte
{
    /// <summary>Read only.</summary>
    Read = 0,

    /// <summary>Change the resource.</summary>
    Write = 1,

    /// <summary>On a capability: make dominated copies of it.</summary>
    Duplicate = 2,

    /// <summary>On an ACL entry: change the ACL. The same bit as <see cref="Duplicate"/>.</summary>
    ModifyAcl = 2,

    /// <summary>Everything.</summary>
    All = 3,
}
