// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>What a register can hold in the verifier's eyes.</summary>
internal enum AbstractKind : byte
{
    /// <summary>Never written on this path.</summary>
    Uninitialised = 0,

    /// <summary>Written differently on the paths that meet here, or on some of them only: of no use until written again.</summary>
    Mixed,

    /// <summary>Clobbered by a call.</summary>
    Clobbered,

    /// <summary>Only in stack slots: some bytes hold numbers, of no known value.</summary>
    Bytes,

    /// <summary>A number.</summary>
    Scalar,

    /// <summary>An address: a region and an offset into it.</summary>
    Pointer,
}

/// <summary>
/// What the verifier knows of a register or a stack slot. Immutable and shared: states that agree point to the same object, which
/// makes keeping one per pending jump cheap, and joining equals free.
/// </summary>
internal sealed class AbstractValue
{
    private const int FirstFrame = 16;

    private static readonly AbstractValue[] ByteMasks = MakeByteMasks();

    private AbstractValue(AbstractKind kind, int region, byte writtenBytes, in ScalarRange range, int link = 0, long distance = 0)
    {
        Kind = kind;
        Region = region;
        WrittenBytes = writtenBytes;
        Range = range;
        Link = link;
        Distance = distance;
    }

    public static AbstractValue Uninitialised { get; } = new(AbstractKind.Uninitialised, 0, 0, default);

    public static AbstractValue Mixed { get; } = new(AbstractKind.Mixed, 0, 0, default);

    public static AbstractValue Clobbered { get; } = new(AbstractKind.Clobbered, 0, 0, default);

    public static AbstractValue UnknownScalar { get; } = new(AbstractKind.Scalar, 0, 0xff, ScalarRange.Unknown);

    public AbstractKind Kind { get; }

    /// <summary>A pointer's region: <see cref="Interpreter.MemoryRegion"/>, <see cref="Interpreter.ContextRegion"/>, or the stack
    /// frame of one function, numbered by <see cref="FrameRegion"/>.</summary>
    public int Region { get; }

    /// <summary>True for a pointer into a stack frame, whosever it is.</summary>
    public bool IsFramePointer => Kind == AbstractKind.Pointer && Region >= FirstFrame;

    /// <summary>Whose frame: 0 for that of the program itself, 1 for that of a function it calls, and so on.</summary>
    public int Frame => Region - FirstFrame;

    /// <summary>A stack slot's bytes that hold numbers, bit n for byte n; all of them for a whole number.</summary>
    public byte WrittenBytes { get; }

    /// <summary>A number's range, or the range of a pointer's offset from the start of its region.</summary>
    public ScalarRange Range { get; }

    /// <summary>
    /// Not 0 where this value is known to lie at a fixed distance from others: of two values of one state with the same link, numbers or
    /// offsets of pointers, the difference is that of their <see cref="Distance"/>, modulo 2^64. What is learnt of one is learnt of all:
    /// compilers compare <c>p + 4</c> with the end and then load from <c>p</c>.
    /// </summary>
    public int Link { get; }

    /// <summary>Where this value lies among those of its link.</summary>
    public long Distance { get; }

    public static AbstractValue Scalar(in ScalarRange range) => new(AbstractKind.Scalar, 0, 0xff, range);

    public static AbstractValue Pointer(int region, in ScalarRange offset) => new(AbstractKind.Pointer, region, 0, offset);

    /// <summary>The same value with other knowledge of its range.</summary>
    public AbstractValue WithRange(in ScalarRange range) => new(Kind, Region, WrittenBytes, range, Link, Distance);

    /// <summary>The same value with its place among others.</summary>
    public AbstractValue WithLink(int link, long distance) =>
        link == Link && distance == Distance ? this : new(Kind, Region, WrittenBytes, Range, link, distance);

    /// <summary>A stack slot of which these bytes hold numbers of any value.</summary>
    public static AbstractValue Bytes(byte written) => ByteMasks[written];

    /// <summary>The region of the stack frame at one depth of calls.</summary>
    public static int FrameRegion(int depth) => FirstFrame + depth;

    /// <summary>True when the two say the same, links left aside.</summary>
    public static bool AreEqual(AbstractValue a, AbstractValue b) => ReferenceEquals(a, b)
        || (a.Kind == b.Kind && a.Region == b.Region && a.WrittenBytes == b.WrittenBytes && a.Range == b.Range);

    /// <summary>What can be relied on when either value may be there.</summary>
    public static AbstractValue Join(AbstractValue a, AbstractValue b)
    {
        if (ReferenceEquals(a, b))
        {
            return a;
        }

        bool isLinked = a.Link == b.Link && a.Distance == b.Distance;
        if (AreEqual(a, b))
        {
            return isLinked ? a : a.WithLink(0, 0);
        }

        if (a.Kind == b.Kind && a.Region == b.Region && a.Kind is AbstractKind.Scalar or AbstractKind.Pointer)
        {
            ScalarRange range = a.Range.Join(b.Range);
            return range == a.Range && (isLinked || a.Link == 0) ? a
                : range == b.Range && (isLinked || b.Link == 0) ? b
                : new AbstractValue(a.Kind, a.Region, a.WrittenBytes, range, isLinked ? a.Link : 0, isLinked ? a.Distance : 0);
        }

        return Mixed;
    }

    /// <summary>The same for stack slots, where bytes written on both paths remain readable.</summary>
    public static AbstractValue JoinSlot(AbstractValue a, AbstractValue b)
    {
        AbstractValue joined = Join(a, b);
        return joined.Kind == AbstractKind.Mixed ? Bytes((byte)(a.WrittenBytes & b.WrittenBytes)) : joined;
    }

    /// <summary>For the state shown with a refusal.</summary>
    public override string ToString() => Kind switch
    {
        AbstractKind.Scalar => Range.ToString(),
        AbstractKind.Pointer => $"{RegionName(Region)}+[{(IsFramePointer
            ? RangeArithmetic.Subtract(Range, ScalarRange.Constant(ProgramContract.StackBytes))
            : Range)}]",
        AbstractKind.Bytes => $"bytes 0b{Convert.ToString(WrittenBytes, 2).PadLeft(8, '0')}",
        AbstractKind.Mixed => "differs by path",
        AbstractKind.Clobbered => "clobbered by a call",
        _ => "not written",
    };

    public static string RegionName(int region) => region switch
    {
        Interpreter.MemoryRegion => "memory",
        Interpreter.ContextRegion => "context",
        FirstFrame => "stack",
        _ => $"stack of call {region - FirstFrame}",
    };

    private static AbstractValue[] MakeByteMasks()
    {
        AbstractValue[] masks = new AbstractValue[256];
        for (int i = 0; i < masks.Length; i++)
        {
            masks[i] = new AbstractValue(i == 0 ? AbstractKind.Uninitialised : AbstractKind.Bytes, 0, (byte)i, default);
        }

        return masks;
    }
}
