// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Paths;

/// <summary>
/// Says in a refusal which path was meant: who decides knows an inode and a name, who reads the message gave a path. Costs nothing where nothing is refused and nothing waited for.
/// </summary>
internal static class Refusal
{
    public static ValueTask At(ReadOnlyMemory<byte> path, ValueTask operation) => operation.IsCompletedSuccessfully ? operation : AwaitAsync(path, path, operation);

    public static ValueTask<T> At<T>(ReadOnlyMemory<byte> path, ValueTask<T> operation) => operation.IsCompletedSuccessfully ? operation : AwaitAsync(path, operation);

    public static ValueTask At(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, ValueTask operation) => operation.IsCompletedSuccessfully ? operation : AwaitAsync(from, to, operation);

    private static async ValueTask AwaitAsync(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, ValueTask operation)
    {
        try
        {
            await operation.ConfigureAwait(false);
        }
        catch (CffsException refused) when (!Says(refused, from) && !Says(refused, to))
        {
            throw new CffsException(refused.Error, $"{(from.Equals(to) ? "" : $"{PathName.Display(from)} to ")}{PathName.Display(to)}: {refused.Message}", refused);
        }
    }

    private static async ValueTask<T> AwaitAsync<T>(ReadOnlyMemory<byte> path, ValueTask<T> operation)
    {
        try
        {
            return await operation.ConfigureAwait(false);
        }
        catch (CffsException refused) when (!Says(refused, path))
        {
            throw new CffsException(refused.Error, $"{PathName.Display(path)}: {refused.Message}", refused);
        }
    }

    private static bool Says(CffsException refused, ReadOnlyMemory<byte> path) => refused.Message.StartsWith(PathName.Display(path), StringComparison.Ordinal);
}
