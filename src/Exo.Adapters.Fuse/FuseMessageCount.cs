// SPDX-License-Identifier: MIT
namespace Exo.Adapters.Fuse;

/// <summary>How often the kernel has sent one kind of message.</summary>
/// <param name="Message">The kind, as linux/fuse.h calls it without the prefix: <c>LOOKUP</c>, <c>GETATTR</c>, ...</param>
/// <param name="Count">How often it has come since the mount began.</param>
public readonly record struct FuseMessageCount(string Message, long Count);
