// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;

namespace Exo.Storage.XN;

/// <summary>
/// The type catalogue: templates by their persistent numbers (slot + 1). Write-once: a slot that holds a template never changes. Two copies of each.
/// Verified when installed and again when the volume is attached. Guarded by the volume's lock for installing; lookups take none.
/// </summary>
internal sealed class TemplateCatalogue(BlockDevice device, ulong start, ulong slots)
{
    private readonly Template?[] _templates = new Template?[slots];
    private readonly byte[]?[] _hashes = new byte[]?[slots];

    public Template? Find(TemplateId id) => id.Value - 1 < (uint)_templates.Length ? Volatile.Read(ref _templates[id.Value - 1]) : null;

    public IEnumerable<Template> All => _templates.Where(template => template is not null)!;

    /// <summary>Reads and verifies all templates.</summary>
    /// <exception cref="XnFormatException">Both copies of a template are damaged, or one does not verify.</exception>
    public void Load()
    {
        using ScratchFrames scratch = new(device.Frames, (int)(2 * slots));
        BlockRequest[] read = [BlockRequest.Read(new BlockNumber(start), scratch.Frames)];
        device.Execute(read);
        for (int slot = 0; slot < (int)slots; slot++)
        {
            bool damaged = false;
            for (int copy = 0; copy < 2 && _templates[slot] is null; copy++)
            {
                int at = (copy * (int)slots) + slot;
                ReadOnlySpan<byte> block = scratch.Bytes(at);
                if (!block.ContainsAnyExcept((byte)0))
                {
                    continue;
                }

                if (!XnChecksum.IsValid(block, start + (ulong)at) || !TemplateRecord.TryParse(block, out TemplateId id, out TemplateSource? source, out TemplateId[] children)
                    || id.Value != slot + 1)
                {
                    damaged = true;
                    continue;
                }

                try
                {
                    _templates[slot] = VerifiedTemplates.Get(block, id, source, children);
                }
                catch (XnException refused)
                {
                    throw new XnFormatException($"the type catalogue is damaged: {refused.Message}");
                }

                _hashes[slot] = TemplateRecord.ContentHash(block).ToArray();
            }

            if (damaged && _templates[slot] is null)
            {
                throw new XnFormatException($"both copies of template {slot + 1} are damaged");
            }
        }

        foreach (Template template in All)
        {
            foreach (TemplateId child in template.Children)
            {
                if (Find(child) is null)
                {
                    throw new XnFormatException($"template {template.Id.Value} refers to template {child.Value}, which is missing");
                }
            }
        }
    }

    /// <summary>Installs a batch, durably; what is there already with the same contents keeps its number.</summary>
    /// <exception cref="XnException">A template is refused, or the catalogue is full. Nothing was installed.</exception>
    public TemplateId[] Install(IReadOnlyList<TemplateSource> sources)
    {
        foreach (TemplateSource source in sources)
        {
            _ = Template.CheckShape(source);
        }

        // Templates of one batch may refer to one another, so an old batch is found by trying each place where its first member stands.
        int firstFree = Array.FindIndex(_templates, template => template is null);
        for (int slot = 0; slot < _templates.Length && _templates[slot] is not null; slot++)
        {
            if (Matches(sources, slot))
            {
                return [.. sources.Select((_, i) => new TemplateId((uint)(slot + i + 1)))];
            }
        }

        if (firstFree < 0 || firstFree + sources.Count > _templates.Length)
        {
            throw new XnException(XnStatus.CatalogueFull, $"the type catalogue has no room for {sources.Count} more templates");
        }

        List<(Template Template, byte[] Block)> made = [];
        for (int i = 0; i < sources.Count; i++)
        {
            byte[] block = new byte[4096];
            TemplateId id = new((uint)(firstFree + i + 1));
            TemplateId[] children = Resolve(sources, i, firstFree);
            Template template = Template.Verify(id, sources[i], children);
            if (!TemplateRecord.TryEmit(block, id, sources[i], children))
            {
                throw new XnException(XnStatus.WrongTemplate, $"template '{sources[i].Name}' is larger than a block");
            }

            made.Add((VerifiedTemplates.Share(block, template), block));
        }

        for (int copy = 0; copy < 2; copy++)
        {
            using ScratchFrames scratch = new(device.Frames, made.Count);
            ulong first = start + ((ulong)copy * slots) + (ulong)firstFree;
            for (int i = 0; i < made.Count; i++)
            {
                made[i].Block.CopyTo(scratch.Bytes(i));
                XnChecksum.Seal(scratch.Bytes(i), first + (ulong)i);
            }

            BlockRequest[] write = [BlockRequest.Write(new BlockNumber(first), scratch.Frames)];
            device.Execute(write);
            device.Flush();
        }

        for (int i = 0; i < made.Count; i++)
        {
            _hashes[firstFree + i] = TemplateRecord.ContentHash(made[i].Block).ToArray();
            Volatile.Write(ref _templates[firstFree + i], made[i].Template);
        }

        return [.. made.Select(item => item.Template.Id)];
    }

    private bool Matches(IReadOnlyList<TemplateSource> sources, int slot)
    {
        if (slot + sources.Count > _templates.Length)
        {
            return false;
        }

        byte[] block = new byte[4096];
        for (int i = 0; i < sources.Count; i++)
        {
            if (_templates[slot + i] is not { } installed || installed.Source.Name != sources[i].Name || !CanResolve(sources, i)
                || !TemplateRecord.TryEmit(block, installed.Id, sources[i], Resolve(sources, i, slot))
                || !TemplateRecord.ContentHash(block).SequenceEqual(_hashes[slot + i]))
            {
                return false;
            }
        }

        return true;
    }

    private bool CanResolve(IReadOnlyList<TemplateSource> sources, int index) =>
        sources[index].Children.All(name => sources.Any(source => source.Name == name) || All.Any(template => template.Source.Name == name));

    private TemplateId[] Resolve(IReadOnlyList<TemplateSource> sources, int index, int firstSlot)
    {
        TemplateId[] children = new TemplateId[sources[index].Children.Count];
        for (int c = 0; c < children.Length; c++)
        {
            string name = sources[index].Children[c];
            int inBatch = -1;
            for (int i = 0; i < sources.Count; i++)
            {
                if (sources[i].Name == name)
                {
                    inBatch = i;
                }
            }

            // The newest template of a name counts.
            children[c] = inBatch >= 0
                ? new TemplateId((uint)(firstSlot + inBatch + 1))
                : All.LastOrDefault(template => template.Source.Name == name)?.Id
                    ?? throw new XnException(XnStatus.NotFound, $"template '{sources[index].Name}' refers to '{name}', which is not installed");
        }

        return children;
    }
}
