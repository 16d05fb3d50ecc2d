// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;

namespace Exo.Core.PacketFilters;

/// <summary>
/// Writes a decision tree as an eBPF program without loops: the code of a node tries its branches one after the other, that of a table
/// finds the value by bisection. Registers:
/// <code>
///   r0  number of the best filter so far       r6  first byte of the packet
///   r3  field, or length needed                r7  length of the packet; for the kernel the address behind it
///   r4  address of the byte behind the field   r8  base, from the packet's first byte (behind a step; before any it is 0)
///   r5  scratch                                r9  place of the best in the order of specificity; for the kernel's redirect the queue
///   [r10-8n]  the base behind the n-th step
/// </code>
/// Each load stands behind a check that the whole field is in the packet, in the form that kernel verifiers recognise: address behind the
/// field, compared with the end, then a load at a negative offset from it.
/// </summary>
internal sealed class FilterLowering
{
    /// <summary>What is known to the kernel: the field offsets of struct xdp_md, the answer and the helper (linux/bpf.h).</summary>
    private const int XdpData = 0;
    private const int XdpDataEnd = 4;
    private const int XdpReceiveQueue = 16;
    private const int XdpPass = 2;
    private const int RedirectMap = 51;
    private const int PseudoMapDescriptor = 1;

    private const int Result = 0, Field = 3, Behind = 4, Scratch = 5, Packet = 6, End = 7, Base = 8, Best = 9, Frame = 10;

    private readonly LabelledCode _code = new();
    private readonly bool _isXdp;
    private readonly bool _isRedirect;
    private readonly int _matched;
    private readonly Dictionary<InstalledFilter, int> _places = new(ReferenceEqualityComparer.Instance);

    private FilterLowering(FilterNode root, bool isXdp, bool isRedirect)
    {
        _isXdp = isXdp;
        _isRedirect = isRedirect;
        _matched = _code.Label();
        if (!isRedirect)
        {
            List<InstalledFilter> all = [];
            Gather(root, all);
            all.Sort(static (a, b) => a.Rank != b.Rank ? b.Rank.CompareTo(a.Rank) : a.Number.CompareTo(b.Number));
            for (int i = 0; i < all.Count; i++)
            {
                _places.Add(all[i], i);
            }
        }
    }

    /// <summary>r1 packet, r2 length in bytes; the answer is the filter's number, or 0.</summary>
    public static Program? Own(FilterNode root)
    {
        FilterLowering lowering = new(root, isXdp: false, isRedirect: false);
        lowering._code.AluRegister(Opcodes.Move, Packet, 1);
        lowering._code.AluRegister(Opcodes.Move, End, 2);
        return lowering.Numbers(root);
    }

    /// <summary>r1 struct xdp_md; the answer is the filter's number, or 0.</summary>
    public static Program? XdpNumbers(FilterNode root)
    {
        FilterLowering lowering = new(root, isXdp: true, isRedirect: false);
        lowering.LoadContext();
        return lowering.Numbers(root);
    }

    /// <summary>r1 struct xdp_md; packets that a filter accepts go to the map's entry for the receive queue.</summary>
    public static Program? XdpRedirect(FilterNode root, int mapDescriptor)
    {
        FilterLowering lowering = new(root, isXdp: true, isRedirect: true);
        LabelledCode code = lowering._code;
        code.Load(Best, 1, XdpReceiveQueue, 4);
        lowering.LoadContext();

        // The kernel refuses code that nothing reaches.
        if (lowering.TryNode(root, 0))
        {
            code.Alu(Opcodes.Move, Result, XdpPass);
            code.Exit();
        }

        if (root.Ended.Length > 0 || root.Branches.Length > 0)
        {
            code.Bind(lowering._matched);
            code.Wide(1, (uint)mapDescriptor, PseudoMapDescriptor);
            code.AluRegister(Opcodes.Move, 2, Best);
            code.Alu(Opcodes.Move, 3, XdpPass);
            code.Call(RedirectMap);
            code.Exit();
        }

        return code.ToProgram();
    }

    private static void Gather(FilterNode node, List<InstalledFilter> all)
    {
        if (node.Ended.Length > 0)
        {
            all.Add(node.Ended[0]);
        }

        foreach (FilterBranch branch in node.Branches)
        {
            if (branch.Behind is { } behind)
            {
                Gather(behind, all);
            }
            else
            {
                branch.Table!.ToSortedList().ForEach(entry => Gather(entry.Node, all));
            }
        }
    }

    private void LoadContext()
    {
        _code.Load(Packet, 1, XdpData, 4);
        _code.Load(End, 1, XdpDataEnd, 4);
    }

    private Program? Numbers(FilterNode root)
    {
        _code.Alu(Opcodes.Move, Result, 0);
        _code.Alu(Opcodes.Move, Best, _places.Count);
        _ = TryNode(root, 0);
        _code.Exit();
        return _code.ToProgram();
    }

    // The code of a node; false when control never comes out at its end.
    private bool TryNode(FilterNode node, int steps)
    {
        if (node.Ended.Length > 0)
        {
            if (_isRedirect)
            {
                // Any filter will do, so what is more specific need not be looked for.
                _code.Jump(_matched);
                return false;
            }

            int worse = _code.Label();
            int place = _places[node.Ended[0]];
            _code.JumpIf(Opcodes.JumpLessOrEqual, Best, (ulong)place, Scratch, worse);
            _code.Alu(Opcodes.Move, Best, place);
            _code.Move(Result, node.Ended[0].Number);
            _code.Bind(worse);
        }

        for (int i = 0; i < node.Branches.Length; i++)
        {
            if (i > 0 && steps > 0)
            {
                // The branch before may have moved the base.
                _code.Load(Base, Frame, -8 * steps, 8);
            }

            Branch(node.Branches[i], steps);
        }

        return true;
    }

    private void Branch(FilterBranch branch, int steps)
    {
        int over = _code.Label();
        LoadField(branch, steps, over);
        if (branch.Step is { } step)
        {
            Step(step, steps, over);
            _ = TryNode(branch.Behind!, steps + 1);
        }
        else
        {
            List<(ulong Value, FilterNode Node)> entries = branch.Table!.ToSortedList();
            int[] labels = [.. entries.Select(_ => _code.Label())];
            if (entries.Count == 1)
            {
                if (branch.Mask != 0)
                {
                    _code.JumpIf(Opcodes.JumpNotEqual, Field, entries[0].Value, Scratch, over);
                }
            }
            else
            {
                Bisect(entries, labels, 0, entries.Count, over);
            }

            for (int i = 0; i < entries.Count; i++)
            {
                _code.Bind(labels[i]);
                if (TryNode(entries[i].Node, steps) && i < entries.Count - 1)
                {
                    _code.Jump(over);
                }
            }
        }

        _code.Bind(over);
    }

    private void Bisect(List<(ulong Value, FilterNode Node)> entries, int[] labels, int first, int behind, int over)
    {
        const int LinearMax = 4;
        if (behind - first > LinearMax)
        {
            int middle = (first + behind) / 2;
            int upper = _code.Label();
            _code.JumpIf(Opcodes.JumpGreaterOrEqual, Field, entries[middle].Value, Scratch, upper);
            Bisect(entries, labels, first, middle, over);
            _code.Bind(upper);
            Bisect(entries, labels, middle, behind, over);
            return;
        }

        for (int i = first; i < behind; i++)
        {
            _code.JumpIf(Opcodes.JumpEqual, Field, entries[i].Value, Scratch, labels[i]);
        }

        _code.Jump(over);
    }

    private void LoadField(FilterBranch branch, int steps, int over)
    {
        if (_isXdp)
        {
            _code.AluRegister(Opcodes.Move, Behind, Packet);
            if (steps > 0)
            {
                _code.AluRegister(Opcodes.Add, Behind, Base);
            }

            _code.Alu(Opcodes.Add, Behind, branch.EndBytes);
            _code.JumpIfRegister(Opcodes.JumpGreater, Behind, End, over);
        }
        else
        {
            // Base and end are small numbers: no sum wraps, and what passes the comparison is at most the packet's length.
            _code.Alu(Opcodes.Move, Behind, branch.EndBytes);
            if (steps > 0)
            {
                _code.AluRegister(Opcodes.Add, Behind, Base);
            }

            _code.JumpIfRegister(Opcodes.JumpGreater, Behind, End, over);
            _code.AluRegister(Opcodes.Add, Behind, Packet);
        }

        if (branch.Mask == 0)
        {
            return;
        }

        int left = branch.WidthBytes;
        for (int width = 8; width > 0; width >>= 1)
        {
            if ((branch.WidthBytes & width) == 0)
            {
                continue;
            }

            if (left == branch.WidthBytes)
            {
                _code.LoadBigEndian(Field, Behind, -left, width);
            }
            else
            {
                _code.Alu(Opcodes.ShiftLeft, Field, 8 * width);
                _code.LoadBigEndian(Scratch, Behind, -left, width);
                _code.AluRegister(Opcodes.Or, Field, Scratch);
            }

            left -= width;
        }

        ulong whole = branch.WidthBytes == 8 ? ulong.MaxValue : (1UL << (8 * branch.WidthBytes)) - 1;
        if (branch.Mask != whole && branch.Mask <= int.MaxValue)
        {
            _code.Alu(Opcodes.And, Field, (int)branch.Mask);
        }
        else if (branch.Mask != whole)
        {
            _code.Wide(Scratch, branch.Mask);
            _code.AluRegister(Opcodes.And, Field, Scratch);
        }
    }

    private void Step(FilterStep step, int steps, int over)
    {
        if (step.ShiftBits != 0)
        {
            _code.Alu(step.ShiftBits < 0 ? Opcodes.ShiftRight : Opcodes.ShiftLeft, Field, Math.Abs(step.ShiftBits));
        }

        if (step.AddBytes > 0)
        {
            _code.Alu(Opcodes.Add, Field, step.AddBytes);
        }

        if (steps > 0)
        {
            _code.AluRegister(Opcodes.Add, Field, Base);
        }

        if (_isXdp)
        {
            // The kernel adds only small numbers to addresses.
            _code.JumpIf(Opcodes.JumpGreater, Field, PacketFilter.EndBytesMax, Scratch, over);
            _code.AluRegister(Opcodes.Move, Behind, Packet);
            _code.AluRegister(Opcodes.Add, Behind, Field);
            _code.JumpIfRegister(Opcodes.JumpGreater, Behind, End, over);
        }
        else
        {
            _code.JumpIfRegister(Opcodes.JumpGreater, Field, End, over);
        }

        _code.Store(Frame, -8 * (steps + 1), Field, 8);
        _code.AluRegister(Opcodes.Move, Base, Field);
    }
}
