// SPDX-License-Identifier: MIT
namespace Exo.Host.Protocol;

/// <summary>What a library OS asks of its host. The numbers are the protocol's.</summary>
internal enum HostOperation : uint
{
    /// <summary>Nothing: a round trip.</summary>
    Nothing = 0,
    InstallTemplates = 1,
    CreateRoot = 2,
    PublishRoot = 3,
    OpenRoot = 4,
    Read = 5,
    Fetch = 6,
    Apply = 7,
    BindOverwrite = 8,
    Rebind = 9,
    MarkDirty = 10,
    Unbind = 11,
    WriteBack = 12,
    Flush = 13,
    Commit = 14,
    PlanWriteBack = 15,
    FreeMap = 16,
    OwnFrames = 17,
}
