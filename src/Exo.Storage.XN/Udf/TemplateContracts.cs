// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;

namespace Exo.Storage.XN;

/// <summary>
/// The bargain between XN and the author of a template: what each of its four functions sees and may call.
/// <list type="bullet">
/// <item><c>owns</c>: r1 = the partition's read set and nothing else, r2 = its length in bytes, r3 = partition index; helper 1
/// <c>emit(start, count, child)</c> adds blocks to the result, child being an index into the template's children. Because nothing else of the block is visible,
/// the result depends on the read set alone.</item>
/// <item><c>acl</c>: r1 = the block (4096 bytes), r2 = 4096, r3 = context (<see cref="AclContext"/>), r4 = its length; r0 not 0 grants.</item>
/// <item><c>size</c>: r1 = the block, r2 = 4096; r0 = bytes in use.</item>
/// <item><c>approve</c>: r1 = a unit of the block as a transaction would make it, r2 = its length in bytes, r3 = the block (4096 bytes) with everything else that the transaction changes in it
/// and the unit as it is now, r4 = the unit's offset in the block, r5 = which 64ths of the unit change, a bit each; r0 not 0 approves. A fresh block is zeros, and what stays zeros is legal
/// without a run. Its helpers take offsets in the block as the transaction would make it; a range that leaves the block, or is partly in the unit and partly not, is a refusal.
/// <code>
/// 1 guard(offset)           eight bytes of the block whose acl guards this one, as it is now (zeros: it is new)
/// 2 take(offset, length)    appends bytes to a text, which is empty at first and has 512 bytes at most
/// 3 find(a, b)              1 if the text has one of these two bytes, else 0
/// 4 hash(seed)              xxHash3-64 of the text, which is empty again
/// 5 same(a, b, length)      1 if the bytes at a are those at b, else 0
/// </code></item>
/// </list>
/// </summary>
public static class TemplateContracts
{
    /// <summary>Number of the helper that <c>owns</c> calls to emit an extent.</summary>
    public const int EmitHelper = 1;

    /// <summary>The contract of <c>owns</c> for a read set of this many bytes.</summary>
    public static ProgramContract Owns(int readSetBytes) => new(
        "owns",
        [ArgumentContract.MemoryPointer, ArgumentContract.MemoryLength, ArgumentContract.Scalar(0, 4095)],
        RegionContract.Exactly(readSetBytes),
        null,
        [new HelperContract(EmitHelper, "emit", 3)]);

    /// <summary>The contract of <c>acl</c>.</summary>
    public static ProgramContract Acl { get; } = new(
        "acl",
        [ArgumentContract.MemoryPointer, ArgumentContract.MemoryLength, ArgumentContract.ContextPointer, ArgumentContract.ContextLength],
        RegionContract.Exactly(4096),
        RegionContract.Exactly(AclContext.SizeBytes));

    /// <summary>The contract of <c>size</c>.</summary>
    public static ProgramContract Size { get; } = new(
        "size",
        [ArgumentContract.MemoryPointer, ArgumentContract.MemoryLength],
        RegionContract.Exactly(4096));

    /// <summary>The contract of <c>approve</c> for units of this many bytes.</summary>
    public static ProgramContract Approve(int unitBytes) => new(
        "approve",
        [
            ArgumentContract.MemoryPointer, ArgumentContract.MemoryLength, ArgumentContract.ContextPointer, ArgumentContract.Scalar(0, 4096 - (ulong)unitBytes), ArgumentContract.Scalar(),
        ],
        RegionContract.Exactly(unitBytes),
        RegionContract.Exactly(4096),
        [
            new HelperContract(ApproveHelpers.Guard, "guard", 1), new HelperContract(ApproveHelpers.Take, "take", 2), new HelperContract(ApproveHelpers.Find, "find", 2),
            new HelperContract(ApproveHelpers.Hash, "hash", 1), new HelperContract(ApproveHelpers.Same, "same", 3),
        ]);
}

/// <summary>Numbers of the helpers of <c>approve</c>: see <see cref="TemplateContracts"/>.</summary>
public static class ApproveHelpers
{
    /// <summary>Eight bytes of the guarding block.</summary>
    public const int Guard = 1;

    /// <summary>Appends bytes to the text.</summary>
    public const int Take = 2;

    /// <summary>Whether the text has one of two bytes.</summary>
    public const int Find = 3;

    /// <summary>The hash of the text.</summary>
    public const int Hash = 4;

    /// <summary>Whether two ranges hold the same.</summary>
    public const int Same = 5;

    /// <summary>The longest text, in bytes.</summary>
    public const int TextBytesMax = 512;
}

/// <summary>
/// What an <c>acl</c> function is told about a request and one capability of the caller. It runs once per valid capability; any yes grants.
/// <code>
/// 0 operation u32 | 4 rights wanted u32 | 8 offset u32 | 12 length u32 | 16 capability's rights u32 | 20 name length u32 | 24 name, 256 bytes, zero-padded
/// </code>
/// </summary>
public static class AclContext
{
    /// <summary>Length of the context in bytes.</summary>
    public const int SizeBytes = 280;

    internal const int Operation = 0;
    internal const int RightsWanted = 4;
    internal const int OffsetBytes = 8;
    internal const int LengthBytes = 12;
    internal const int CapabilityRights = 16;
    internal const int NameLengthBytes = 20;
    internal const int Name = 24;
}

/// <summary>What a caller wants to do with a block, as <c>acl</c> sees it.</summary>
public enum XnOperation
{
    /// <summary>Bring the block in, or read it.</summary>
    Read = 1,

    /// <summary>Change bytes, pointers included.</summary>
    Write = 2,
}
