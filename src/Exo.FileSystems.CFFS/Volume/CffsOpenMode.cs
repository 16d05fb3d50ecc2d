// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS;

/// <summary>How a file is opened.</summary>
[Flags]
public enum CffsOpenMode
{
    /// <summary>Nothing; only attributes and <see cref="CffsFile.Sync"/>.</summary>
    None = 0,

    /// <summary>Reading.</summary>
    Read = 1,

    /// <summary>Writing.</summary>
    Write = 2,

    /// <summary>Reading and writing.</summary>
    ReadWrite = Read | Write,

    /// <summary>Create the file if it is not there.</summary>
    Create = 4,

    /// <summary>Create the file; fail if the name exists.</summary>
    CreateNew = 8 | Create,

    /// <summary>Cut the file to length 0; with <see cref="Write"/>.</summary>
    Truncate = 16,

    /// <summary>Every write goes to the end.</summary>
    Append = 32,

    /// <summary>Fail if the last name is a symbolic link.</summary>
    NoFollow = 64,
}
