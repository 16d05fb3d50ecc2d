// SPDX-License-Identifier: MIT
namespace Exo.Core.Ipc;

/// <summary>How an operation on a pipe or ring ended. A closed list.</summary>
public enum IpcStatus : byte
{
    /// <summary>Done.</summary>
    Ok = 0,

    /// <summary>There is nothing to read, or no room to write, now.</summary>
    WouldBlock = 1,

    /// <summary>The other side has closed: what it had written has been read, or nobody will read what would be written.</summary>
    Closed = 2,

    /// <summary>Frames that this rests on were taken back.</summary>
    Revoked = 3,

    /// <summary>The other side has written what cannot be: an index out of bounds, a length that leads beyond what it has written. Nothing of it was used, and this end is of no use any more.</summary>
    Corrupt = 4,

    /// <summary>The message is larger than the buffer; it is still there.</summary>
    BufferTooSmall = 5,
}

/// <summary>An asynchronous operation on a pipe or ring that could not be done.</summary>
public sealed class IpcException : IOException
{
    internal IpcException(IpcStatus status, string message)
        : base(message)
    {
        Status = status;
    }

    /// <summary>Why.</summary>
    public IpcStatus Status { get; }

    internal static IpcException Of(IpcStatus status) => new(status, status switch
    {
        IpcStatus.Closed => "The other side has closed.",
        IpcStatus.Revoked => "The frames were taken back.",
        IpcStatus.Corrupt => "The other side has written what cannot be.",
        IpcStatus.BufferTooSmall => "The message is larger than the buffer.",
        _ => "The operation could not be done.",
    });
}
