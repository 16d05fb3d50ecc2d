// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;

namespace KeyValue.Commands;

/// <summary>A few figures on this machine: 100-byte values under 16-byte keys, in a store of so many.</summary>
internal static class StoreBenchmark
{
    private const int ValueBytes = 100;
    private const int BatchCount = 1000;

    public static void Run(KeyValueStore store, int count, TextWriter output)
    {
        int[] order = [.. Enumerable.Range(0, count)];
        new Random(1).Shuffle(order);
        byte[] value = new byte[ValueBytes];
        byte[] key = new byte[16];
        Report(output, "put, in batches of 1,000", count, () =>
        {
            KeyValueBatch batch = new();
            foreach (int[] some in order.Chunk(BatchCount))
            {
                batch.Clear();
                foreach (int i in some)
                {
                    batch.Put(Key(key, i), value);
                }

                store.Write(batch);
            }
        });
        int single = Math.Min(count, 1000);
        Report(output, "put, each durable, 1 caller", single, () =>
        {
            for (int i = 0; i < single; i++)
            {
                store.Put(Key(key, i), value);
            }
        });
        Report(output, "put, each durable, 16 callers", single * 4, () =>
        {
            Thread[] callers = [.. Enumerable.Range(0, 16).Select(caller => new Thread(() =>
            {
                byte[] own = new byte[16];
                for (int i = 0; i < single / 4; i++)
                {
                    store.Put(Key(own, (caller * single) + i), value);
                }
            }))];
            Array.ForEach(callers, caller => caller.Start());
            Array.ForEach(callers, caller => caller.Join());
        });
        Report(output, "get, random", count, () =>
        {
            foreach (int i in order)
            {
                if (!store.TryGet(Key(key, i), value, out _))
                {
                    throw new InvalidOperationException($"key {i} is missing");
                }
            }
        });
        int found = 0;
        Report(output, "scan", count, () =>
        {
            using KeyValueCursor cursor = store.Range(Key(key, 0)[..8]);
            while (found < count && cursor.MoveNext())
            {
                found++;
            }
        });
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{store.Tables} tables, {store.Blocks} blocks"));
    }

    private static Span<byte> Key(byte[] key, int number)
    {
        "bench--:"u8.CopyTo(key);
        BinaryPrimitives.WriteInt64BigEndian(key.AsSpan(8), number);
        return key;
    }

    private static void Report(TextWriter output, string what, int count, Action work)
    {
        long began = Stopwatch.GetTimestamp();
        work();
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{what,-32} {count / Stopwatch.GetElapsedTime(began).TotalSeconds,12:#,0} /s"));
    }
}
