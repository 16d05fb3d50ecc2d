// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Layout;

/// <summary>One field of an on-disk structure, as <c>docs/cffs-format.md</c> lists it. A test compares the two.</summary>
internal readonly record struct LayoutField(string Name, int OffsetBytes, int SizeBytes);
