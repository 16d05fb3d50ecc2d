// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.FileSystems.CFFS.Nodes;

namespace Exo.Adapters.Fuse.Messages;

/// <summary>
/// The answer to one message, in one buffer that is used again for the next: struct fuse_out_header, the body, and pages of the cache that are sent from where they are.
/// One for each thread; not thread-safe.
/// </summary>
internal sealed class FuseReply
{
    public const int HeaderBytes = 16;

    /// <summary>Most bytes in one directory reply.</summary>
    public const int BodyBytesMax = 64 << 10;

    /// <summary>Pages that one READ may touch: 1 MiB that need not begin at a page.</summary>
    public const int PagesMax = FuseSessionLimits.PagesMax + 1;

    private readonly byte[] _buffer = GC.AllocateArray<byte>(HeaderBytes + BodyBytesMax, pinned: true);

    /// <summary>Header and body so far.</summary>
    public int LengthBytes { get; private set; }

    /// <summary>The message wants no answer.</summary>
    public bool IsSilent { get; private set; }

    /// <summary>Error number of the answer; 0 when all went well.</summary>
    public int Error { get; private set; }

    /// <summary>Pages to send after the body.</summary>
    public BorrowedPage[] Pages { get; } = new BorrowedPage[PagesMax];

    public int PageCount { get; set; }

    /// <summary>Where in the first page the answer begins, and how many bytes of the pages belong to it.</summary>
    public int FirstPageOffset { get; set; }

    public int PageBytes { get; set; }

    public ReadOnlySpan<byte> Bytes => _buffer.AsSpan(0, LengthBytes);

    /// <summary>Begins the answer to a message.</summary>
    public void Begin()
    {
        LengthBytes = HeaderBytes;
        IsSilent = false;
        Error = 0;
        PageCount = FirstPageOffset = PageBytes = 0;
    }

    /// <summary>The next bytes of the body, zeroed.</summary>
    public Span<byte> Add(int lengthBytes)
    {
        Span<byte> added = _buffer.AsSpan(LengthBytes, lengthBytes);
        added.Clear();
        LengthBytes += lengthBytes;
        return added;
    }

    /// <summary>Takes the last bytes of the body back.</summary>
    public void Shorten(int lengthBytes) => LengthBytes -= lengthBytes;

    /// <summary>The answer is an error and nothing else.</summary>
    public void Fail(int errno)
    {
        LengthBytes = HeaderBytes;
        PageCount = PageBytes = 0;
        Error = errno;
    }

    /// <summary>No answer is sent.</summary>
    public void Silence() => IsSilent = true;

    /// <summary>Fills in the header.</summary>
    public void Seal(ulong unique)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(_buffer, (uint)(LengthBytes + PageBytes));
        BinaryPrimitives.WriteInt32LittleEndian(_buffer.AsSpan(4), -Error);
        BinaryPrimitives.WriteUInt64LittleEndian(_buffer.AsSpan(8), unique);
    }
}

/// <summary>Sizes that are agreed on with the kernel.</summary>
internal static class FuseSessionLimits
{
    /// <summary>Pages of one READ or WRITE: 1 MiB.</summary>
    public const int PagesMax = 256;

    public const int WriteBytesMax = PagesMax * 4096;
}
