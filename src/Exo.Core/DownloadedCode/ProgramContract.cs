// SPDX-License-Identifier: MIT
using System.Collections.Immutable;

namespace Exo.Core.DownloadedCode;

/// <summary>A byte region lent to a program for one run.</summary>
/// <param name="BytesMin">Length every run provides at least, in bytes: what the verifier may rely on.</param>
/// <param name="BytesMax">Length no run exceeds, in bytes; equal to <paramref name="BytesMin"/> for a region of exact length.</param>
/// <param name="IsWritable">True when the program may store into it.</param>
public sealed record RegionContract(int BytesMin, int BytesMax, bool IsWritable = false)
{
    /// <summary>A region of exactly <paramref name="lengthBytes"/> bytes.</summary>
    public static RegionContract Exactly(int lengthBytes, bool isWritable = false) => new(lengthBytes, lengthBytes, isWritable);

    /// <summary>A region of <paramref name="bytesMin"/> bytes or more.</summary>
    public static RegionContract AtLeast(int bytesMin, bool isWritable = false) => new(bytesMin, int.MaxValue, isWritable);
}

/// <summary>What an argument register holds on entry.</summary>
public enum ArgumentKind : byte
{
    /// <summary>A number from <see cref="ProgramInput"/> within the declared bounds.</summary>
    Scalar = 0,

    /// <summary>The address of the first byte of the memory region.</summary>
    MemoryPointer,

    /// <summary>The length of the memory region in bytes, filled in by the machine.</summary>
    MemoryLength,

    /// <summary>The address of the first byte of the context region.</summary>
    ContextPointer,

    /// <summary>The length of the context region in bytes, filled in by the machine.</summary>
    ContextLength,
}

/// <summary>One argument register of a contract.</summary>
/// <param name="Kind">What it holds.</param>
/// <param name="Minimum">Least value of a scalar (unsigned).</param>
/// <param name="Maximum">Greatest value of a scalar (unsigned).</param>
public readonly record struct ArgumentContract(ArgumentKind Kind, ulong Minimum = 0, ulong Maximum = ulong.MaxValue)
{
    /// <summary>The address of the memory region.</summary>
    public static ArgumentContract MemoryPointer => new(ArgumentKind.MemoryPointer);

    /// <summary>The length of the memory region in bytes.</summary>
    public static ArgumentContract MemoryLength => new(ArgumentKind.MemoryLength);

    /// <summary>The address of the context region.</summary>
    public static ArgumentContract ContextPointer => new(ArgumentKind.ContextPointer);

    /// <summary>The length of the context region in bytes.</summary>
    public static ArgumentContract ContextLength => new(ArgumentKind.ContextLength);

    /// <summary>A number between the bounds, both inclusive, unsigned.</summary>
    public static ArgumentContract Scalar(ulong minimum = 0, ulong maximum = ulong.MaxValue) => new(ArgumentKind.Scalar, minimum, maximum);
}

/// <summary>A function of the host that a program may call; all its arguments and its result are numbers.</summary>
/// <param name="Id">The number in the call instruction's immediate.</param>
/// <param name="Name">For messages.</param>
/// <param name="ArgumentCount">How many of r1..r5 it reads, 0..5; the others reach it as zero.</param>
public readonly record struct HelperContract(int Id, string Name, int ArgumentCount);

/// <summary>
/// What a verified program may see and call: the bargain between the host and the author. The verifier proves a program
/// against one contract and the interpreter holds each run to it.
/// </summary>
public sealed class ProgramContract
{
    /// <summary>Bytes of stack below r10, for each function of its own (RFC 9669 leaves the size to the platform; 512 is the custom).</summary>
    public const int StackBytes = 512;

    /// <summary>How many functions may be active at once: the program itself and seven local calls, as the public runtimes have it.</summary>
    public const int CallDepthMax = 8;

    /// <summary>Declares a contract.</summary>
    /// <param name="name">For messages, e.g. "owns".</param>
    /// <param name="arguments">r1, r2, ... in order, at most five.</param>
    /// <param name="memory">The first region, or none.</param>
    /// <param name="context">The second region, or none.</param>
    /// <param name="helpers">The functions that may be called.</param>
    /// <exception cref="ArgumentException">The parts do not fit together.</exception>
    public ProgramContract(
        string name,
        IEnumerable<ArgumentContract> arguments,
        RegionContract? memory = null,
        RegionContract? context = null,
        IEnumerable<HelperContract>? helpers = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        Name = name;
        Arguments = [.. arguments];
        Memory = memory;
        Context = context;
        Helpers = helpers is null ? [] : [.. helpers];
        if (Arguments.Length > 5)
        {
            throw new ArgumentException("Arguments travel in r1 to r5: five at most.", nameof(arguments));
        }

        foreach (ArgumentContract argument in Arguments)
        {
            bool isServed = argument.Kind switch
            {
                ArgumentKind.Scalar => argument.Minimum <= argument.Maximum,
                ArgumentKind.MemoryPointer or ArgumentKind.MemoryLength => memory is not null,
                ArgumentKind.ContextPointer or ArgumentKind.ContextLength => context is not null,
                _ => false,
            };
            if (!isServed)
            {
                throw new ArgumentException(
                    $"The argument {argument} names a region the contract lacks, or an empty range.", nameof(arguments));
            }
        }

        CheckRegion(memory, nameof(memory));
        CheckRegion(context, nameof(context));
        HashSet<int> ids = [];
        foreach (HelperContract helper in Helpers)
        {
            if (!ids.Add(helper.Id) || helper.ArgumentCount is < 0 or > 5 || string.IsNullOrEmpty(helper.Name))
            {
                throw new ArgumentException(
                    $"{helper} repeats a number, lacks a name, or takes more than five arguments.", nameof(helpers));
            }
        }
    }

    /// <summary>The contract's name, for messages.</summary>
    public string Name { get; }

    /// <summary>The argument registers from r1 on.</summary>
    public ImmutableArray<ArgumentContract> Arguments { get; }

    /// <summary>The first region, or null.</summary>
    public RegionContract? Memory { get; }

    /// <summary>The second region, or null.</summary>
    public RegionContract? Context { get; }

    /// <summary>The functions a program may call.</summary>
    public ImmutableArray<HelperContract> Helpers { get; }

    /// <summary>Finds a helper by the number in the call instruction.</summary>
    public bool TryGetHelper(int id, out HelperContract helper)
    {
        foreach (HelperContract candidate in Helpers)
        {
            if (candidate.Id == id)
            {
                helper = candidate;
                return true;
            }
        }

        helper = default;
        return false;
    }

    private static void CheckRegion(RegionContract? region, string parameter)
    {
        if (region is not null && (region.BytesMin < 0 || region.BytesMax < region.BytesMin))
        {
            throw new ArgumentException($"{region} is no length range.", parameter);
        }
    }
}
