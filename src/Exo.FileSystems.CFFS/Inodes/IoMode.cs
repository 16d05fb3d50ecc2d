// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Inodes;

/// <summary>
/// Through which door an operation came. Operations are written once, as <c>async ValueTask</c>; in <see cref="Sync"/> mode every await
/// inside is complete when it is reached (waiting and I/O happen on the caller's thread), so the result can be taken at once.
/// </summary>
internal enum IoMode
{
    Sync,
    Async,
}

/// <summary>Takes the result of an operation that ran in <see cref="IoMode.Sync"/>.</summary>
internal static class SyncDoor
{
    public static T Take<T>(this ValueTask<T> operation)
    {
        Invariant.Check(operation.IsCompleted);
        return operation.GetAwaiter().GetResult();
    }

    public static void Take(this ValueTask operation)
    {
        Invariant.Check(operation.IsCompleted);
        operation.GetAwaiter().GetResult();
    }
}
