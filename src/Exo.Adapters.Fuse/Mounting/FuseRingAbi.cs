// SPDX-License-Identifier: MIT
namespace Exo.Adapters.Fuse.Mounting;

/// <summary>
/// FUSE over io_uring (linux/fuse.h 7.42; Documentation/filesystems/fuse/fuse-io-uring.rst). The kernel has a queue for each possible processor; a message goes to the queue of the processor
/// that its sender runs on. An entry, once registered, is one message at a time: it comes as the completion of a command, and the next command answers it and waits for the next.
/// <code>
/// headers (struct fuse_uring_req_header, 288 bytes)          payload, at least the largest READ or WRITE
/// | fuse_in_header, in answers fuse_out_header     128 |     | arguments after the first; answers whole |
/// | the message's first argument                   128 |
/// | flags 8 | commit id 8 | payload bytes 4 | pad 4 | 8 |
///
/// command (struct fuse_uring_cmd_req, at byte 48 of an entry of 128): | flags 8 | commit id 8 | queue 2 | pad 6 |
/// </code>
/// </summary>
internal static class FuseRingAbi
{
    public const uint RegisterCommand = 1;
    public const uint CommitAndFetchCommand = 2;

    public const int HeaderBytes = 288;
    public const int OperationAt = 128;
    public const int OperationBytesMax = 128;
    public const int CommitIdAt = 264;
    public const int PayloadBytesAt = 272;

    public const int CommandCommitIdAt = 56;
    public const int CommandQueueAt = 64;
}
