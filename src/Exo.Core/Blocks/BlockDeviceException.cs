// SPDX-License-Identifier: MIT
using Exo.Core.Linux;

namespace Exo.Core.Blocks;

/// <summary>A device refused or failed. For a batch it names the first request, in the batch's order, that failed.</summary>
public sealed class BlockDeviceException : IOException
{
    /// <summary>A request that failed.</summary>
    /// <param name="errno">Error number of Linux.</param>
    /// <param name="block">First block of the request.</param>
    /// <param name="operation">What was to be done.</param>
    /// <param name="path">The device.</param>
    public BlockDeviceException(int errno, BlockNumber block, BlockOperation operation, string path)
        : base(Message(errno, block, operation, path))
    {
        Errno = errno;
        Block = block;
        Operation = operation;
        Path = path;
    }

    /// <summary>A device that cannot be opened or used as asked.</summary>
    /// <param name="errno">Error number of Linux; 0 if the refusal is not the kernel's.</param>
    /// <param name="path">The device.</param>
    /// <param name="message">One line that says what is wrong and what helps.</param>
    public BlockDeviceException(int errno, string path, string message)
        : base(message)
    {
        Errno = errno;
        Path = path;
    }

    /// <summary>Error number of Linux.</summary>
    public int Errno { get; }

    /// <summary>First block of the request that failed.</summary>
    public BlockNumber Block { get; }

    /// <summary>What was to be done.</summary>
    public BlockOperation Operation { get; }

    /// <summary>The device.</summary>
    public string Path { get; }

    private static new string Message(int errno, BlockNumber block, BlockOperation operation, string path) =>
        operation == BlockOperation.Flush
            ? $"{path}: flush failed: {Linux.Errno.Describe(errno)}."
            : $"{path}: {operation} at {block} failed: {Linux.Errno.Describe(errno)}.";
}
