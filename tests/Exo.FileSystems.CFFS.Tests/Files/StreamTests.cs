// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Tests;

/// <summary>A file as a <see cref="Stream"/>: what those who know nothing of volumes expect of one.</summary>
public sealed class StreamTests : IDisposable
{
    private readonly string _image = Path.Combine(Path.GetTempPath(), $"exo-stream-{Guid.NewGuid():N}.img");
    private readonly CffsVolume _volume;

    public StreamTests() => _volume = CffsVolume.Create(_image, new CffsCreateOptions { SizeBytes = 16 << 20, Seed = 1 });

    public void Dispose()
    {
        _volume.Dispose();
        File.Delete(_image);
    }

    [Fact]
    public async Task It_refuses_as_streams_do()
    {
        _volume.WriteAllBytes("/f", "text"u8.ToArray());
        using Stream reader = _volume.OpenFile("/f").AsStream();
        Assert.False(reader.CanWrite);
        Assert.Throws<NotSupportedException>(() => reader.WriteByte(1));
        Assert.Throws<NotSupportedException>(() => reader.Write([1], 0, 1));
        Assert.Throws<NotSupportedException>(() => reader.SetLength(1));
        await Assert.ThrowsAsync<NotSupportedException>(async () => await reader.WriteAsync(new byte[1], TestContext.Current.CancellationToken));
        Assert.Throws<IOException>(() => reader.Seek(-1, SeekOrigin.Begin));
        Assert.Throws<IOException>(() => reader.Seek(-5, SeekOrigin.End));
        Assert.Equal(4, reader.Seek(0, SeekOrigin.End));
        Assert.Throws<IOException>(() => reader.Seek(long.MaxValue, SeekOrigin.Current));
        Assert.Throws<ArgumentOutOfRangeException>(() => reader.Position = -1);
        Assert.Equal(4, reader.Position);
        Assert.Equal(-1, reader.ReadByte());
        using Stream writer = _volume.OpenFile("/f", CffsOpenMode.Write).AsStream();
        Assert.False(writer.CanRead);
        Assert.Throws<NotSupportedException>(() => writer.ReadByte());
        await Assert.ThrowsAsync<NotSupportedException>(async () => await writer.ReadExactlyAsync(new byte[1], TestContext.Current.CancellationToken));
        Assert.Throws<ArgumentOutOfRangeException>(() => writer.SetLength(-1));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Closed_it_is_of_no_use_any_more(bool ownsFile)
    {
        using CffsFile file = _volume.OpenFile("/f", CffsOpenMode.Read | CffsOpenMode.Write | CffsOpenMode.Create);
        Stream stream = file.AsStream(ownsFile);
        stream.WriteByte(7);
        await stream.DisposeAsync();
        stream.Dispose();
        Assert.False(stream.CanRead || stream.CanWrite || stream.CanSeek);
        Assert.Throws<ObjectDisposedException>(() => stream.Read(new byte[1]));
        Assert.Throws<ObjectDisposedException>(() => stream.WriteByte(1));
        Assert.Throws<ObjectDisposedException>(() => stream.Position);
        Assert.Throws<ObjectDisposedException>(() => stream.Length);
        Assert.Throws<ObjectDisposedException>(stream.Flush);
        if (ownsFile)
        {
            Assert.Throws<ObjectDisposedException>(() => file.Read(0, new byte[1]));
        }
        else
        {
            Assert.Equal(1, file.Read(0, new byte[1]));
        }
    }

    [Fact]
    public void Byte_by_byte_nothing_is_allocated()
    {
        using Stream stream = _volume.OpenFile("/f", CffsOpenMode.Read | CffsOpenMode.Write | CffsOpenMode.Create).AsStream();
        long allocated = 0;
        for (int round = 0; round < 3; round++)
        {
            stream.Position = 0;
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 1000; i++)
            {
                stream.ReadByte();
            }

            allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            stream.Position = 0;
            for (int i = 0; i < 1000; i++)
            {
                stream.WriteByte((byte)i);
            }
        }

        Assert.Equal(0, allocated);
    }
}
