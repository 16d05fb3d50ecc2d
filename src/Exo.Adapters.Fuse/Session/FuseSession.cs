// SPDX-License-Identifier: MIT
using Exo.Adapters.Fuse.Messages;
using Exo.FileSystems.CFFS;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Nodes;

namespace Exo.Adapters.Fuse.Session;

/// <summary>
/// Answers the kernel's messages from one volume. It knows nothing of descriptors and threads: a message in, an answer out, from as many threads as there are.
/// The kernel checks permissions (<c>default_permissions</c>); what it must not rely on it for are the lengths in its messages, which are checked.
/// </summary>
/// <para>
/// Unless <paramref name="fileHandles"/> is wanted, OPEN, RELEASE and CREATE are refused once and never come again (FUSE_NO_OPEN_SUPPORT): files are named by node only, and whatever the
/// kernel knows stays in being until it is forgotten, name or no name (<see cref="NodeTable"/>).
/// </para>
internal sealed partial class FuseSession(CffsVolume volume, bool writebackCache, bool extendedAttributes = true, bool fileHandles = false, bool notesAccess = true, Func<bool>? wantsRing = null, bool accessLists = false)
{
    private readonly NodeDoor _door = new(volume, notesAccess);
    private readonly HandleTable _handles = new();
    private NodeTable? _nodes;
    private readonly MessageCounts _messages = new();
    private bool _hasHandles = fileHandles;
    private bool _hasAccessLists;
    private int _changes;

    /// <summary>Whether a message waits for others: for a commit that it may share, or for the kernel's own pages.</summary>
    public bool Waits(in FuseRequest request) => request.Opcode switch
    {
        FuseOpcode.FileSync or FuseOpcode.DirectorySync or FuseOpcode.SyncFileSystem => true,
        FuseOpcode.Seek => IsWrittenBehind(request),
        _ => false,
    };

    /// <summary>Whether the kernel, when it has the answer to a message, may know an inode more, or many.</summary>
    public static bool Tells(in FuseRequest request) => request.Opcode is FuseOpcode.Lookup or FuseOpcode.ReadDirectoryPlus or FuseOpcode.Create or FuseOpcode.CreateUnnamed
        or FuseOpcode.MakeNode or FuseOpcode.MakeDirectory or FuseOpcode.SymbolicLink or FuseOpcode.Link;

    /// <summary>FUSE_INIT has been answered.</summary>
    public bool IsReady { get; private set; }

    public NodeDoor Door => _door;

    /// <summary>The kernel keeps lengths and times of files itself, whatever it is told (<c>writeback</c>).</summary>
    public bool KernelKeepsLengths => writebackCache;

    /// <summary>What the kernel has sent so far.</summary>
    public MessageCounts Messages => _messages;

    private NodeTable Nodes => _nodes ??= new NodeTable(_door, () => !_hasHandles);

    /// <inheritdoc cref="NodeTable.IsCrowded"/>
    public bool IsCrowded => Nodes.IsCrowded;

    /// <summary>Has the kernel forget what it does not need. Null when it cannot be asked.</summary>
    public Action? Thin { get; set; }

    /// <summary>Told, within a message that is not answered yet, that the kernel must not go by what it remembers of a node's attributes.</summary>
    public Action<ulong>? AttributesChanged { get; set; }

    /// <summary>Told, within a message that is not answered yet, that the kernel must not go by what it remembers of a directory's listing.</summary>
    public Action<ulong>? ListingChanged { get; set; }

    /// <summary>Inodes that the kernel knows.</summary>
    public int NodeCount => Nodes.Count;

    /// <inheritdoc cref="NodeTable.TakeCrowd"/>
    public ulong[] TakeCrowd() => Nodes.TakeCrowd();

    /// <summary>The kernel's name for an inode, if it has been told of it and has not forgotten; else 0.</summary>
    public ulong NodeNumberOf(ulong inode) => inode == _door.Root.Number ? NodeTable.RootNode : Nodes.Find(inode) is null ? 0 : inode;

    /// <summary>Whether something has changed since the last call.</summary>
    public bool TakeChanges() => Interlocked.Exchange(ref _changes, 0) != 0;

    /// <summary>The mount is over: what was open is closed, what was known is forgotten. No message comes after.</summary>
    public void End()
    {
        foreach (Inode inode in _handles.RemoveAll())
        {
            _door.Close(inode);
        }

        Nodes.ForgetAll();
    }

    /// <summary>Answers one message. The pages of the answer go back with <see cref="GiveBack"/> once it is sent.</summary>
    /// <param name="message">The message.</param>
    /// <param name="reply">Takes the answer.</param>
    public void Handle(ReadOnlyMemory<byte> message, FuseReply reply)
    {
        reply.Begin();
        if (!FuseRequest.TryParse(message, out FuseRequest request))
        {
            reply.Silence();
            return;
        }

        _messages.Add(request.Opcode);
        try
        {
            Dispatch(request, reply);
        }
        catch (CffsException refused)
        {
            reply.Fail(refused.Errno);
        }
        catch (FuseMessageException)
        {
            reply.Fail(FuseErrno.EINVAL);
        }
        catch (IOException)
        {
            // The device failed; C-FFS keeps what it could not write and tries again.
            reply.Fail(FuseErrno.EIO);
        }
        catch (ObjectDisposedException)
        {
            // The volume was closed while it is mounted.
            reply.Fail(FuseErrno.EIO);
        }

        reply.Seal(request.Unique);
    }

    /// <summary>Ends the loan of an answer's pages.</summary>
    public void GiveBack(FuseReply reply) => _door.GiveBack(reply.Pages.AsSpan(0, reply.PageCount));

    private void Dispatch(in FuseRequest request, FuseReply reply)
    {
        if (!IsReady && request.Opcode != FuseOpcode.Initialise)
        {
            reply.Fail(FuseErrno.EPROTO);
            return;
        }

        switch (request.Opcode)
        {
            case FuseOpcode.Initialise: Initialise(request, reply); break;
            case FuseOpcode.Lookup: Lookup(request, reply); break;
            case FuseOpcode.Forget: Nodes.Forget(request.Node, request.BodyLong(0)); reply.Silence(); break;
            case FuseOpcode.BatchForget: BatchForget(request, reply); break;
            case FuseOpcode.GetAttributes: FuseStructures.WriteAttributesOut(reply.Add(16 + FuseStructures.AttributesBytes), _door.Stat(NodeOf(request))); break;
            case FuseOpcode.StatX: FuseStructures.WriteStatX(reply.Add(288), _door.Stat(NodeOf(request))); break;
            case FuseOpcode.SetAttributes: SetAttributes(request, reply); break;
            case FuseOpcode.ReadLink: ReadLink(request, reply); break;
            case FuseOpcode.SymbolicLink: SymbolicLink(request, reply); break;
            case FuseOpcode.MakeNode: MakeNode(request, reply); break;
            case FuseOpcode.MakeDirectory: MakeDirectory(request, reply); break;
            case FuseOpcode.Unlink: Remove(request, isDirectory: false); break;
            case FuseOpcode.RemoveDirectory: Remove(request, isDirectory: true); break;
            case FuseOpcode.Rename: Rename(request, 0, 8); break;
            case FuseOpcode.Rename2: Rename(request, request.BodyWord(8), 16); break;
            case FuseOpcode.Link: Link(request, reply); break;
            case FuseOpcode.Create when _hasHandles: Create(request, reply); break;
            case FuseOpcode.CreateUnnamed: CreateUnnamed(request, reply); break;
            case FuseOpcode.Open when _hasHandles: Open(request, reply); break;
            case FuseOpcode.Release: Release(request); break;
            case FuseOpcode.Read: Read(request, reply); break;
            case FuseOpcode.Write: Write(request, reply); break;
            case FuseOpcode.Seek: Seek(request, reply); break;
            case FuseOpcode.Allocate: Allocate(request, reply); break;
            case FuseOpcode.CopyFileRange: CopyFileRange(request, reply); break;
            case FuseOpcode.IoControl: reply.Fail(FuseErrno.ENOTTY); break;
            case FuseOpcode.GetExtendedAttribute when extendedAttributes: GetExtendedAttribute(request, reply); break;
            case FuseOpcode.ListExtendedAttributes when extendedAttributes: ListExtendedAttributes(request, reply); break;
            case FuseOpcode.SetExtendedAttribute when extendedAttributes: SetExtendedAttribute(request); break;
            case FuseOpcode.RemoveExtendedAttribute when extendedAttributes: RemoveExtendedAttribute(request); break;
            case FuseOpcode.StatFileSystem: StatFileSystem(reply); break;
            case FuseOpcode.FileSync or FuseOpcode.DirectorySync or FuseOpcode.SyncFileSystem: Sync(); break;
            case FuseOpcode.ReadDirectory: ReadDirectory(request, reply, plus: false); break;
            case FuseOpcode.ReadDirectoryPlus: ReadDirectory(request, reply, plus: true); break;
            case FuseOpcode.Destroy: Sync(); break;

            // Among them FLUSH, OPENDIR and INTERRUPT, and without handles OPEN and CREATE (MKNOD comes instead): once refused they do not come again. Positions in a directory
            // need no handle, closing a file writes nothing, and nothing here takes long enough to be interrupted.
            default: reply.Fail(FuseErrno.ENOSYS); break;
        }
    }

    private void Initialise(in FuseRequest request, FuseReply reply)
    {
        const uint Major = 7;
        const uint MinorMin = 31;
        const uint MinorMax = 42;
        const uint OverRing = 1 << 9;
        uint major = request.BodyWord(0);
        uint minor = request.BodyWord(4);
        Span<byte> body = reply.Add(64);
        FuseStructures.PutWord(body, 0, Major);
        FuseStructures.PutWord(body, 4, Math.Min(minor, MinorMax));
        if (major > Major)
        {
            // The kernel asks again with our number.
            return;
        }

        if (major < Major || minor < MinorMin)
        {
            reply.Fail(FuseErrno.EPROTO);
            return;
        }

        // Not AtomicTruncate: the kernel would send OPEN with O_TRUNC before it finds out that the file is a program that runs, and refuse too late.
        FuseFeatures wanted = FuseFeatures.AsyncRead | FuseFeatures.ExportSupport | FuseFeatures.BigWrites
            | FuseFeatures.ReadDirectoryPlus | FuseFeatures.ReadDirectoryPlusAuto | FuseFeatures.AsyncDirectIO | FuseFeatures.ParallelDirectoryOperations
            | FuseFeatures.MaxPages | FuseFeatures.CacheSymbolicLinks | FuseFeatures.NoOpen | FuseFeatures.NoOpenDirectory | FuseFeatures.HandleKillPrivilegesV2
            | (writebackCache ? FuseFeatures.WritebackCache : FuseFeatures.None);
        FuseFeatures offered = (FuseFeatures)request.BodyWord(12);

        // With access control lists the umask is ours to apply: a default list takes its place. The kernel asks for each inode's list once, for whoever is not its owner.
        const FuseFeatures Lists = FuseFeatures.AccessLists | FuseFeatures.NoMask | FuseFeatures.SetAttributeExtended;
        _hasAccessLists = accessLists && extendedAttributes && (offered & Lists) == Lists;
        wanted |= _hasAccessLists ? Lists : FuseFeatures.None;
        _hasHandles |= (offered & FuseFeatures.NoOpen) == 0;

        // Flags 32 to 63.
        uint offeredHigh = (offered & FuseFeatures.Extended) != 0 ? request.BodyWord(16) : 0;
        if ((offeredHigh & OverRing) != 0 && wantsRing is not null && wantsRing())
        {
            wanted |= FuseFeatures.Extended;
            FuseStructures.PutWord(body, 32, OverRing);
        }

        FuseStructures.PutWord(body, 8, request.BodyWord(8));
        FuseStructures.PutWord(body, 12, (uint)(offered & wanted));
        System.Buffers.Binary.BinaryPrimitives.WriteUInt16LittleEndian(body[16..], 64);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt16LittleEndian(body[18..], 48);
        FuseStructures.PutWord(body, 20, FuseSessionLimits.WriteBytesMax);
        FuseStructures.PutWord(body, 24, 1);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt16LittleEndian(body[28..], FuseSessionLimits.PagesMax);
        _ = Nodes;
        IsReady = true;
    }

    private void StatFileSystem(FuseReply reply)
    {
        // An inode takes at least a slot of 128 bytes: 32 in a block.
        const ulong InodesPerBlock = 32;
        CffsSpace space = _door.GetSpace();
        Span<byte> body = reply.Add(80);
        FuseStructures.PutLong(body, 0, space.TotalBlocks);
        FuseStructures.PutLong(body, 8, space.FreeBlocks + space.WillFreeBlocks);
        FuseStructures.PutLong(body, 16, space.AvailableBlocks + space.WillFreeBlocks);
        FuseStructures.PutLong(body, 24, space.TotalBlocks * InodesPerBlock);
        FuseStructures.PutLong(body, 32, (space.FreeBlocks + space.WillFreeBlocks) * InodesPerBlock);
        FuseStructures.PutWord(body, 40, CffsSpace.BlockBytes);
        FuseStructures.PutWord(body, 44, 255);
        FuseStructures.PutWord(body, 48, CffsSpace.BlockBytes);
    }

    private void Sync()
    {
        if (!_door.IsReadOnly)
        {
            _door.Sync();
        }
    }

    private void Changed() => Volatile.Write(ref _changes, 1);

    private Inode NodeOf(in FuseRequest request) => NodeOf(request.Node);

    private Inode NodeOf(ulong node) => Nodes.Find(node) ?? throw new CffsException(CffsError.Stale, $"node {node} is not known");

    /// <summary>The file that a message is about: that of its handle or, where there are none, of its node.</summary>
    private Inode FileOf(in FuseRequest request, int handleAt = 0) => FileOf(request.BodyLong(handleAt), request.Node);

    private Inode FileOf(ulong handle, ulong node)
    {
        if (_hasHandles)
        {
            return _handles.Find(handle) ?? throw new CffsException(CffsError.BadHandle, $"handle {handle} is not open");
        }

        // The kernel asks for contents of files only; blocks of directories are not reached from here whatever a message says.
        Inode inode = NodeOf(node);
        NodeDoor.RequireFile(inode);
        return inode;
    }
}
