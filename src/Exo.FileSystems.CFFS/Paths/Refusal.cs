// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Paths;

/// <summary>
/// Says in a refusal which path was meant: who decides knows an inode and a name, who reads the message gave a path. Costs nothing where nothing is refused and nothing waited for.
/// </summary>
internal static class Refusal
{
    /// <summary>A refusal by who knows the path: its message begins with it, and nobody puts it there again.</summary>
    /// <param name="error">The reason.</param>
    /// <param name="path">As the caller gave it.</param>
    /// <param name="why">What follows the path in the message.</param>
    public static CffsException Of(CffsError error, ReadOnlyMemory<byte> path, string why) => new(error, PathName.Display(path) + why) { SaysPath = true };

    /// <summary>An operation on a path: its refusals say so.</summary>
    public static ValueTask At(ReadOnlyMemory<byte> path, ValueTask operation) => operation.IsCompletedSuccessfully ? operation : AwaitAsync(path, null, operation);

    /// <inheritdoc cref="At(ReadOnlyMemory{byte}, ValueTask)"/>
    public static ValueTask<T> At<T>(ReadOnlyMemory<byte> path, ValueTask<T> operation) => operation.IsCompletedSuccessfully ? operation : AwaitAsync(path, operation);

    /// <summary>An operation from one path to another: its refusals say both, or the one that was meant.</summary>
    public static ValueTask At(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, ValueTask operation) => operation.IsCompletedSuccessfully ? operation : AwaitAsync(from, to, operation);

    private static async ValueTask AwaitAsync(ReadOnlyMemory<byte> path, ReadOnlyMemory<byte>? to, ValueTask operation)
    {
        try
        {
            await operation.ConfigureAwait(false);
        }
        catch (CffsException refused) when (!refused.SaysPath)
        {
            throw Naming(refused, path, to);
        }
    }

    private static async ValueTask<T> AwaitAsync<T>(ReadOnlyMemory<byte> path, ValueTask<T> operation)
    {
        try
        {
            return await operation.ConfigureAwait(false);
        }
        catch (CffsException refused) when (!refused.SaysPath)
        {
            throw Naming(refused, path, null);
        }
    }

    private static CffsException Naming(CffsException refused, ReadOnlyMemory<byte> path, ReadOnlyMemory<byte>? to) =>
        new(refused.Error, $"{PathName.Display(path)}{(to is { } target ? $" to {PathName.Display(target)}" : "")}: {refused.Message}", refused) { SaysPath = true };
}
