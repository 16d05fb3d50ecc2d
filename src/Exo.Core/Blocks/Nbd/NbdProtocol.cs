// SPDX-License-Identifier: MIT
using Exo.Core.Linux;

namespace Exo.Core.Blocks.Nbd;

/// <summary>
/// The numbers of the NBD protocol (NetworkBlockDevice/nbd, doc/proto.md). All fields are big-endian.
/// <code>
/// option        IHAVEOPT 8 | option 4 | length 4 | data                       client, while negotiating
/// option reply  magic 8 | option 4 | type 4 | length 4 | data                 server, while negotiating
/// request       magic 4 | flags 2 | type 2 | cookie 8 | offset 8 | length 4   28 bytes; a write's payload follows
/// simple reply  magic 4 | error 4 | cookie 8                                  16 bytes; a read's data follows
/// chunk         magic 4 | flags 2 | type 2 | cookie 8 | length 4              20 bytes; payload follows
/// </code>
/// </summary>
internal static class NbdProtocol
{
    public const int DefaultPort = 10809;

    public const ulong ServerMagic = 0x4e42444d41474943; // "NBDMAGIC"
    public const ulong OptionMagic = 0x49484156454F5054; // "IHAVEOPT"
    public const ulong OldStyleMagic = 0x0000420281861253;
    public const ulong OptionReplyMagic = 0x0003e889045565a9;
    public const uint RequestMagic = 0x25609513;
    public const uint SimpleReplyMagic = 0x67446698;
    public const uint ChunkMagic = 0x668e33ef;

    public const int OptionBytes = 16;
    public const int OptionReplyBytes = 20;
    public const int RequestBytes = 28;
    public const int SimpleReplyBytes = 16;
    public const int ChunkBytes = 20;

    /// <summary>The longest string that the protocol allows.</summary>
    public const int StringBytesMax = 4096;

    /// <summary>What a client may send and ask for in one request unless the server says otherwise.</summary>
    public const int PayloadBytesMax = 32 << 20;

    public const ushort HandshakeFixedNewStyle = 1;
    public const ushort HandshakeNoZeroes = 2;

    public const uint OptionExportName = 1;
    public const uint OptionAbort = 2;
    public const uint OptionList = 3;
    public const uint OptionStartTls = 5;
    public const uint OptionInfo = 6;
    public const uint OptionGo = 7;
    public const uint OptionStructuredReply = 8;
    public const uint OptionListMetaContext = 9;
    public const uint OptionSetMetaContext = 10;

    public const uint ReplyAck = 1;
    public const uint ReplyServer = 2;
    public const uint ReplyInfo = 3;
    public const uint ReplyMetaContext = 4;
    public const uint ReplyErrorBit = 1u << 31;
    public const uint ReplyUnsupported = ReplyErrorBit | 1;
    public const uint ReplyPolicy = ReplyErrorBit | 2;
    public const uint ReplyInvalid = ReplyErrorBit | 3;
    public const uint ReplyTlsRequired = ReplyErrorBit | 5;
    public const uint ReplyUnknown = ReplyErrorBit | 6;
    public const uint ReplyShutdown = ReplyErrorBit | 7;
    public const uint ReplyBlockSizeRequired = ReplyErrorBit | 8;
    public const uint ReplyTooBig = ReplyErrorBit | 9;

    public const ushort InfoExport = 0;
    public const ushort InfoName = 1;
    public const ushort InfoDescription = 2;
    public const ushort InfoBlockSize = 3;

    public const ushort ExportHasFlags = 1;
    public const ushort ExportReadOnly = 1 << 1;
    public const ushort ExportFlush = 1 << 2;
    public const ushort ExportForceUnitAccess = 1 << 3;
    public const ushort ExportTrim = 1 << 5;
    public const ushort ExportWriteZeroes = 1 << 6;
    public const ushort ExportDontFragment = 1 << 7;
    public const ushort ExportMultipleConnections = 1 << 8;

    public const ushort CommandRead = 0;
    public const ushort CommandWrite = 1;
    public const ushort CommandDisconnect = 2;
    public const ushort CommandFlush = 3;
    public const ushort CommandTrim = 4;
    public const ushort CommandCache = 5;
    public const ushort CommandWriteZeroes = 6;
    public const ushort CommandBlockStatus = 7;

    public const ushort CommandForceUnitAccess = 1;
    public const ushort CommandNoHole = 1 << 1;
    public const ushort CommandDontFragment = 1 << 2;
    public const ushort CommandRequestOne = 1 << 3;

    public const ushort ChunkDone = 1;
    public const ushort ChunkNone = 0;
    public const ushort ChunkOffsetData = 1;
    public const ushort ChunkOffsetHole = 2;
    public const ushort ChunkBlockStatus = 5;
    public const ushort ChunkErrorBit = 1 << 15;
    public const ushort ChunkError = ChunkErrorBit | 1;
    public const ushort ChunkErrorOffset = ChunkErrorBit | 2;

    /// <summary>The metadata context that tells holes from data.</summary>
    public static ReadOnlySpan<byte> BaseAllocation => "base:allocation"u8;

    public const uint StatusHole = 1;
    public const uint StatusZero = 2;

    /// <summary>The protocol's error numbers are Linux's; one that it does not know counts as EINVAL (proto.md, "Error values").</summary>
    public static int ErrnoOf(uint error) => error switch
    {
        0 or Errno.EPERM or Errno.EIO or Errno.ENOMEM or Errno.EINVAL or Errno.ENOSPC
            or Libc.ErrnoOverflow or Errno.EOPNOTSUPP or Libc.ErrnoShutdown => (int)error,
        _ => Errno.EINVAL,
    };

    /// <summary>An error of a device in the protocol's few words.</summary>
    public static uint ErrorOf(int errno) => errno switch
    {
        0 or Errno.EPERM or Errno.EIO or Errno.ENOMEM or Errno.EINVAL or Errno.ENOSPC
            or Libc.ErrnoOverflow or Errno.EOPNOTSUPP or Libc.ErrnoShutdown => (uint)errno,
        Errno.EROFS or Errno.EACCES => Errno.EPERM,
        Errno.EFBIG => Errno.ENOSPC,
        _ => Errno.EIO,
    };
}
