// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Simulation.Disks;
using KeyValue;

namespace Exo.Samples.Tests.KeyValue;

/// <summary>The store beside a sorted dictionary.</summary>
public sealed class StoreModelTests
{
    private enum Verb
    {
        Put,
        Delete,
        Batch,
        Compact,
        Close,
        Crash,
        OpenCursor,
        ReadCursor,
    }

    private sealed record Step(Verb Verb, int Key, int Length);

    private static readonly Gen<Step> Steps = Gen.Select(
        Gen.Frequency(
            (40, Gen.Const(Verb.Put)), (15, Gen.Const(Verb.Delete)), (15, Gen.Const(Verb.Batch)), (3, Gen.Const(Verb.Compact)), (2, Gen.Const(Verb.Close)), (2, Gen.Const(Verb.Crash)),
            (3, Gen.Const(Verb.OpenCursor)), (3, Gen.Const(Verb.ReadCursor))),
        Gen.Int[0, 60], Gen.Frequency((8, Gen.Int[0, 300]), (1, Gen.Int[3000, 12_000])), (verb, key, length) => new Step(verb, key, length));

    [Fact]
    public void It_does_what_a_sorted_dictionary_does() => Steps.List[1, 250].Sample(Run, iter: 40, threads: 1);

    private static void Run(List<Step> steps)
    {
        using StoreBench bench = StoreBench.New(1600);
        SortedDictionary<string, string> model = new(StringComparer.Ordinal);
        KeyValueCursor? cursor = null;
        SortedDictionary<string, string> then = [];
        for (int i = 0; i < steps.Count; i++)
        {
            Step step = steps[i];
            string key = $"key {step.Key}";
            string value = $"{i} {new string('x', step.Length)}";
            switch (step.Verb)
            {
                case Verb.Put:
                    bench.Store.Put(StoreBench.Utf8(key), StoreBench.Utf8(value));
                    model[key] = value;
                    break;
                case Verb.Delete:
                    bench.Store.Delete(StoreBench.Utf8(key));
                    _ = model.Remove(key);
                    break;
                case Verb.Batch:
                    KeyValueBatch batch = new();
                    batch.Put(StoreBench.Utf8(key), StoreBench.Utf8(value));
                    batch.Delete(StoreBench.Utf8($"key {step.Key + 1}"));
                    batch.Put(StoreBench.Utf8($"key {step.Key + 2}"), "in a batch"u8);
                    bench.Store.Write(batch);
                    model[key] = value;
                    _ = model.Remove($"key {step.Key + 1}");
                    model[$"key {step.Key + 2}"] = "in a batch";
                    break;
                case Verb.Compact:
                    bench.Store.Compact();
                    break;
                case Verb.OpenCursor:
                    cursor?.Dispose();
                    cursor = bench.Store.Range([]);
                    then = new SortedDictionary<string, string>(model, StringComparer.Ordinal);
                    break;
                case Verb.ReadCursor when cursor is not null:
                    Assert.Equal(then, StoreBench.Contents(cursor));
                    cursor.Dispose();
                    cursor = null;
                    break;
                case Verb.Close or Verb.Crash:
                    cursor?.Dispose();
                    cursor = null;
                    bench.Reopen(clean: step.Verb == Verb.Close);
                    break;
            }

            byte[]? found = bench.Store.Get(StoreBench.Utf8(key));
            Assert.Equal(model.TryGetValue(key, out string? expected) ? StoreBench.Utf8(expected) : null, found);
        }

        Assert.Equal(model, bench.Contents());
        cursor?.Dispose();
        bench.Reopen(clean: true);
        Assert.Equal(model, bench.Contents());
        bench.CheckSpace();
    }
}
