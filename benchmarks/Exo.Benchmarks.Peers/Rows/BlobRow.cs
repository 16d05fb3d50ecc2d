// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>What is done with the blobs.</summary>
internal enum BlobWork
{
    Read,
    Lend,
    Find,
    Overwrite,
}

/// <summary>
/// 100,000 blobs of 8,000 to 12,000 bytes, each a file of C-FFS found by its path, beside SQLite through its C interface. Both sides hold everything in memory; who reads looks at one byte of every cache
/// line (who finds, as SQLite's kvtest, only at how long they are), who writes ends with everything durable.
/// </summary>
internal sealed class BlobRow(string name, BlobWork work) : IPeerRow
{
    private const int Blobs = 100_000;
    private const int Folders = 1000;
    private const long CacheBytes = 1600L << 20;
    private const long ImageBytes = 2L << 30;

    private readonly byte[] _bytes = new byte[12_000];
    private FramePool? _frames;
    private CffsVolume? _volume;
    private Sqlite? _database;
    private byte[][] _paths = [];
    private int[] _order = [];
    private int[] _lengths = [];

    public string Name => name;

    public string Work => work switch
    {
        BlobWork.Read => $"{Blobs} blobs of 8 to 12 kB read in random order, warm; C-FFS copies them out, SQLite lends its row",
        BlobWork.Lend => "the same; C-FFS lends its frames",
        BlobWork.Find => "the same, and nobody looks at the bytes, as in SQLite's kvtest",
        _ => "the same blobs written over in random order, and made durable",
    };

    public string Peer => "SQLite, C interface, WAL, mmap, one transaction";

    public string Unit => "/s";

    public bool MoreIsBetter => true;

    public string? Missing() => Sqlite.Missing();

    public void Prepare(WorkFolder folder)
    {
        Random random = new(1);
        _lengths = [.. Enumerable.Range(0, Blobs).Select(_ => random.Next(8000, 12_001))];
        _order = [.. Enumerable.Range(0, Blobs)];
        random.Shuffle(_order);
        random.NextBytes(_bytes);
        _paths = [.. Enumerable.Range(0, Blobs).Select(i => Encoding.UTF8.GetBytes($"/{i % Folders}/{i}"))];

        _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = CacheBytes });
        Tool.Allocate(folder["blobs.img"], ImageBytes);
        _volume = CffsVolume.Create(folder["blobs.img"], new CffsCreateOptions { SizeBytes = ImageBytes, Overwrite = true, Open = new CffsOpenOptions { Frames = _frames } });
        for (int i = 0; i < Folders; i++)
        {
            _volume.CreateDirectory($"/{i}");
        }

        for (int i = 0; i < Blobs; i++)
        {
            _volume.WriteAllBytes(_paths[i], _bytes.AsMemory(0, _lengths[i]));
        }

        _volume.Sync();
        _database = new Sqlite(folder["blobs.db"], ImageBytes);
        _database.Begin();
        for (int i = 0; i < Blobs; i++)
        {
            _database.Write(i, _bytes.AsSpan(0, _lengths[i]));
        }

        _database.Commit();
        _database.Checkpoint();

        // For the compiler, and so that both have everything in memory.
        for (int i = 0; i < 3; i++)
        {
            RunExo();
            RunPeer();
        }
    }

    public double RunExo() => Blobs / Tool.Seconds(() =>
    {
        byte[] buffer = new byte[12_000];
        long sum = 0;
        foreach (int blob in _order)
        {
            if (work == BlobWork.Overwrite)
            {
                using CffsFile written = _volume!.OpenFile((ReadOnlyMemory<byte>)_paths[blob], CffsOpenMode.Write);
                written.Write(0, _bytes.AsMemory(0, _lengths[blob]));
                continue;
            }

            if (work is BlobWork.Lend or BlobWork.Find && _volume!.TryLend(_paths[blob], out CffsSpanLease lease))
            {
                sum += Look(lease.Bytes);
                lease.Dispose();
            }
            else
            {
                sum += Look(buffer.AsSpan(0, _volume!.ReadAllBytes(_paths[blob], buffer)));
            }
        }

        Expect(sum);
        if (work == BlobWork.Overwrite)
        {
            _volume!.Sync();
        }
    });

    public double RunPeer() => Blobs / Tool.Seconds(() =>
    {
        long sum = 0;
        _database!.Begin();
        foreach (int blob in _order)
        {
            if (work == BlobWork.Overwrite)
            {
                _database.Write(blob, _bytes.AsSpan(0, _lengths[blob]));
            }
            else
            {
                sum += Look(_database.Read(blob));
            }
        }

        _database.Commit();
        Expect(sum);
    });

    public void Dispose()
    {
        _database?.Dispose();
        _volume?.Dispose();
        _frames?.Dispose();
    }

    private long Look(ReadOnlySpan<byte> bytes)
    {
        long sum = bytes.Length;
        for (int i = 0; work != BlobWork.Find && i < bytes.Length; i += 64)
        {
            sum += bytes[i];
        }

        return sum;
    }

    private void Expect(long sum)
    {
        long expected = work == BlobWork.Overwrite ? 0 : _lengths.Sum(length => Look(_bytes.AsSpan(0, length)));
        if (sum != expected)
        {
            throw new InvalidOperationException($"read {sum}, not {expected}");
        }
    }
}
