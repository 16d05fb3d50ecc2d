// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS;

/// <summary>What setting an extended attribute asks for: setxattr(2).</summary>
public enum CffsAttributeSet
{
    /// <summary>The attribute is made or replaced.</summary>
    Always,

    /// <summary>It must not be there yet; else <see cref="CffsError.Exists"/>.</summary>
    Create,

    /// <summary>It must be there; else <see cref="CffsError.NoAttribute"/>.</summary>
    Replace,
}
