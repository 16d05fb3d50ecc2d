// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Check;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Templates;
using Exo.FileSystems.CFFS.Volume;
using Exo.Host;
using Exo.Storage.XN;
using Record = Exo.FileSystems.CFFS.Layout.Record;

namespace Exo.FileSystems.CFFS.Tests.Names;

/// <summary>A library OS in the place of another process, with every right to the volume and none of C-FFS's code, changes directories by checked calls to the host.</summary>
public sealed class GuardedNamesTests : IDisposable
{
    private const string RootName = "cffs";

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 32 << 20 });
    private readonly MemoryBlockDevice _disk;

    public GuardedNamesTests() => _disk = new MemoryBlockDevice(_frames, blockCount: 4096);

    public void Dispose()
    {
        _disk.Dispose();
        _frames.Dispose();
    }

    /// <summary>A root directory with files whose records lie in several sectors, the first few in order: a, b, c, and one of two slots.</summary>
    private void Format(bool guardsNames = true)
    {
        using XnVolume disk = XnVolume.Format(_disk, new XnFormatOptions());
        if (!guardsNames)
        {
            disk.InstallTemplates(_frames.RootCredential, CffsTemplates.Create(guardsNames: false));
        }

        using (CffsVolume volume = CffsVolume.Create(disk, RootName, new CffsCreateOptions()))
        {
            foreach (string name in (string[])["a", "b", "c", new string('x', 60), "e", "f", "g", "h", "i"])
            {
                volume.WriteAllBytes("/" + name, Encoding.UTF8.GetBytes(name));
            }

            volume.Sync();
        }

        Assert.Equal(XnStatus.Ok, disk.Unmount());
    }

    /// <summary>What the client has in its hands: the superblock, the first block of the root directory, and how sectors are sealed.</summary>
    private sealed class Intruder
    {
        private readonly HostClient _client;
        private readonly BlockNumber _super;
        private readonly BlockNumber _slots;
        private readonly VolumeGuard _guard;

        public Intruder(HostClient client)
        {
            _client = client;
            _super = client.OpenRoot(RootName).Block;
            byte[] super = Read(_super);
            _guard = VolumeGuard.TryParse(super.AsSpan(Superblock.GuardSector * 512, 512))!;
            Assert.True(Record.TryParse(super.AsSpan(Superblock.RecordSector * 512, 512), 0, out Record root));
            _slots = new BlockNumber(root.Start);
            client.Read(new XnReadRequest(_super, 0, new BlockExtent(_slots, root.Count)));
        }

        public byte[] Slots => Read(_slots);

        /// <summary>Changes one sector of the directory.</summary>
        public XnStatus Change(int sector, Func<byte[], byte[]> change)
        {
            byte[] bytes = change(Slots[(sector * 512)..((sector + 1) * 512)]);
            Seal(bytes, sector, SectorKind.Slots, BitConverter.ToUInt64(bytes, Sector.Owner), _slots);
            XnTransaction transaction = new();
            transaction.Write(_slots, sector * 512, bytes);
            return _client.Apply(transaction);
        }

        /// <summary>Gives the record of a slot another name, whose hash is right.</summary>
        public XnStatus Rename(int index, string name, uint? sequence = null, Action<byte[]>? then = null) => Change(index / 4, sector =>
        {
            Assert.True(Record.TryParse(sector, index % 4, out Record record));
            byte[] inline = new byte[record.InlineLength];
            Record.ReadContents(sector, index % 4, record.NameLength, inline);
            byte[] bytes = Encoding.Latin1.GetBytes(name);
            sector.AsSpan(index % 4 * Slot.SizeBytes, record.Slots * Slot.SizeBytes).Clear();
            record.NameLength = (byte)bytes.Length;
            record.NameHash = NameHash.Compute(bytes, _guard.HashSeed);
            record.NameSequence = sequence ?? record.NameSequence;
            record.Slots = (byte)Slot.SlotsFor(record.ContentBytes);
            record.Emit(sector, index % 4);
            Record.WriteContents(sector, index % 4, 0, bytes);
            Record.WriteContents(sector, index % 4, bytes.Length, inline);
            then?.Invoke(sector);
            return sector;
        });

        public uint SequenceOf(string name)
        {
            byte[] slots = Slots;
            for (int index = 0; index < Slot.PerBlock; index++)
            {
                Span<byte> sector = slots.AsSpan(index / 4 * 512, 512);
                if (Record.TryParse(sector, index % 4, out Record record) && Record.NameEquals(sector, index % 4, Encoding.Latin1.GetBytes(name)))
                {
                    return record.NameSequence;
                }
            }

            throw new InvalidOperationException($"no record of '{name}'");
        }

        /// <summary>Says, as a mount does, that the volume is being written to.</summary>
        public void Open()
        {
            byte[] super = Read(_super);
            bool hasFirst = VolumeState.TryParse(super.AsSpan(0, 512), out VolumeState first);
            bool hasSecond = VolumeState.TryParse(super.AsSpan(512, 512), out VolumeState second);
            Assert.True(hasFirst || hasSecond);
            int newer = hasFirst && (!hasSecond || first.Generation > second.Generation) ? 0 : 1;
            VolumeState state = newer == 0 ? first : second;
            state.Generation++;
            state.Epoch++;
            state.Clean = 0;
            state.NameSequence += 1000;
            byte[] sector = new byte[512];
            state.Emit(sector);
            Seal(sector, 1 - newer, SectorKind.State, 0, _super);
            XnTransaction transaction = new();
            transaction.Write(_super, (1 - newer) * 512, sector);
            Assert.Equal(XnStatus.Ok, _client.Apply(transaction));
        }

        private byte[] Read(BlockNumber block)
        {
            byte[] bytes = new byte[4096];
            Assert.True(_client.TryReadCached(block, bytes));
            return bytes;
        }

        private void Seal(byte[] sector, int index, SectorKind kind, ulong owner, BlockNumber block) =>
            Sector.Seal(sector, _guard.ChecksumSeed, (block.Value * Sector.PerBlock) + (uint)index, kind, owner);
    }

    private void Attack(Action<Intruder> attack)
    {
        string path = Path.Combine(Path.GetTempPath(), $"exo-names-{Guid.NewGuid():N}");
        using HostServer server = HostServer.Start(_disk, new HostServerOptions { SocketPath = path, BlocksPerClient = 64, FramesPerClient = 64, ClientsMax = 2 });
        using HostClient client = HostClient.Attach(path);
        attack(new Intruder(client));
        BlockNumber[] plan = new BlockNumber[64];
        while (client.PlanWriteBack(plan) is var count && count > 0)
        {
            client.WriteBack(plan.AsSpan(0, count));
            client.Flush();
        }
    }

    private IReadOnlyList<CffsFinding> Check() => CffsCheck.Run(_disk).Findings;

    /// <summary>What a mount does not mend: the host lets its clients' volumes go as a crash does.</summary>
    private IEnumerable<CffsFinding> Damage() => Check().Where(finding => finding.Severity != CffsSeverity.Info);

    [Fact]
    public void No_illegal_name_is_written()
    {
        Format();
        Attack(intruder =>
        {
            byte[] before = intruder.Slots;
            foreach (string name in (string[])["", ".", "..", "/", "a/b", "\0", "with\0", "0123456789012345678901234567/", new string('y', 60) + "\0" + new string('z', 30)])
            {
                Assert.Equal(XnStatus.Disapproved, intruder.Rename(8, name));
            }

            // Wrong hash, of a short name and of one in two slots; a length that is not the name's.
            Assert.Equal(XnStatus.Disapproved, intruder.Rename(8, "new", then: sector => sector[Slot.NameHash]++));
            Assert.Equal(XnStatus.Disapproved, intruder.Rename(8, new string('y', 60), then: sector => sector[124 + 20]++));
            Assert.Equal(XnStatus.Disapproved, intruder.Rename(8, "new", then: sector => sector[Slot.NameLength]++));

            // Names that change without their fields.
            Assert.Equal(XnStatus.Disapproved, intruder.Change(0, sector => With(sector, Slot.Contents, (byte)'z')));

            // Slots that make no record.
            Assert.Equal(XnStatus.Disapproved, intruder.Change(0, sector => With(sector, Slot.Slots, 2)));
            Assert.Equal(XnStatus.Disapproved, intruder.Change(0, sector => With(sector, Slot.Kind, 1)));
            Assert.Equal(XnStatus.Disapproved, intruder.Change(0, sector => With(sector, Slot.Kind, 9)));

            // A directory's sector that says it is the external inode table's, where records have no name.
            Assert.Equal(XnStatus.Disapproved, intruder.Change(0, sector => With(sector, Sector.Owner, 4)));
            Assert.Equal(before, intruder.Slots);

            // What is legal is not in the way.
            Assert.Equal(XnStatus.Ok, intruder.Rename(8, "new"));
            Assert.Equal(XnStatus.Ok, intruder.Rename(8, new string('n', 255)));
            Assert.Equal(XnStatus.Ok, intruder.Rename(8, ".new"));
        });
        Assert.Empty(Damage());
        using CffsVolume volume = CffsVolume.Open(_disk);
        Assert.Contains(volume.ReadDirectory("/"), entry => entry.Name.Span.SequenceEqual(".new"u8));
    }

    [Fact]
    public void Of_a_name_there_is_one_record_unless_it_takes_over_while_the_volume_is_written_to()
    {
        Format();
        byte[] winner = [];
        Attack(intruder =>
        {
            byte[] before = intruder.Slots;
            uint sequence = intruder.SequenceOf("a");
            foreach (uint other in (uint[])[sequence, sequence + 2, sequence + 1, sequence - 2])
            {
                // In the same sector, and in another one.
                Assert.Equal(XnStatus.Disapproved, intruder.Rename(1, "a", other));
                Assert.Equal(XnStatus.Disapproved, intruder.Rename(8, "a", other));
            }

            Assert.Equal(before, intruder.Slots);
            intruder.Open();
            Assert.Equal(XnStatus.Disapproved, intruder.Rename(1, "a", sequence));
            Assert.Equal(XnStatus.Disapproved, intruder.Rename(8, "a", sequence));
            Assert.Equal(XnStatus.Disapproved, intruder.Rename(8, "a", sequence ^ 0x8000_0000));
            Assert.Equal(before, intruder.Slots);

            // As a rename over the name does: the later one is the name from now on.
            Assert.True(Record.TryParse(before.AsSpan(1024, 512), 0, out Record record));
            winner = new byte[record.InlineLength];
            Record.ReadContents(before.AsSpan(1024, 512), 0, record.NameLength, winner);
            Assert.Equal(XnStatus.Ok, intruder.Rename(8, "a", sequence + 100 | 1));
        });
        Assert.Empty(Damage());
        using (CffsVolume volume = CffsVolume.Open(_disk))
        {
            Assert.Single(volume.ReadDirectory("/"), entry => entry.Name.Span.SequenceEqual("a"u8));
            Assert.Equal(winner, volume.ReadAllBytes("/a"));
            volume.WriteAllBytes("/more", "1"u8.ToArray());
        }

        Assert.Empty(Check());
    }

    [Fact]
    public void A_volume_from_before_keeps_its_templates_and_is_as_it_was()
    {
        Format(guardsNames: false);
        Attack(intruder => Assert.Equal(XnStatus.Ok, intruder.Rename(8, "with/slash")));
        Assert.Contains(Damage(), finding => finding.Code == "name");
        Attack(intruder => Assert.Equal(XnStatus.Ok, intruder.Rename(8, "without")));
        Assert.Empty(Damage());
        using (CffsVolume volume = CffsVolume.Open(_disk))
        {
            volume.WriteAllBytes("/later", "123"u8.ToArray());
        }

        Assert.Empty(Check());

        // Another file system on the same disk has the same templates.
        using XnVolume disk = XnVolume.Attach(_disk);
        using CffsVolume second = CffsVolume.Create(disk, "second", new CffsCreateOptions());
        second.WriteAllBytes("/a", "1"u8.ToArray());
        Assert.False(disk.TryGetTemplate(new TemplateId(9), out _));
    }

    private static byte[] With(byte[] sector, int offset, byte value)
    {
        sector[offset] = value;
        return sector;
    }
}
