// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Directories;

namespace Exo.FileSystems.CFFS.Tests.Concurrency;

/// <summary>Contents that lie in a record grow into the free slots behind it while others put new records into the same directory.</summary>
public sealed class GrowingRecordsTests : IDisposable
{
    private readonly string _image = Path.Combine(Path.GetTempPath(), $"exo-cffs-{Guid.NewGuid():N}.img");

    public void Dispose() => File.Delete(_image);

    [Fact]
    public void New_records_and_growing_ones_never_get_the_same_slots()
    {
        const int Threads = 4;
        const int Files = 2000;
        using (CffsVolume volume = CffsVolume.Create(_image, new CffsCreateOptions { SizeBytes = 256 << 20, Seed = 1 }))
        {
            Exception?[] thrown = new Exception?[Threads];
            Thread[] threads = [.. Enumerable.Range(0, Threads).Select(number => new Thread(() =>
            {
                Random random = new(number);
                byte[] contents = new byte[350];
                Array.Fill(contents, (byte)(number + 1));
                try
                {
                    for (int i = 0; i < Files; i++)
                    {
                        using CffsFile file = volume.CreateUnnamedFile("/");
                        int length = random.Next(1, contents.Length);
                        file.Write(0, contents.AsSpan(0, length / 2));
                        file.Write(length / 2, contents.AsSpan(0, length - (length / 2)));
                        byte[] read = new byte[length];
                        Assert.Equal(length, file.Read(0, read));
                        Assert.DoesNotContain(read, one => one != number + 1);
                    }
                }
                catch (Exception failure)
                {
                    thrown[number] = failure;
                }
            }))];
            Array.ForEach(threads, thread => thread.Start());
            Array.ForEach(threads, thread => thread.Join());
            Assert.All(thrown, Assert.Null);
        }

        Assert.Empty(Verified.Check(_image).Findings);
    }

    [Fact]
    public void Promised_slots_are_those_that_were_given_last()
    {
        PromisedSlots promised = new();
        BlockNumber block = new(7), other = new(8);
        promised.Add(block, 5, 2);
        promised.Add(other, 0, 4);
        Assert.True(promised.Overlaps(block, 4, 2));
        Assert.True(promised.Overlaps(block, 6, 1));
        Assert.False(promised.Overlaps(block, 7, 1));
        Assert.False(promised.Overlaps(block, 4, 1));
        Assert.True(promised.Overlaps(other, 3, 1));
        promised.Clear();
        Assert.False(promised.Overlaps(block, 4, 4));
        Assert.False(promised.Overlaps(other, 0, 4));
    }
}
