// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace Exo;

/// <summary>Checks of what must be true. On in Release too: a broken invariant stops the work before it reaches a disk.</summary>
internal static class Invariant
{
    /// <summary>Throws <see cref="InvariantException"/> when <paramref name="condition"/> is false.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    [StackTraceHidden]
    public static void Check(
        [DoesNotReturnIf(false)] bool condition,
        [CallerArgumentExpression(nameof(condition))] string expression = "",
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
    {
        if (!condition)
        {
            Broken(expression, member, file, line);
        }
    }

    [DoesNotReturn]
    [StackTraceHidden]
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Broken(string expression, string member, string file, int line) =>
        throw new InvariantException($"Invariant broken: {expression} in {member} ({Path.GetFileName(file)}:{line}).");
}

/// <summary>A state that cannot be. Never caught inside Exo.</summary>
internal sealed class InvariantException(string message) : Exception(message);
