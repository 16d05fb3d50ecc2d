// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN;
using KeyValue;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>What is done with the store.</summary>
internal enum KeyValueWork
{
    Load,
    Read,
    PutDurably,
}

/// <summary>
/// 100,000 values of 100 bytes in the key-value sample, beside SQLite through its C interface (a table by 64-bit keys), or beside a plain file to which the same bytes are appended. Both sides are in files of
/// the same file system.
/// </summary>
internal sealed class KeyValueRow(string name, KeyValueWork work, bool besideFile = false) : IPeerRow
{
    private const int Count = 100_000;
    private const int BatchCount = 1000;
    private const int DurableCount = 500;
    private const int ValueBytes = 100;
    private const long ImageBytes = 512L << 20;

    private readonly byte[] _value = new byte[ValueBytes];
    private readonly byte[] _key = new byte[8];
    private readonly KeyValueBatch _batch = new();
    private int[] _order = [];
    private int _next;
    private FramePool? _frames;
    private BlockDevice? _device;
    private XnVolume? _disk;
    private KeyValueStore? _store;
    private Sqlite? _database;
    private FileStream? _file;

    public string Name => name;

    public string Work => work switch
    {
        KeyValueWork.Load => $"{Count} values of {ValueBytes} bytes written in random order, in durable batches of {BatchCount}",
        KeyValueWork.Read => $"{Count} of them read in random order, warm; the store copies them out, SQLite lends its row",
        _ => "values written one by one, each durable",
    };

    public string Peer => besideFile ? "a plain file: append and fsync" : "SQLite, C interface, WAL, synchronous=FULL";

    public string Unit => "/s";

    public bool MoreIsBetter => true;

    public string? Missing() => besideFile ? null : Sqlite.Missing();

    public void Prepare(WorkFolder folder)
    {
        Random random = new(1);
        random.NextBytes(_value);
        _order = [.. Enumerable.Range(0, Count)];
        random.Shuffle(_order);
        _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 256 << 20 });
        Tool.Allocate(folder["kv.img"], ImageBytes);
        _device = BlockDevice.Open(folder["kv.img"], _frames);
        _disk = XnVolume.Format(_device, new XnFormatOptions { Overwrite = true });
        _store = KeyValueStore.Create(_disk, "kv", new KeyValueOptions { CacheFrames = 32_768 });
        if (besideFile)
        {
            _file = new FileStream(folder["plain"], FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        }
        else
        {
            _database = new Sqlite(folder["kv.db"], ImageBytes);
        }

        LoadStore();
        LoadPeer();
        if (work == KeyValueWork.Read)
        {
            // As both sides are at rest. And for the compiler.
            _store.Compact();
            _database!.Checkpoint();
            RunExo();
            RunPeer();
        }
    }

    public double RunExo() => work switch
    {
        KeyValueWork.Load => Count / Tool.Seconds(LoadStore),
        KeyValueWork.Read => Count / Tool.Seconds(() =>
        {
            Span<byte> value = stackalloc byte[ValueBytes];
            foreach (int key in _order)
            {
                if (!_store!.TryGet(Key(key), value, out int length) || length != ValueBytes)
                {
                    throw new InvalidOperationException($"key {key} is missing");
                }
            }
        }),
        _ => DurableCount / Tool.Seconds(() =>
        {
            for (int i = 0; i < DurableCount; i++)
            {
                _store!.Put(Key(_order[_next++ % Count]), _value);
            }
        }),
    };

    public double RunPeer() => work switch
    {
        KeyValueWork.Load => Count / Tool.Seconds(LoadPeer),
        KeyValueWork.Read => Count / Tool.Seconds(() =>
        {
            _database!.Begin();
            foreach (int key in _order)
            {
                if (_database.Read(key).Length != ValueBytes)
                {
                    throw new InvalidOperationException($"key {key} is missing");
                }
            }

            _database.Commit();
        }),
        _ => DurableCount / Tool.Seconds(() =>
        {
            for (int i = 0; i < DurableCount; i++)
            {
                if (_file is null)
                {
                    _database!.Write(_order[_next++ % Count], _value);
                }
                else
                {
                    _file.Write(_value);
                    _file.Flush(flushToDisk: true);
                }
            }
        }),
    };

    public void Dispose()
    {
        _file?.Dispose();
        _database?.Dispose();
        _store?.Dispose();
        _disk?.Dispose();
        _device?.Dispose();
        _frames?.Dispose();
    }

    private void LoadStore()
    {
        foreach (int[] some in _order.Chunk(BatchCount))
        {
            _batch.Clear();
            foreach (int key in some)
            {
                _batch.Put(Key(key), _value);
            }

            _store!.Write(_batch);
        }
    }

    private void LoadPeer()
    {
        foreach (int[] some in _order.Chunk(BatchCount))
        {
            _database?.Begin();
            foreach (int key in some)
            {
                _database?.Write(key, _value);
                _file?.Write(_value);
            }

            _database?.Commit();
            _file?.Flush(flushToDisk: true);
        }
    }

    private ReadOnlySpan<byte> Key(int number)
    {
        BinaryPrimitives.WriteInt64BigEndian(_key, number);
        return _key;
    }
}
