// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using CsCheck;
using Exo.Core.DownloadedCode;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Templates;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;
using Exo.Tests;
using Record = Exo.FileSystems.CFFS.Layout.Record;

namespace Exo.FileSystems.CFFS.Tests.Names;

/// <summary>The program that guards names, against a model; and its text, so that a change of it shows.</summary>
public sealed class SlotApprovalTests
{
    private const ulong HashSeed = 0x1234_5678_9ABC_DEF0;
    private static readonly int[] s_lengths = [1, 2, 3, 8, 9, 16, 17, 27, 28, 29, 30, 60, 150, 151, 152, 200, 254, 255];
    private static readonly Template s_template = Template.Verify(new TemplateId(2), CffsTemplates.Create().Single(source => source.Name == CffsTemplates.SlotsName), []);

    [Fact]
    public void The_programs_of_slots_are_those_written_down()
    {
        StringBuilder text = new();
        text.AppendLine(CultureInfo.InvariantCulture, $"; owns: at most {s_template.Owns!.InstructionsMax} instructions").AppendLine(Disassembler.Disassemble(s_template.Source.Owns!));
        text.AppendLine(CultureInfo.InvariantCulture, $"; approve: at most {s_template.Approve!.InstructionsMax} instructions").Append(Disassembler.Disassemble(s_template.Source.Approve!));
        Snapshot.Verify(text.ToString());
    }

    [Fact]
    public void It_says_what_the_model_says_of_random_blocks_and_random_edits()
    {
        int approved = 0;
        int refused = 0;
        int twins = 0;
        Gen.ULong.Sample(
            seed =>
            {
                Random random = new((int)seed);
                ApproveRunner runner = new();
                byte[] block = RandomBlock(random);
                bool isOpen = random.Next(4) != 0;
                byte[] guard = Guard(random, isOpen);
                for (int edit = 0; edit < 30; edit++)
                {
                    int sector = random.Next(8);
                    byte[] next = block[(sector * 512)..((sector + 1) * 512)];
                    for (int changes = 1 + random.Next(2); changes > 0; changes--)
                    {
                        Change(random, block, next);
                    }

                    bool expected = SlotModel.Approves(block, sector, next, HashSeed, isOpen);
                    bool isChanged = !next.AsSpan().SequenceEqual(block.AsSpan(sector * 512, 512));
                    Assert.True(!isChanged || expected == runner.Approves(s_template, sector * 512, next, block, guard), $"seed {(int)seed}, edit {edit}: the model says {expected}");
                    _ = expected ? Interlocked.Increment(ref approved) : Interlocked.Increment(ref refused);
                    if (expected)
                    {
                        next.CopyTo(block, sector * 512);
                        Interlocked.Add(ref twins, HasTwin(block) ? 1 : 0);
                    }
                    else if (random.Next(10) == 0)
                    {
                        // What came about before names were guarded, or by damage.
                        next.CopyTo(block, sector * 512);
                    }
                }
            },
            iter: 4000);
        Assert.True(approved > 20_000 && refused > 20_000 && twins > 1_000, $"{approved} approved, {refused} refused, {twins} times two records of one name");
    }

    private static bool HasTwin(byte[] block)
    {
        HashSet<(uint, byte)> seen = [];
        return Enumerable.Range(0, 32).Select(Slot.OffsetInBlock).Any(at => Slot.IsHead(block.AsSpan(at)) && block[at + 3] > 0 && !seen.Add((BitConverter.ToUInt32(block, at + 32), block[at + 3])));
    }

    private static byte[] Guard(Random random, bool isOpen)
    {
        byte[] guard = new byte[4096];
        int newer = random.Next(2);
        for (int copy = 0; copy < 2; copy++)
        {
            BitConverter.TryWriteBytes(guard.AsSpan((copy * 512) + VolumeState.GenerationOffset), copy == newer ? 10UL : (ulong)random.Next(10));
            BitConverter.TryWriteBytes(guard.AsSpan((copy * 512) + VolumeState.CleanOffset), copy == newer ? (isOpen ? 0u : 1u) : (uint)random.Next(2));
            random.NextBytes(guard.AsSpan((copy * 512) + VolumeState.CleanOffset + 4, 8));
        }

        BitConverter.TryWriteBytes(guard.AsSpan((Superblock.GuardSector * 512) + VolumeGuard.HashSeedOffset), HashSeed);
        return guard;
    }

    /// <summary>Few names, so that the same ones meet; longer ones differ in their first byte, or only in their last one.</summary>
    private static byte[] RandomName(Random random)
    {
        byte[] name = new byte[s_lengths[random.Next(s_lengths.Length)]];
        name.AsSpan().Fill((byte)'a');
        name[random.Next(2) == 0 ? 0 : ^1] = (byte)('a' + random.Next(2));
        if (random.Next(30) == 0)
        {
            name[random.Next(name.Length)] = (byte)"\0/."[random.Next(3)];
        }

        if (random.Next(40) == 0)
        {
            name.AsSpan().Fill((byte)'.');
        }

        return name;
    }

    private static byte[] RandomBlock(Random random)
    {
        byte[] block = new byte[4096];
        ulong owner = random.Next(6) == 0 ? Superblock.ExternalInode : 17;
        for (int s = 0; s < 8; s++)
        {
            byte[] sector = new byte[512];
            for (int slot = 0; slot < 4 && random.Next(5) != 0;)
            {
                slot += Math.Max(1, Put(random, sector, slot, owner == Superblock.ExternalInode));
            }

            if (sector.AsSpan(0, 496).ContainsAnyExcept((byte)0))
            {
                Trailer(sector, owner);
            }

            if (random.Next(8) != 0)
            {
                sector.CopyTo(block, s * 512);
            }
        }

        return block;
    }

    private static void Trailer(byte[] sector, ulong owner)
    {
        BitConverter.TryWriteBytes(sector.AsSpan(Sector.Magic), (uint)SectorKind.Slots);
        BitConverter.TryWriteBytes(sector.AsSpan(Sector.Owner), owner);
    }

    /// <summary>Puts a record into a slot, if it fits there; how many slots it has.</summary>
    private static int Put(Random random, byte[] sector, int slot, bool isExternal)
    {
        byte[] name = isExternal ? [] : RandomName(random);
        SlotKind kind = isExternal ? (SlotKind)(2 + (random.Next(2) * 2)) : (SlotKind)(2 + random.Next(5));
        int inline = kind is SlotKind.File or SlotKind.SymbolicLink && random.Next(2) == 0 ? random.Next(Math.Min(60, Slot.ContentBytesMax - name.Length)) : 0;
        bool isPacked = kind == SlotKind.File && inline == 0 && random.Next(4) == 0;
        Record record = new()
        {
            Kind = kind,
            Depth = isPacked ? Pack.Depth : (byte)0,
            Slots = (byte)Slot.SlotsFor(name.Length + inline),
            NameLength = (byte)name.Length,
            NameHash = name.Length == 0 ? 0 : NameHash.Compute(name, HashSeed),
            NameSequence = random.Next(20) == 0 ? 0x8000_0001u : (uint)random.Next(4),
            Inode = (16 + (ulong)random.Next(100)) | (random.Next(5) == 0 ? Superblock.SnapshotInodes : 0),
            Mode = (ushort)(kind switch
            {
                SlotKind.File => (uint)ModeBits.File,
                SlotKind.Directory => ModeBits.Directory,
                SlotKind.SymbolicLink => ModeBits.SymbolicLink,
                _ => ((uint[])[ModeBits.Fifo, ModeBits.Socket, ModeBits.BlockDevice, ModeBits.CharacterDevice])[random.Next(4)],
            } | 0x1A4),
            InlineLength = (ushort)inline,
            Size = isPacked ? (ulong)random.Next(1, 2049) : (ulong)inline,
            Start = isPacked ? (ulong)random.Next(5) : 0,
            Links = 1,
        };
        if (slot + record.Slots > 4)
        {
            return 0;
        }

        sector.AsSpan(slot * 124, record.Slots * 124).Clear();
        record.Emit(sector, slot);
        Record.WriteContents(sector, slot, 0, name);
        return record.Slots;
    }

    private static void Change(Random random, byte[] block, byte[] next)
    {
        int slot = random.Next(4);
        bool isExternal = BitConverter.ToUInt64(next, 504) == Superblock.ExternalInode;
        ReadOnlySpan<int> fields = [0, 1, 2, 3, 4, 8, 24, 30, 32, 36, 37, 38, 39, 52, 55, 56, 63, 96, 97, 98, 123];
        switch (random.Next(10))
        {
            case 0:
                next.AsSpan().Clear();
                return;
            case 1:
                next.AsSpan(slot * 124, 124).Clear();
                break;
            case 2:
                // As somebody else's sector of this block has it: the same name, the same sequence.
                block.AsSpan(random.Next(8) * 512, 496).CopyTo(next);
                break;
            case 3:
                next[random.Next(512)] ^= (byte)(1 << random.Next(8));
                return;
            case 4:
                next[(slot * 124) + fields[random.Next(fields.Length)]] = (byte)random.Next(random.Next(2) == 0 ? 10 : 256);
                break;
            case 5:
                BitConverter.TryWriteBytes(next.AsSpan(Sector.Owner), (ulong)random.Next(3, 6));
                return;
            case 6:
                Pack.Emit(next, slot, 1234);
                break;
            default:
                Put(random, next, slot, isExternal);
                break;
        }

        if (BitConverter.ToUInt64(next, 504) == 0)
        {
            ulong owner = Enumerable.Range(0, 8).Select(s => BitConverter.ToUInt64(block, (s * 512) + 504)).FirstOrDefault(other => other != 0);
            Trailer(next, owner == 0 ? 17 : owner);
        }
    }
}
