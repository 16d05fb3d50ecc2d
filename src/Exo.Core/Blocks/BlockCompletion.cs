// SPDX-License-Identifier: MIT
namespace Exo.Core.Blocks;

/// <summary>One request of a <see cref="BlockQueue"/> that is through.</summary>
/// <param name="Cookie">What the request was submitted with.</param>
/// <param name="Error">0, or the error number (errno) of Linux.</param>
public readonly record struct BlockCompletion(ulong Cookie, int Error);
