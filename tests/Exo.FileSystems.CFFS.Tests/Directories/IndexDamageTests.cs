// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Layout;
using Record = Exo.FileSystems.CFFS.Layout.Record;

namespace Exo.FileSystems.CFFS.Tests.Directories;

/// <summary>
/// Buckets that are damaged, and buckets that somebody has changed who puts the checksums right. What fails its checksum is not believed and everything is found all the same. What does not can hide a
/// name, which the check finds out; it can never lead to another inode, or bring anybody down.
/// </summary>
public sealed class IndexDamageTests : IDisposable
{
    private readonly string _image = Path.Combine(Path.GetTempPath(), $"exo-cffs-{Guid.NewGuid():N}.img");

    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 20)];

    public void Dispose() => File.Delete(_image);

    [Theory]
    [MemberData(nameof(Seeds))]
    public void A_bucket_with_a_bad_checksum_hides_nothing(int seed)
    {
        Random random = new(seed);
        BigDirectory big = Make(random, seed, out List<ulong> buckets, out _, out _);
        Damage(random, buckets, (sector, _) => sector[random.Next(Sector.SizeBytes)] ^= (byte)(1 << random.Next(8)));
        Assert.DoesNotContain(Verified.Check(_image).Findings, finding => finding.Code == "index-missing");
        using (CffsVolume reader = CffsVolume.Open(_image, new CffsOpenOptions { ReadOnly = true, IndexFromBlocks = 2, IndexSplitAt = 24 }))
        {
            BigDirectory.AssertHolds(reader, big.Names, big.Gone);
        }

        CffsVolume volume = CffsVolume.Open(_image, BigDirectory.Options());
        big.Reopened(volume);
        big.AssertEquals();
        for (int i = 0; i < 100; i++)
        {
            big.Step();
        }

        big.AssertEquals();
        Assert.True(volume.MapBlocks().Any(run => run.Kind == CffsBlockKind.Index), "the index was not made anew");
        volume.Dispose();
        Assert.Empty(Verified.Check(_image).Findings);
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public void A_bucket_with_a_good_checksum_and_lies_in_it_never_leads_to_another_inode(int seed)
    {
        Random random = new(seed);
        BigDirectory big = Make(random, seed, out List<ulong> buckets, out ulong checksumSeed, out ulong owner);
        Damage(random, buckets, (sector, number) =>
        {
            for (int i = random.Next(1, 8); i > 0; i--)
            {
                sector[random.Next(Sector.PayloadBytes)] ^= (byte)random.Next(1, 256);
            }

            Sector.Seal(sector, checksumSeed, number, SectorKind.Index, owner);
        });
        List<string> hidden = [];
        CffsCheckReport check = Verified.Check(_image);
        CffsVolume volume = CffsVolume.Open(_image, BigDirectory.Options());
        foreach ((string name, ulong inode) in big.Names)
        {
            if (volume.Exists($"{BigDirectory.Path}/{name}"))
            {
                Assert.Equal(inode, volume.Stat($"{BigDirectory.Path}/{name}").Inode);
            }
            else
            {
                hidden.Add(name);
            }
        }

        Assert.All(big.Gone.Where(name => !big.Names.ContainsKey(name)), name => Assert.False(volume.Exists($"{BigDirectory.Path}/{name}")));
        Assert.True(hidden.Count == 0 || !check.IsClean, $"{hidden[..Math.Min(1, hidden.Count)].FirstOrDefault()} is hidden, and the check says nothing");
        volume.Dispose();
        CffsRepairReport repair = CffsRepair.Run(_image);
        Assert.True(repair.IsClean, string.Join('\n', repair.After.Findings));

        // Repaired, everything is found; and goes on.
        volume = CffsVolume.Open(_image, BigDirectory.Options());
        big.Reopened(volume);
        big.AssertEquals();
        for (int i = 0; i < 100; i++)
        {
            big.Step();
        }

        big.AssertEquals();
        volume.Dispose();
        Assert.Empty(Verified.Check(_image).Findings);
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Changes_of_a_directory_whose_index_lies_end_well_or_with_a_typed_error(int seed)
    {
        Random random = new(seed);
        BigDirectory big = Make(random, seed, out List<ulong> buckets, out ulong checksumSeed, out ulong owner);
        Damage(random, buckets, (sector, number) =>
        {
            random.NextBytes(sector[random.Next(Sector.PayloadBytes)..Sector.PayloadBytes]);
            Sector.Seal(sector, checksumSeed, number, SectorKind.Index, owner);
        });
        using CffsVolume volume = CffsVolume.Open(_image, BigDirectory.Options());
        for (int i = 0; i < 300; i++)
        {
            string name = random.Next(2) == 0 ? big.Names.Keys.ElementAt(random.Next(big.Names.Count)) : $"new{random.Next(1000)}";
            try
            {
                switch (random.Next(3))
                {
                    case 0:
                        volume.WriteAllBytes($"{BigDirectory.Path}/{name}", new byte[4]);
                        break;
                    case 1:
                        volume.RemoveFile($"{BigDirectory.Path}/{name}");
                        break;
                    default:
                        volume.Rename($"{BigDirectory.Path}/{name}", $"{BigDirectory.Path}/new{random.Next(1000)}");
                        break;
                }
            }
            catch (CffsException refused)
            {
                Assert.True(Enum.IsDefined(refused.Error));
            }
        }

        Assert.NotEmpty(volume.ReadDirectory(BigDirectory.Path));
    }

    /// <summary>The index leads to records without looking at all of them first: those that are none are met one by one, in the midst of every operation.</summary>
    [Theory]
    [MemberData(nameof(Seeds))]
    public void Records_that_are_none_are_refused_and_keep_no_frame(int seed)
    {
        Random random = new(seed);
        BigDirectory big = Make(random, seed, out _, out ulong checksumSeed, out ulong owner);
        ForgeRecords(random, checksumSeed, owner);
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 32 << 20 });
        using BlockDevice disk = BlockDevice.Open(_image, frames, new BlockDeviceOptions());
        int free = frames.FreeCount;
        int refusals = 0;
        using (CffsVolume volume = CffsVolume.Open(disk, new CffsOpenOptions { IndexFromBlocks = 2, IndexSplitAt = 24 }))
        {
            foreach (string name in big.Names.Keys)
            {
                string path = $"{BigDirectory.Path}/{name}";
                Try(() => volume.Stat(path));
                Try(() => volume.OpenFile(path, CffsOpenMode.Write | CffsOpenMode.Create).Dispose());
                switch (random.Next(6))
                {
                    case 0:
                        Try(() => volume.CreateHardLink(path, $"{path}.link"));
                        break;
                    case 1:
                        Try(() => volume.Rename(path, $"{BigDirectory.Path}/{big.Names.Keys.ElementAt(random.Next(big.Names.Count))}"));
                        break;
                    case 2:
                        Try(() => volume.Rename(path, $"/{name}"));
                        break;
                    case 3:
                        Try(() => volume.WriteAllBytes(path, new byte[random.Next(9000)]));
                        break;
                    case 4:
                        Try(() => volume.Exchange(path, $"{BigDirectory.Path}/{big.Names.Keys.ElementAt(random.Next(big.Names.Count))}"));
                        break;
                    default:
                        Try(() => volume.RemoveFile(path));
                        break;
                }
            }

            Try(volume.Sync);
            volume.Abandon();
        }

        Assert.True(refusals > 0);
        Assert.Equal(free, frames.FreeCount);

        void Try(Action what)
        {
            try
            {
                what();
            }
            catch (CffsException refused)
            {
                refusals += refused.Error == CffsError.Corrupt ? 1 : 0;
            }
        }
    }

    /// <summary>Changes one field of some records of the directory, and puts the checksums right.</summary>
    private void ForgeRecords(Random random, ulong checksumSeed, ulong owner)
    {
        using FileStream file = File.Open(_image, FileMode.Open);
        byte[] sector = new byte[Sector.SizeBytes];
        int forged = 0;
        for (ulong number = 0; number < (ulong)file.Length / Sector.SizeBytes; number++)
        {
            file.Position = (long)number * Sector.SizeBytes;
            file.ReadExactly(sector);
            int slot = random.Next(Slot.PerSector);
            if (!Sector.IsValid(sector, checksumSeed, number, SectorKind.Slots, owner) || !Record.TryParse(sector, slot, out Record record) || random.Next(3) == 0)
            {
                continue;
            }

            if (record.Kind == SlotKind.ExternalLink)
            {
                // To no inode, or beyond all addresses.
                BinaryPrimitives.WriteUInt64LittleEndian(sector.AsSpan((slot * Slot.SizeBytes) + Slot.Start), random.Next(2) == 0 ? 1UL << 40 : 7);
            }
            else
            {
                sector[(slot * Slot.SizeBytes) + Slot.Slots] ^= 7;
            }

            Sector.Seal(sector, checksumSeed, number, SectorKind.Slots, owner);
            file.Position = (long)number * Sector.SizeBytes;
            file.Write(sector);
            forged++;
        }

        Assert.True(forged > 0);
    }

    private delegate void Edit(Span<byte> sector, ulong number);

    private BigDirectory Make(Random random, int seed, out List<ulong> buckets, out ulong checksumSeed, out ulong owner)
    {
        using CffsVolume volume = CffsVolume.Create(_image, new CffsCreateOptions { SizeBytes = 24 << 20, Seed = seed, Open = BigDirectory.Options() });
        volume.CreateDirectory(BigDirectory.Path);
        BigDirectory big = new(volume, random);
        for (int i = 0; i < 700; i++)
        {
            big.Step();
        }

        volume.Sync();
        buckets = [.. volume.MapBlocks().Where(run => run.Kind == CffsBlockKind.Index).SelectMany(run => Enumerable.Range(0, (int)run.Extent.Count).Select(i => run.Extent.First.Value + (ulong)i))];
        Assert.NotEmpty(buckets);
        checksumSeed = volume.Core.Seed;
        owner = volume.Stat(BigDirectory.Path).Inode;
        return big;
    }

    private void Damage(Random random, List<ulong> buckets, Edit edit)
    {
        using FileStream file = File.Open(_image, FileMode.Open);
        byte[] sector = new byte[Sector.SizeBytes];
        for (int i = random.Next(1, 5); i > 0; i--)
        {
            ulong number = (buckets[random.Next(buckets.Count)] * Sector.PerBlock) + (ulong)random.Next(Sector.PerBlock);
            file.Position = (long)number * Sector.SizeBytes;
            file.ReadExactly(sector);
            edit(sector, number);
            file.Position = (long)number * Sector.SizeBytes;
            file.Write(sector);
        }
    }
}
