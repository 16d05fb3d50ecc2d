// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.Memory;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah.Tests.Documents;

public class DocumentTests
{
    private sealed class Owner(Action release) : IDisposable
    {
        public void Dispose() => release();
    }

    // Frames in a random order: the runs do not follow one another.
    private static Document Scattered(FramePool frames, byte[] bytes, int firstByteOffset, int seed, Action released)
    {
        int count = Math.Max(1, (firstByteOffset + bytes.Length + FramePool.FrameBytes - 1) / FramePool.FrameBytes);
        var taken = new List<FrameNumber>();
        for (int i = 0; i < count; i++)
        {
            Assert.True(frames.TryAllocate(frames.RootCredential, out FrameNumber frame));
            taken.Add(frame);
        }

        new Random(seed).Shuffle(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(taken));
        for (int i = 0; i < bytes.Length; i++)
        {
            int at = firstByteOffset + i;
            frames.Bytes(taken[at / FramePool.FrameBytes])[at % FramePool.FrameBytes] = bytes[i];
        }

        var content = DocumentContent.FromFrames(
            [.. taken.Select(f => new DocumentRun(f, 1))], firstByteOffset, bytes.Length, DateTimeOffset.UnixEpoch, 7,
            new Owner(() =>
            {
                taken.ForEach(frames.Release);
                released();
            }));
        return Document.TryCreate(frames, "/x"u8, content)!;
    }

    private static byte[] Read(Document document, long offset, long length, int maxBytes)
    {
        var all = new List<byte>();
        while (length > 0)
        {
            ReadOnlySpan<byte> part = document.BytesAt(offset, (int)Math.Min(length, maxBytes));
            Assert.False(part.IsEmpty);
            all.AddRange(part);
            offset += part.Length;
            length -= part.Length;
        }

        return [.. all];
    }

    [Fact]
    public void Any_stretch_of_scattered_frames_is_gathered_and_summed()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
        Gen.Select(Gen.Byte.Array[0, 20_000], Gen.Int[0, 4095], Gen.Int[0, 20_000], Gen.Int[0, 20_000], Gen.Int[1, 9000]).Sample((bytes, first, a, b, maxBytes) =>
        {
            bool released = false;
            Document document = Scattered(frames, bytes, first, a, () => released = true);
            int from = Math.Min(a, b) % (bytes.Length + 1), to = Math.Max(from, Math.Max(a, b) % (bytes.Length + 1));
            Assert.Equal(bytes[from..to], Read(document, from, to - from, maxBytes));
            Assert.Equal((bytes.Length / Document.SumBytes) + 1, document.PrefixSums.Length);
            for (int i = 0; i < document.PrefixSums.Length; i++)
            {
                Assert.Equal(InternetChecksum.Partial(bytes.AsSpan(0, i * Document.SumBytes)), document.PrefixSums[i]);
            }

            // In one's complement 0xFFFF is 0 too.
            Assert.Equal(InternetChecksum.Partial(bytes.AsSpan(from..to)) % 0xFFFF, ((ISendSource)document).PartialSum(from, to - from) % 0xFFFF);
            Assert.True(document.TryRetain());
            document.Release();
            Assert.False(released);
            document.Release();
            Assert.True(released);
            Assert.False(document.TryRetain());
            Assert.Equal(frames.FrameCount, frames.FreeCount);
        }, iter: 300, threads: 1);
    }

    [Fact]
    public void Bytes_without_a_run_of_frames_are_copied_into_single_ones()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 * 4096 });
        for (uint i = 0; i < 16; i += 2)
        {
            Assert.True(frames.TryAllocate(frames.RootCredential, new FrameNumber(i)));   // every second frame is taken
        }

        byte[] bytes = [.. Enumerable.Range(0, 20_000).Select(i => (byte)(i * 7))];
        Document document = Document.TryCreate(frames, "/x"u8, DocumentContent.FromBytes(bytes, DateTimeOffset.UnixEpoch, 1))!;
        Assert.Equal(bytes, Read(document, 0, bytes.Length, 20_000));
        Assert.Null(Document.TryCreate(frames, "/x"u8, DocumentContent.FromBytes(bytes, DateTimeOffset.UnixEpoch, 1)));
        document.Release();
        Assert.Equal(8, frames.FreeCount);
    }

    [Fact]
    public void A_content_type_cannot_carry_a_header() =>
        Assert.Throws<ArgumentException>(() => DocumentContent.FromBytes(default, DateTimeOffset.UnixEpoch, 1, "text/plain\r\nX: y"));

    [Fact]
    public void A_lease_longer_than_its_frames_is_refused() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => DocumentContent.FromFrames(
            [new DocumentRun(new FrameNumber(0), 1)], 1, 4096, DateTimeOffset.UnixEpoch, 1, new Owner(() => { })));

    [Theory]
    [InlineData("a")]
    [InlineData("/a/")]
    [InlineData("/a//b")]
    [InlineData("/../a")]
    [InlineData("/")]
    [InlineData("")]
    public void A_path_in_memory_is_a_plain_one(string path)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
        using var source = new MemoryDocumentSource(frames);
        Assert.ThrowsAny<ArgumentException>(() => source.Set(path, [1]));
        Assert.Equal(frames.FrameCount, frames.FreeCount);
    }

    [Fact]
    public void A_document_that_does_not_fit_is_refused_with_both_numbers()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 * 4096 });
        using var source = new MemoryDocumentSource(frames);
        OutOfFramesException refused = Assert.Throws<OutOfFramesException>(() => source.Set("/a", new byte[17 * 4096]));
        Assert.Equal((17 * 4096, 16), (refused.LengthBytes, refused.FreeFrames));
        Assert.Equal(16, frames.FreeCount);
    }
}
