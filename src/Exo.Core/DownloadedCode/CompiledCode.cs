// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// A program, or one function of it, as the host's own code. Addresses are native here. <paramref name="run"/> points to two numbers:
/// the instructions executed, which each function adds to when it returns, and whether one ran past its proof.
/// </summary>
internal unsafe delegate ulong CompiledCode<THelpers>(
    ulong r1, ulong r2, ulong r3, ulong r4, ulong r5, ulong r10, long* run, ref THelpers helpers)
    where THelpers : struct, IHelperCalls, allows ref struct;

/// <summary>What was compiled of one program: a list, one entry per type of helpers, which is one entry as a rule.</summary>
internal abstract class CompiledEntry(CompiledEntry? next)
{
    public CompiledEntry? Next { get; } = next;
}

/// <summary>One entry.</summary>
internal sealed class CompiledEntry<THelpers>(CompiledEntry? next, CompiledCode<THelpers>? code) : CompiledEntry(next)
    where THelpers : struct, IHelperCalls, allows ref struct
{
    /// <summary>The code; null where the program is not to be compiled.</summary>
    public CompiledCode<THelpers>? Code { get; } = code;
}
