// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Templates;

/// <summary>A process that has disks with the same templates verifies them for each, and compiles them once.</summary>
public sealed class TemplateCatalogueTests : IDisposable
{
    private const ulong Start = 1;
    private const ulong Slots = 8;

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });

    public void Dispose() => _frames.Dispose();

    [Fact]
    public void Two_new_disks_and_one_that_is_attached_again_share_their_templates()
    {
        using BlockDevice one = new MemoryBlockDevice(_frames, blockCount: 32);
        using BlockDevice other = new MemoryBlockDevice(_frames, blockCount: 32);
        TemplateCatalogue first = new(one, Start, Slots);
        TemplateCatalogue second = new(other, Start, Slots);
        TemplateId[] installed = first.Install(StampedFormat.Templates);
        Assert.Equal(installed, second.Install(StampedFormat.Templates));
        TemplateCatalogue again = new(one, Start, Slots);
        again.Load();
        foreach (TemplateId id in installed)
        {
            Assert.Same(first.Find(id), second.Find(id));
            Assert.Same(first.Find(id), again.Find(id));
        }
    }

    [Fact]
    public void What_cannot_be_written_down_is_refused_before_it_could_pass_for_what_is_known()
    {
        using BlockDevice disk = new MemoryBlockDevice(_frames, blockCount: 32);
        TemplateCatalogue catalogue = new(disk, Start, Slots);
        catalogue.Install(StampedFormat.Templates);
        TemplateSource node = StampedFormat.Templates[1];
        PartitionGroup known = node.Partitions[0];

        // In the sixteen bits that a catalogue block has for it, the offset is the one that is known.
        TemplateSource wrong = new()
        {
            Name = node.Name,
            ReadSetBytes = node.ReadSetBytes,
            Partitions = [known with { OffsetBytes = known.OffsetBytes + 65_536 }],
            Owns = node.Owns,
            Children = node.Children,
        };
        XnException refused = Assert.Throws<XnException>(() => catalogue.Install([StampedFormat.Templates[0], wrong, StampedFormat.Templates[2]]));
        Assert.Equal(XnStatus.WrongTemplate, refused.Status);
    }
}
