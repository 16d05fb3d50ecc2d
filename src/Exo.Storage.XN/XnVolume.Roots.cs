// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <content>Templates and roots.</content>
public sealed partial class XnVolume
{
    private readonly Lock _catalogues = new();

    /// <summary>The published roots.</summary>
    public IReadOnlyList<RootEntry> Roots => [.. _roots.Entries];

    /// <summary>
    /// Installs templates as one batch: all of them, durably, or none. Their functions are verified first. Installed templates never change; installing the same batch again
    /// returns the numbers it has. Needs the volume's own capability.
    /// </summary>
    /// <exception cref="XnException">AccessDenied, ReadOnly, WrongTemplate (with what is wrong), NotFound (a child's name), CatalogueFull.</exception>
    public TemplateId[] InstallTemplates(Credential credential, IReadOnlyList<TemplateSource> sources)
    {
        ArgumentNullException.ThrowIfNull(sources);
        ThrowIfClosed();
        RequireOwner(credential, "install templates");
        lock (_catalogues)
        {
            return _templates.Install(sources);
        }
    }

    /// <summary>The source of an installed template, with its programs.</summary>
    public bool TryGetTemplate(TemplateId id, out TemplateSource? source)
    {
        source = _templates.Find(id)?.Source;
        return source is not null;
    }

    /// <summary>The numbers and names of all installed templates.</summary>
    public IReadOnlyList<(TemplateId Id, string Name)> Templates => [.. _templates.All.Select(template => (template.Id, template.Source.Name))];

    /// <summary>Bytes in use of a block in core, as its template's <c>size</c> function says; 4096 without one, 0 when the block is not in core.</summary>
    public int SizeOf(BlockNumber block)
    {
        lock (_lock)
        {
            int index = _registry.Find(block.Value);
            if (index < 0 || (_registry[index].Flags & (EntryFlags.Framed | EntryFlags.Reading)) != EntryFlags.Framed)
            {
                return 0;
            }

            if (_registry.TemplateOf(index).Size is not { } size)
            {
                return 4096;
            }

            ExecutionResult result = size.Run(new ProgramInput(FrameBytes(index)), size.InstructionsMax);
            return result.Status == ExecutionStatus.Completed ? (int)Math.Min(result.R0, 4096) : 4096;
        }
    }

    /// <summary>
    /// Allocates a block for a new root, bound to a zero-filled frame. It is not reachable from the disk until <see cref="PublishRoot"/>: fill it by transactions (its <c>acl</c>
    /// guards it from the start: the first transaction must come from a credential that it grants when zero-filled, or use <paramref name="contents"/>), write it and what is below back, flush.
    /// </summary>
    /// <param name="credential">Needs the volume's own capability.</param>
    /// <param name="template">The root's template; it must have an <c>acl</c>.</param>
    /// <param name="hint">Where the block should lie, or 0.</param>
    /// <param name="contents">First contents outside every partition's read set, or empty.</param>
    /// <exception cref="XnException">AccessDenied, ReadOnly, WrongTemplate, NotFree (disk full), BadFrames, BadRange (contents longer than a block), TypeError (contents point to blocks).</exception>
    public BlockNumber CreateRoot(Credential credential, TemplateId template, BlockNumber hint, ReadOnlySpan<byte> contents)
    {
        ThrowIfClosed();
        RequireOwner(credential, "create a root");
        MakeUnclean();
        using (new Changing(this))
        {
            Template kind = _templates.Find(template) is { Acl: not null } found
                ? found
                : throw new XnException(XnStatus.WrongTemplate, "a root's template needs an acl function");
            if (contents.Length > 4096)
            {
                throw new XnException(XnStatus.BadRange, "contents are longer than a block");
            }

            foreach (ushort offset in kind.Offsets)
            {
                if (offset < contents.Length && contents[offset..Math.Min(contents.Length, offset + kind.ReadSetBytes)].ContainsAnyExcept((byte)0))
                {
                    throw new XnException(XnStatus.TypeError, "the first contents of a root may not touch its pointers");
                }
            }

            ulong block = Math.Max(hint.Value, DataStart.Value);
            ulong tried = 0;
            while (tried < BlockCount && (block >= BlockCount || !_freeMap.IsFree(block)))
            {
                block = block + 1 >= BlockCount ? DataStart.Value : block + 1;
                tried++;
            }

            if (tried == BlockCount)
            {
                throw new XnException(XnStatus.NotFree, "the disk is full");
            }

            if (!_frames.TryAllocate(_frames.RootCredential, out FrameNumber frame))
            {
                throw new XnException(XnStatus.BadFrames, "the frame pool is exhausted");
            }

            _freeMap.Take(new BlockExtent(new BlockNumber(block), 1));
            _frames.Bytes(frame).Clear();
            contents.CopyTo(_frames.Bytes(frame));
            ForgetAhead(block);
            int index = _registry.Add(block, kind, isFresh: true);
            ref RegistryEntry entry = ref _registry[index];
            entry.Frame = frame.Value;
            entry.Guard = block;
            entry.Flags = EntryFlags.Framed | EntryFlags.Volatile | EntryFlags.Uninitialised | EntryFlags.NeverOnDisk;
            _registry.SetDirty(index);
            return new BlockNumber(block);
        }
    }

    /// <summary>
    /// Enters a root into the catalogue, durably. The block and everything below it must be durable first (rule one).
    /// </summary>
    /// <exception cref="XnException">AccessDenied, ReadOnly, Exists, CatalogueFull, NotFound (no such new root), Tainted (not durable yet), BadRange (name).</exception>
    public void PublishRoot(Credential credential, string name, BlockNumber block)
    {
        ThrowIfClosed();
        RequireOwner(credential, "publish a root");
        if (Encoding.UTF8.GetByteCount(name) is 0 or > RootBlock.NameBytesMax)
        {
            throw new XnException(XnStatus.BadRange, "a root's name has 1 to 64 bytes");
        }

        lock (_catalogues)
        {
            TemplateId template;
            using (new Changing(this))
            {
                int index = _registry.Find(block.Value);
                if (index < 0 || _registry[index].Parent != 0 || !_registry[index].Has(EntryFlags.Volatile))
                {
                    throw new XnException(XnStatus.NotFound, $"{block} is not a new root");
                }

                if (!IsDurable(index) || _registry.Pending(index) > 0)
                {
                    throw new XnException(XnStatus.Tainted, $"{block} is not durable yet");
                }

                template = _registry.TemplateOf(index).Id;
                _registry[index].Flags &= ~EntryFlags.Volatile;
                PromoteKids(index);
                _registry.Settle(index);
            }

            if (_roots.Entries.Exists(root => root.Name == name))
            {
                throw new XnException(XnStatus.Exists, $"a root '{name}' exists");
            }

            if (_roots.Entries.Count == RootBlock.EntriesMax)
            {
                throw new XnException(XnStatus.CatalogueFull, "the root catalogue is full");
            }

            _roots.Store([.. _roots.Entries, new RootEntry(name, template, block)]);
        }
    }

    /// <summary>Brings a root's block in and returns its entry. Its <c>acl</c> must grant the credential reading.</summary>
    /// <exception cref="XnException">NotFound, AccessDenied, BadFrames.</exception>
    public RootEntry OpenRoot(Credential credential, string name)
    {
        ThrowIfClosed();
        RootEntry root = _roots.Entries.Find(entry => entry.Name == name);
        if (root.Name is null)
        {
            throw new XnException(XnStatus.NotFound, $"no root '{name}'");
        }

        lock (_catalogues)
        {
            bool isRegistered;
            lock (_lock)
            {
                isRegistered = _registry.Find(root.Block.Value) >= 0;
            }

            if (!isRegistered)
            {
                if (!_frames.TryAllocate(_frames.RootCredential, out FrameNumber frame))
                {
                    throw new XnException(XnStatus.BadFrames, "the frame pool is exhausted");
                }

                BlockRequest[] read = [BlockRequest.Read(root.Block, new[] { frame })];
                try
                {
                    _device.Execute(read);
                }
                catch (BlockDeviceException)
                {
                    _frames.Release(frame);
                    throw;
                }

                using (new Changing(this))
                {
                    int index = _registry.Add(root.Block.Value, _templates.Find(root.Template)!, isFresh: false);
                    ref RegistryEntry entry = ref _registry[index];
                    entry.Guard = root.Block.Value;
                    entry.Frame = frame.Value;
                    entry.Flags = EntryFlags.Framed;
                }
            }
        }

        lock (_lock)
        {
            XnStatus status = CheckAccess(credential, root.Block.Value, XnOperation.Read);
            if (status != XnStatus.Ok)
            {
                throw new XnException(status, $"the credential may not open root '{name}'");
            }
        }

        return root;
    }

    private void RequireOwner(Credential credential, string what)
    {
        if (!IsOwner(credential))
        {
            throw new XnException(XnStatus.AccessDenied, $"only the volume's owner ({OwnerName}) may {what}");
        }

        if (IsReadOnly)
        {
            throw new XnException(XnStatus.ReadOnly, "the volume is attached read-only");
        }
    }
}
