// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Defragment;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Paths;

namespace Exo.FileSystems.CFFS;

/// <summary>How the files of a tree lie on the disk.</summary>
/// <param name="SmallFiles">Files of 1 to 16 blocks, and those that share a block.</param>
/// <param name="SmallFilesGrouped">The fraction of them that lie in the same 64 KiB as another of their directory, or in the next.</param>
/// <param name="RequestsPer100SmallFiles">Requests that read 100 of them, all of a directory being read: runs of blocks in which they lie together.</param>
/// <param name="LargeFiles">Files of more than 16 blocks, or of more than one extent.</param>
/// <param name="RunsPerLargeFile">Mean number of runs of blocks in which one of them lies.</param>
/// <param name="FreeBlocksByRunLength">Free blocks of the disk by the length of the run that they are part of: item n is for lengths from 2^n on.</param>
public sealed record CffsLayout(
    long SmallFiles, double SmallFilesGrouped, double RequestsPer100SmallFiles, long LargeFiles, double RunsPerLargeFile, IReadOnlyList<ulong> FreeBlocksByRunLength);

/// <summary>What a defragmentation has done, or would do.</summary>
/// <param name="MovedBlocks">Blocks moved.</param>
/// <param name="Before">The layout before.</param>
/// <param name="After">The layout after; of a dry run the best that can be, with the free blocks as they are.</param>
public sealed record CffsDefragmentReport(ulong MovedBlocks, CffsLayout Before, CffsLayout After);

/// <content>Defragmentation.</content>
public sealed partial class CffsVolume
{
    /// <summary>
    /// Brings the small files of each directory of a tree together again, and each large file into few runs, as far as free runs allow; of a whole volume (<c>/</c>) also where they do not: then room is made first, region
    /// by region, in which contents may move several times and, until it is done, lie more scattered than before. Others may work meanwhile: a step locks one file and moves at most a
    /// mebibyte of it. A crash leaves each file whole, where it was or where it goes. Blocks that are shared with snapshots or copies stay where they are, and so do blocks of records and extent trees.
    /// </summary>
    /// <param name="path">A directory.</param>
    /// <param name="dryRun">Only measure, and say what can be gained at best.</param>
    /// <param name="identity">Who asks; null is the superuser, and only the superuser may: permissions are not asked for. A confined one's path begins at its directory.</param>
    /// <param name="progress">Told after each step.</param>
    /// <param name="cancellationToken">Ends it between two steps.</param>
    /// <exception cref="CffsException">NotFound, NotDirectory, NotPermitted, ReadOnly (unless it is a dry run).</exception>
    /// <exception cref="OperationCanceledException">It was cancelled; what has moved stays where it is.</exception>
    public CffsDefragmentReport Defragment(
        string path = "/", bool dryRun = false, CffsIdentity? identity = null, IProgress<CffsMoveProgress>? progress = null, CancellationToken cancellationToken = default) =>
        Defragment(PathName.Encode(path), dryRun, identity, progress, cancellationToken);

    /// <inheritdoc cref="Defragment(string, bool, CffsIdentity?, IProgress{CffsMoveProgress}?, CancellationToken)"/>
    public CffsDefragmentReport Defragment(
        ReadOnlyMemory<byte> path, bool dryRun = false, CffsIdentity? identity = null, IProgress<CffsMoveProgress>? progress = null, CancellationToken cancellationToken = default) =>
        DefragmentCoreAsync(path, dryRun, identity, progress, IoMode.Sync, cancellationToken).Take();

    /// <inheritdoc cref="Defragment(string, bool, CffsIdentity?, IProgress{CffsMoveProgress}?, CancellationToken)"/>
    public ValueTask<CffsDefragmentReport> DefragmentAsync(
        string path = "/", bool dryRun = false, CffsIdentity? identity = null, IProgress<CffsMoveProgress>? progress = null, CancellationToken cancellationToken = default) =>
        DefragmentAsync(PathName.Encode(path), dryRun, identity, progress, cancellationToken);

    /// <inheritdoc cref="Defragment(string, bool, CffsIdentity?, IProgress{CffsMoveProgress}?, CancellationToken)"/>
    public ValueTask<CffsDefragmentReport> DefragmentAsync(
        ReadOnlyMemory<byte> path, bool dryRun = false, CffsIdentity? identity = null, IProgress<CffsMoveProgress>? progress = null, CancellationToken cancellationToken = default) =>
        DefragmentCoreAsync(path, dryRun, identity, progress, IoMode.Async, cancellationToken);

    private async ValueTask<CffsDefragmentReport> DefragmentCoreAsync(
        ReadOnlyMemory<byte> path, bool dryRun, CffsIdentity? identity, IProgress<CffsMoveProgress>? progress, IoMode mode, CancellationToken cancellationToken)
    {
        CheckOpen();
        CffsIdentity who = RequireSuperuser(identity, "defragments");
        if (!dryRun)
        {
            await Core.BeginWritingAsync(mode).ConfigureAwait(false);
        }

        Inode directory = await Core.Paths.ResolveAsync(path, followLast: true, who, mode).ConfigureAwait(false);
        try
        {
            if (!directory.IsDirectory)
            {
                throw Refusal.Of(CffsError.NotDirectory, path, " is no directory");
            }

            return await new Defragmentation(Core, dryRun, progress, cancellationToken).RunAsync(directory, mode).ConfigureAwait(false);
        }
        finally
        {
            Core.Inodes.Release(directory);
        }
    }
}
