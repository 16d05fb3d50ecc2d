// SPDX-License-Identifier: MIT
using System.Text.Json.Serialization;
using Exo.Cli.Output;
using Exo.Cli.Verbs;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Administration;

/// <summary>
/// What a verb wants of a volume, as data and as the code that does it: so it is the same whether this process opens the image, or sends the request to the process that has it mounted.
/// </summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "do")]
[JsonDerivedType(typeof(SpaceRequest), "space")]
[JsonDerivedType(typeof(ResizeRequest), "resize")]
[JsonDerivedType(typeof(DefragmentRequest), "defragment")]
[JsonDerivedType(typeof(SnapshotListRequest), "list-snapshots")]
[JsonDerivedType(typeof(SnapshotCreateRequest), "create-snapshot")]
[JsonDerivedType(typeof(SnapshotDeleteRequest), "delete-snapshot")]
[JsonDerivedType(typeof(CopyTreeRequest), "copy-tree")]
internal abstract record VolumeRequest
{
    /// <summary>Whether it changes something: the image is opened for writing, and the kernel is asked first for what it holds of writes to a mount.</summary>
    [JsonIgnore]
    public abstract bool IsChange { get; }

    /// <summary>Whether it makes sense as far as can be said without a volume; a stranger may have written it.</summary>
    [JsonIgnore]
    public virtual bool IsWellFormed => true;

    /// <summary>Does it.</summary>
    /// <param name="volume">The volume.</param>
    /// <param name="counts">Raised as it goes on; read by others meanwhile.</param>
    /// <param name="cancellationToken">Ends it between two steps.</param>
    public abstract VolumeResult CarryOut(CffsVolume volume, StepCounts counts, CancellationToken cancellationToken);

    protected static bool IsPath(byte[] path) => path.Length is > 0 and <= 65536 && path[0] == '/' && !path.Contains((byte)0);

    protected static bool IsName(byte[] name) => name.Length is > 0 and <= 4096 && !name.Contains((byte)'/') && !name.Contains((byte)0);

    /// <summary>Sets counts on the thread that reports; <see cref="Progress{T}"/> would do it some time later.</summary>
    protected sealed class Forward<T>(Action<T> set) : IProgress<T>
    {
        public void Report(T value) => set(value);
    }
}

/// <summary>A request whose answer is of one kind.</summary>
internal abstract record VolumeRequest<TResult> : VolumeRequest
    where TResult : VolumeResult;

/// <summary>What came of a request.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "is")]
[JsonDerivedType(typeof(NothingResult), "nothing")]
[JsonDerivedType(typeof(SpaceResult), "space")]
[JsonDerivedType(typeof(DefragmentResult), "layouts")]
[JsonDerivedType(typeof(SnapshotListResult), "snapshots")]
[JsonDerivedType(typeof(SnapshotDeleteResult), "deleted")]
[JsonDerivedType(typeof(CopyTreeResult), "copied")]
internal abstract record VolumeResult;

/// <summary>It is done, and there is no more to say.</summary>
internal sealed record NothingResult : VolumeResult;

/// <summary>The size of a volume and what of it is free, in blocks.</summary>
internal sealed record SpaceResult(Guid VolumeId, string Label, ulong TotalBlocks, ulong FreeBlocks, ulong AvailableBlocks, ulong WillFreeBlocks) : VolumeResult
{
    public static SpaceResult Of(CffsVolume volume)
    {
        CffsSpace space = volume.GetSpace();
        return new SpaceResult(volume.Info.VolumeId, volume.Info.Label, space.TotalBlocks, space.FreeBlocks, space.AvailableBlocks, space.WillFreeBlocks);
    }
}

/// <summary>What a defragmentation has done.</summary>
internal sealed record DefragmentResult(CffsDefragmentReport Report) : VolumeResult;

/// <summary>A snapshot in the list of them.</summary>
internal sealed record SnapshotEntry(byte[] Name, long CreatedNs, ulong Inode);

/// <summary>The snapshots, the oldest first.</summary>
internal sealed record SnapshotListResult(IReadOnlyList<SnapshotEntry> Snapshots) : VolumeResult;

/// <summary>The snapshot is gone.</summary>
/// <param name="LeavesRemains">It was interrupted: some of its room is given back later.</param>
internal sealed record SnapshotDeleteResult(bool LeavesRemains) : VolumeResult;

/// <summary>What was copied.</summary>
internal sealed record CopyTreeResult(CffsCopyReport Report) : VolumeResult;

/// <summary>How large the volume is, and how much is free.</summary>
internal sealed record SpaceRequest : VolumeRequest<SpaceResult>
{
    public override bool IsChange => false;

    public override VolumeResult CarryOut(CffsVolume volume, StepCounts counts, CancellationToken cancellationToken) => SpaceResult.Of(volume);
}

/// <summary>The volume, and its image file, become larger or smaller.</summary>
/// <param name="SizeBytes">How large; 0: as the device is.</param>
internal sealed record ResizeRequest(long SizeBytes) : VolumeRequest<SpaceResult>
{
    public override bool IsChange => true;

    public override bool IsWellFormed => SizeBytes >= 0;

    public override VolumeResult CarryOut(CffsVolume volume, StepCounts counts, CancellationToken cancellationToken)
    {
        volume.ResizeImage(SizeBytes, new Forward<CffsMoveProgress>(done => counts.Set((long)done.MovedBlocks, 0)), cancellationToken);
        return SpaceResult.Of(volume);
    }
}

/// <summary>Files that are scattered are brought together.</summary>
/// <param name="Path">A directory.</param>
/// <param name="IsDryRun">Only measured.</param>
internal sealed record DefragmentRequest(byte[] Path, bool IsDryRun) : VolumeRequest<DefragmentResult>
{
    public override bool IsChange => !IsDryRun;

    public override bool IsWellFormed => IsPath(Path);

    public override VolumeResult CarryOut(CffsVolume volume, StepCounts counts, CancellationToken cancellationToken) => new DefragmentResult(volume.Defragment(
        Path, IsDryRun, progress: new Forward<CffsMoveProgress>(done => counts.Set((long)done.MovedBlocks, 0)), cancellationToken: cancellationToken));
}

/// <summary>The snapshots in the directory that is theirs.</summary>
internal sealed record SnapshotListRequest : VolumeRequest<SnapshotListResult>
{
    public static readonly byte[] Home = "/.snapshots"u8.ToArray();

    public override bool IsChange => false;

    public override VolumeResult CarryOut(CffsVolume volume, StepCounts counts, CancellationToken cancellationToken)
    {
        List<SnapshotEntry> found = [];
        if (volume.Exists(Home))
        {
            foreach (CffsDirectoryEntry entry in volume.ReadDirectory(Home))
            {
                cancellationToken.ThrowIfCancellationRequested();
                CffsStat stat = volume.Stat(Symbols.Join(Home, entry.Name.Span), followSymbolicLink: false);
                if (stat.IsSnapshot && stat.Kind == CffsKind.Directory)
                {
                    found.Add(new SnapshotEntry(entry.Name.ToArray(), stat.BirthTimeNs, stat.Inode));
                }
            }
        }

        found.Sort(static (a, b) => a.CreatedNs.CompareTo(b.CreatedNs));
        return new SnapshotListResult(found);
    }
}

/// <summary>A snapshot is made.</summary>
/// <param name="Source">Of what directory.</param>
/// <param name="Name">Its name among the snapshots.</param>
internal sealed record SnapshotCreateRequest(byte[] Source, byte[] Name) : VolumeRequest<NothingResult>
{
    public override bool IsChange => true;

    public override bool IsWellFormed => IsPath(Source) && IsName(Name);

    public override VolumeResult CarryOut(CffsVolume volume, StepCounts counts, CancellationToken cancellationToken)
    {
        if (!volume.Stat(Source).IsSnapshot && !volume.Exists(SnapshotListRequest.Home))
        {
            volume.CreateDirectory(SnapshotListRequest.Home);
        }

        volume.CreateSnapshot(
            Source, Symbols.Join(SnapshotListRequest.Home, Name), progress: new Forward<CffsSnapshotProgress>(done => counts.Set(done.CopiedInodes, done.LockedInodes)), cancellationToken: cancellationToken);
        return new NothingResult();
    }
}

/// <summary>A snapshot is removed.</summary>
/// <param name="Name">Its name among the snapshots.</param>
internal sealed record SnapshotDeleteRequest(byte[] Name) : VolumeRequest<SnapshotDeleteResult>
{
    public override bool IsChange => true;

    public override bool IsWellFormed => IsName(Name);

    public override VolumeResult CarryOut(CffsVolume volume, StepCounts counts, CancellationToken cancellationToken) =>
        new SnapshotDeleteResult(volume.DeleteSnapshot(Symbols.Join(SnapshotListRequest.Home, Name), cancellationToken: cancellationToken) == CffsSnapshotRemoval.RemainsLeft);
}

/// <summary>A tree is copied within the volume.</summary>
/// <param name="Source">The directory.</param>
/// <param name="Destination">A name that is not there yet.</param>
/// <param name="Shares">Whether large files share their blocks with the copy.</param>
internal sealed record CopyTreeRequest(byte[] Source, byte[] Destination, bool Shares) : VolumeRequest<CopyTreeResult>
{
    /// <summary>The volume that gets the copy; null: the one that has the source. Not for whoever has a volume mounted.</summary>
    [JsonIgnore]
    public CffsVolume? Target { get; init; }

    public override bool IsChange => true;

    public override bool IsWellFormed => IsPath(Source) && IsPath(Destination);

    public override VolumeResult CarryOut(CffsVolume volume, StepCounts counts, CancellationToken cancellationToken) => new CopyTreeResult(volume.CopyTree(
        Source,
        Destination,
        Target,
        Shares,
        progress: new Forward<CffsCopyReport>(done => counts.Set(done.Files + done.Directories + done.Others, 0)),
        cancellationToken: cancellationToken));
}
