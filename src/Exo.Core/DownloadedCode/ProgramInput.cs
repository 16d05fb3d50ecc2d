// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// What one run is given: the bytes of the contract's regions and the values of its scalar arguments. Lives on the stack;
/// nothing is copied and nothing outlives the run.
/// </summary>
public readonly ref struct ProgramInput
{
    /// <summary>Lends regions that the program may only read.</summary>
    public ProgramInput(ReadOnlySpan<byte> memory, ReadOnlySpan<byte> context = default)
    {
        Memory = memory;
        Context = context;
    }

    private ProgramInput(ReadOnlySpan<byte> memory, ReadOnlySpan<byte> context, bool contextIsWritable)
    {
        Memory = memory;
        Context = context;
        MemoryIsWritable = true;
        ContextIsWritable = contextIsWritable;
    }

    /// <summary>The memory region.</summary>
    public ReadOnlySpan<byte> Memory { get; }

    /// <summary>The context region.</summary>
    public ReadOnlySpan<byte> Context { get; }

    /// <summary>True when <see cref="Memory"/> was lent for writing too.</summary>
    public bool MemoryIsWritable { get; }

    /// <summary>True when <see cref="Context"/> was lent for writing too.</summary>
    public bool ContextIsWritable { get; }

    /// <summary>The value of r1 where the contract declares a scalar there.</summary>
    public ulong R1 { get; init; }

    /// <summary>The value of r2 where the contract declares a scalar there.</summary>
    public ulong R2 { get; init; }

    /// <summary>The value of r3 where the contract declares a scalar there.</summary>
    public ulong R3 { get; init; }

    /// <summary>The value of r4 where the contract declares a scalar there.</summary>
    public ulong R4 { get; init; }

    /// <summary>The value of r5 where the contract declares a scalar there.</summary>
    public ulong R5 { get; init; }

    /// <summary>Lends a memory region for writing, and a context for reading.</summary>
    public static ProgramInput Writable(Span<byte> memory, ReadOnlySpan<byte> context = default) => new(memory, context, false);

    /// <summary>Lends both regions for writing.</summary>
    public static ProgramInput WritableBoth(Span<byte> memory, Span<byte> context) => new(memory, context, true);

    /// <summary>The scalar for argument register <paramref name="register"/>, 1..5.</summary>
    internal ulong Scalar(int register) => register switch
    {
        1 => R1,
        2 => R2,
        3 => R3,
        4 => R4,
        _ => R5,
    };
}
