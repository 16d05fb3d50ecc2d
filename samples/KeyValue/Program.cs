// SPDX-License-Identifier: MIT
// A key-value store with a disk format of its own, beside a C-FFS file system in one image:
//
//     dotnet run -c Release --project samples/KeyValue -- put disk.img colour blue
//     dotnet run -c Release --project samples/KeyValue -- get disk.img colour
//     dotnet run -c Release --project samples/KeyValue -- scan disk.img --from a --to d
//     dotnet run -c Release --project samples/KeyValue -- bench disk.img
//
// The store is Store/KeyValueStore.cs; its format is in FORMAT.md.
using System.CommandLine;
using System.Text;
using Exo.Cli.Arguments;
using Exo.Cli.Output;
using KeyValue;
using KeyValue.Commands;

Argument<string> image = new("IMAGE") { Description = "The image." };
Argument<string> anyImage = new("IMAGE") { Description = "The image; made if it is not there." };
Option<string> size = new("--size") { Description = "Size of a new image.", HelpName = "SIZE", DefaultValueFactory = _ => "256M" };
Argument<string> key = new("KEY") { Description = "1 to 1024 bytes." };
Argument<string?> value = new("VALUE") { Description = "At most 1 MiB; without it: standard input.", Arity = ArgumentArity.ZeroOrOne };
Option<string> from = new("--from") { Description = "The first key.", DefaultValueFactory = _ => "" };
Option<string?> to = new("--to") { Description = "The first key that is not wanted any more." };
Option<int> count = new("--count") { Description = "Keys of the benchmark.", DefaultValueFactory = _ => 100_000 };

Command put = new("put", "Gives a key a value, durably.") { anyImage, key, value, size };
put.SetAction(parsed => RunOnAny(parsed, store =>
{
    store.Put(Bytes(parsed.GetRequiredValue(key)), parsed.GetValue(value) is { } text ? Bytes(text) : Input());
    return 0;
}));
Command get = new("get", "Prints the value of a key; exit status 1 if there is none.") { image, key };
get.SetAction(parsed => Run(parsed, store =>
{
    if (store.Get(Bytes(parsed.GetRequiredValue(key))) is not { } found)
    {
        return 1;
    }

    Line(found);
    return 0;
}));
Command delete = new("delete", "Takes a key away, durably.") { image, key };
delete.SetAction(parsed => Run(parsed, store =>
{
    store.Delete(Bytes(parsed.GetRequiredValue(key)));
    return 0;
}));
Command scan = new("scan", "Prints keys and values in the order of the keys.") { image, from, to };
scan.SetAction(parsed => Run(parsed, store =>
{
    using KeyValueCursor cursor = store.Range(Bytes(parsed.GetRequiredValue(from)), parsed.GetValue(to) is { } end ? Bytes(end) : null);
    while (cursor.MoveNext())
    {
        Line([.. cursor.Key, (byte)'\t', .. cursor.Value]);
    }

    return 0;
}));
Command bench = new("bench", "Measures the store on this image.") { anyImage, count, size };
bench.SetAction(parsed => RunOnAny(parsed, store =>
{
    StoreBenchmark.Run(store, Math.Max(1, parsed.GetValue(count)), Console.Out);
    return 0;
}));

ParseResult command = new RootCommand("A key-value store that lives beside a file system on one disk.") { put, get, delete, scan, bench }
    .Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
int status = command.Invoke();
return command.Errors.Count > 0 ? 2 : status;

int Run(ParseResult parsed, Func<KeyValueStore, int> work) => RunOn(() => StoreImage.Open(parsed.GetRequiredValue(image)), work);

int RunOnAny(ParseResult parsed, Func<KeyValueStore, int> work)
{
    if (!ByteSize.TryParse(parsed.GetRequiredValue(size), out long sizeBytes))
    {
        Console.Error.WriteLine($"keyvalue: --size: '{parsed.GetValue(size)}' is not a size; write 64M or 1G");
        return 2;
    }

    return RunOn(() => StoreImage.OpenOrMake(parsed.GetRequiredValue(anyImage), sizeBytes / 4096 * 4096), work);
}

int RunOn(Func<StoreImage> image, Func<KeyValueStore, int> work)
{
    try
    {
        using StoreImage open = image();
        return work(open.Store);
    }
    catch (ArgumentOutOfRangeException error)
    {
        Console.Error.WriteLine($"keyvalue: the {error.ParamName} is too short or too long");
        return 2;
    }
    catch (Exception error) when (Failure.Describe(error) is { } line)
    {
        Console.Error.WriteLine($"keyvalue: {line}");
        return 3;
    }
}

static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

static byte[] Input()
{
    using MemoryStream input = new();
    using Stream standard = Console.OpenStandardInput();
    standard.CopyTo(input);
    return input.ToArray();
}

static void Line(ReadOnlySpan<byte> bytes)
{
    using Stream standard = Console.OpenStandardOutput();
    standard.Write([.. bytes, (byte)'\n']);
}
