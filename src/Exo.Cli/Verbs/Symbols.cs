// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.CommandLine.Parsing;
using System.Net;
using Exo.Cli.Arguments;
using Exo.Cli.Output;

namespace Exo.Cli.Verbs;

/// <summary>A combination of arguments that makes no sense; reported as wrong usage.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>Arguments and options that several verbs share, so that they are spelled, parsed and explained alike.</summary>
internal static class Symbols
{
    public static Argument<string> Image(string orElse = "") => Place("IMAGE", "Image file or block device; FILE#PARTITION by number or name; or nbd://HOST/EXPORT" + orElse);

    /// <summary>Something of this machine; no path is empty.</summary>
    public static Argument<string> Place(string name, string description)
    {
        Argument<string> place = new(name) { Description = description };
        place.Validators.Add(RefuseEmpty);
        return place;
    }

    /// <summary>For a path on this machine.</summary>
    public static void RefuseEmpty(SymbolResult result)
    {
        if (result.Tokens is [{ Value: "" }])
        {
            result.AddError($"{(result is OptionResult option ? option.Option.Name : ((ArgumentResult)result).Argument.Name)} is empty");
        }
    }

    /// <summary>Of verbs that the process that has a volume mounted carries out.</summary>
    public static Argument<string> ImageOrMount() => Image("; or the directory where it is mounted");

    public const string MountNote = "An image that is mounted ('exo mount') stays so: the process that has it mounted does the work. That is for the user who has mounted it, and the superuser.";

    public static Argument<string?> PathInImage(string description) => new("PATH")
    {
        Description = description + " [default: /]",
        Arity = ArgumentArity.ZeroOrOne,
    };

    /// <summary>Memory for a volume's cache, of which it needs <see cref="CacheBytesMin"/>.</summary>
    public static Option<long?> Cache(string description)
    {
        Option<long?> cache = Size("--cache", description);
        cache.Validators.Add(result =>
        {
            if (ByteSize.TryParse(result.Tokens is [var only] ? only.Value : null, out long bytes) && bytes is < CacheBytesMin or > CacheBytesMax)
            {
                result.AddError($"{cache.Name}: from {ByteSize.Format(CacheBytesMin)} to {ByteSize.Format(CacheBytesMax)}");
            }
        });
        return cache;
    }

    private const long CacheBytesMin = 1L << 20;
    private const long CacheBytesMax = 1L << 42;

    public static Option<bool> Json() => new("--json") { Description = "Print JSON" };

    public static Option<long?> Size(string name, string description) => new(name)
    {
        Description = description,
        HelpName = "SIZE",
        CustomParser = result =>
        {
            if (ByteSize.TryParse(result.Tokens[0].Value, out long bytes))
            {
                return bytes;
            }

            result.AddError($"{name}: '{result.Tokens[0].Value}' is not a size; write 4096, 64M, 1G, 1.5GiB or 500MB");
            return null;
        },
    };

    public static Option<IPEndPoint> Listen(string whenAbsent) => new("--listen")
    {
        Description = "Address and port to listen on; port 0 takes a free one",
        HelpName = "ADDR:PORT",
        CustomParser = result => ParseListen("--listen", result),
        DefaultValueFactory = _ => ListenAddress.TryParse(whenAbsent, out IPEndPoint endPoint) ? endPoint : throw new FormatException(whenAbsent),
    };

    public static Option<IPEndPoint?> Http(string description) => new("--http")
    {
        Description = description + "; port 0 takes a free one",
        HelpName = "ADDR:PORT",
        CustomParser = result => ParseListen("--http", result),
    };

    public static Option<string?> Observe()
    {
        Option<string?> observe = new("--observe") { Description = "UNIX socket where 'exo top' can look at this process", HelpName = "PATH" };
        observe.Validators.Add(RefuseImpossibleSocket);
        return observe;
    }

    public static void RefuseImpossibleSocket(OptionResult result)
    {
        if (result.Tokens is [var only] && !SocketPath.IsPossible(only.Value))
        {
            result.AddError($"{result.Option.Name}: '{only.Value}' is empty or longer than the system takes (107 bytes)");
        }
    }

    /// <summary>A path inside an image as bytes: absolute, one slash between names.</summary>
    public static byte[] Normalise(string? path)
    {
        path ??= "/";
        byte[] bytes = ByteText.Unescape(path) ?? throw new UsageException($"'{path}': malformed escape");
        if (bytes.Contains((byte)0))
        {
            throw new UsageException("a path cannot contain a zero byte");
        }

        using MemoryStream normal = new();
        foreach (Range part in ((ReadOnlySpan<byte>)bytes).Split((byte)'/'))
        {
            ReadOnlySpan<byte> name = bytes.AsSpan(part);
            if (!name.IsEmpty && !name.SequenceEqual("."u8))
            {
                normal.WriteByte((byte)'/');
                normal.Write(name);
            }
        }

        return normal.Length == 0 ? "/"u8.ToArray() : normal.ToArray();
    }

    /// <summary>A name below a directory of an image.</summary>
    public static byte[] Join(ReadOnlySpan<byte> directory, ReadOnlySpan<byte> name) =>
        directory.SequenceEqual("/"u8) ? [(byte)'/', .. name] : [.. directory, (byte)'/', .. name];

    /// <summary>The last name of a path as text for messages.</summary>
    public static string Show(ReadOnlySpan<byte> path) => ByteText.Escape(path);

    private static IPEndPoint? ParseListen(string option, ArgumentResult result)
    {
        if (ListenAddress.TryParse(result.Tokens[0].Value, out IPEndPoint endPoint))
        {
            return endPoint;
        }

        result.AddError($"{option}: '{result.Tokens[0].Value}' is not ADDR:PORT; write 127.0.0.1:8080 or [::1]:8080");
        return null;
    }
}
