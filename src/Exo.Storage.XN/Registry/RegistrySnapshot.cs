// SPDX-License-Identifier: MIT
namespace Exo.Storage.XN;

/// <summary>What XN has in core at one moment. Everything in it was true together.</summary>
/// <param name="BlockCount">Blocks of 4,096 bytes on the disk.</param>
/// <param name="FreeBlocks">Blocks that may be allocated.</param>
/// <param name="WillFreeBlocks">Blocks that become free when the removal of the last pointer to them is durable.</param>
/// <param name="InCore">Blocks in the registry.</param>
/// <param name="Dirty">Of them, those with changes that were not handed to the device.</param>
/// <param name="OnTheWay">Of them, those that are dirty, being written, not durable yet, or that others of these wait for.</param>
/// <param name="Unflushed">Blocks written whose write is not durable yet.</param>
/// <param name="InLog">Blocks that are durable in the commit log and not in their places.</param>
/// <param name="LogBlocks">Blocks of the commit log; 0: the volume has none.</param>
/// <param name="LogPosition">Blocks of the log that are used; a checkpoint makes it begin anew.</param>
/// <param name="RegistryBytes">Memory of the registry.</param>
/// <param name="Templates">Blocks in core by template; they add up to <paramref name="InCore"/> and <paramref name="Dirty"/>.</param>
/// <param name="Counters">What has been done since the volume was attached.</param>
public sealed record RegistrySnapshot(
    ulong BlockCount, ulong FreeBlocks, ulong WillFreeBlocks, int InCore, int Dirty, int OnTheWay, int Unflushed, int InLog, ulong LogBlocks, ulong LogPosition, long RegistryBytes,
    IReadOnlyList<TemplateUse> Templates, XnCounters Counters);

/// <summary>Blocks of one template.</summary>
/// <param name="Template">Which.</param>
/// <param name="Name">What it calls itself.</param>
/// <param name="InCore">Blocks in the registry.</param>
/// <param name="Dirty">Of them, dirty ones.</param>
public sealed record TemplateUse(TemplateId Template, string Name, int InCore, int Dirty);
