// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS;

namespace Exo.Adapters.FileProvider;

/// <summary>Settings of a <see cref="CffsFileProvider"/>.</summary>
public sealed record CffsFileProviderOptions
{
    /// <summary>The directory whose files are provided, as an absolute path; "/" is everything. The provider stays with it when it is renamed.</summary>
    public string Root { get; init; } = "/";

    /// <summary>Whose permissions count. The default, user 65534 without groups, owns nothing: what is not readable by everybody is not there.</summary>
    public CffsIdentity Identity { get; init; } = new(65534, 65534);

    /// <summary>Files and directories whose names begin with a dot are there too.</summary>
    public bool IncludesHidden { get; init; }

    /// <summary>Changes that may wait to be told (4096); when more come at once, all change tokens fire.</summary>
    public int WatchCapacity { get; init; } = 4096;
}
