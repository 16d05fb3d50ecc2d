// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;

namespace Exo.Core.PacketFilters;

/// <summary>
/// Writes a decision tree as an eBPF program without loops: the code of a node tries its branches one after the other, that of a table
/// finds the value by bisection. Registers:
/// <code>
///   r0  number of the best filter so far       r6  first byte of the packet
///   r3  field, or length needed                r7  length of the packet; for the kernel's XDP the address behind it
///   r4  address of the byte behind the field   r8  base, from the packet's first byte (behind a step; before any it is 0)
///   r5  scratch                                r9  place of the best in the order of specificity; for the kernel's redirect the queue
///   [r10-8n]  the base behind the n-th step    [r10-144]  for socket buffers the field, copied
/// </code>
/// Each load stands behind a check that the whole field is in the packet, in the form that kernel verifiers recognise: address behind the
/// field, compared with the end, then a load at a negative offset from it. A packet in a socket buffer may lie in pieces: there a helper copies the field, r6 is the context,
/// r1 to r5 are lost with each call, and r7 is the length as on our own machine.
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

    // Of struct __sk_buff: the fields; the helper that copies.
    private const int BufferLength = 0;
    private const int BufferVlan = 16 + 4;
    private const int LoadBytes = 26;
    private const int FieldSlot = -8 * (PacketFilter.StepsMax + 2);

    private const int Result = 0, Field = 3, Behind = 4, Scratch = 5, Packet = 6, End = 7, Base = 8, Best = 9, Frame = 10;

    private readonly LabelledCode _code = new();
    private readonly Place _place;
    private readonly bool _asksWhether;
    private readonly int _matched;
    private readonly Dictionary<InstalledFilter, int> _places = new(ReferenceEqualityComparer.Instance);

    private FilterLowering(FilterNode root, Place place, bool asksWhether)
    {
        _place = place;
        _asksWhether = asksWhether;
        _matched = _code.Label();
        if (!asksWhether)
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

    private enum Place
    {
        /// <summary>Our own machine: the packet is memory.</summary>
        Own,

        /// <summary>The kernel's XDP hook.</summary>
        Xdp,

        /// <summary>Where the kernel has made a socket buffer of the packet: its ingress hook, and packet sockets.</summary>
        Buffer,
    }

    /// <summary>r1 packet, r2 length in bytes; the answer is the filter's number, or 0.</summary>
    public static Program? Own(FilterNode root)
    {
        FilterLowering lowering = new(root, Place.Own, asksWhether: false);
        lowering._code.AluRegister(Opcodes.Move, Packet, 1);
        lowering._code.AluRegister(Opcodes.Move, End, 2);
        return lowering.Numbers(root);
    }

    /// <summary>r1 struct xdp_md; the answer is the filter's number, or 0.</summary>
    public static Program? XdpNumbers(FilterNode root)
    {
        FilterLowering lowering = new(root, Place.Xdp, asksWhether: false);
        lowering.LoadContext();
        return lowering.Numbers(root);
    }

    /// <summary>r1 struct xdp_md; packets that a filter accepts go to the map's entry for the receive queue.</summary>
    public static Program? XdpRedirect(FilterNode root, int mapDescriptor)
    {
        FilterLowering lowering = new(root, Place.Xdp, asksWhether: true);
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

    /// <summary>
    /// r1 struct __sk_buff; one answer for packets that some filter accepts, another for the rest, among them those whose VLAN tag the kernel has taken off: no filter sees it.
    /// </summary>
    /// <param name="root">The tree.</param>
    /// <param name="accepted">The answer for what is accepted.</param>
    /// <param name="other">The answer for the rest.</param>
    /// <param name="then">Null, or a program under the same contract that answers for what is accepted.</param>
    public static Program? Buffer(FilterNode root, int accepted, int other, Program? then)
    {
        FilterLowering lowering = new(root, Place.Buffer, asksWhether: true);
        LabelledCode code = lowering._code;
        int isOther = code.Label();
        code.AluRegister(Opcodes.Move, Packet, 1);
        code.Load(End, 1, BufferVlan, 4);
        code.JumpIf(Opcodes.JumpNotEqual, End, 0, Scratch, isOther);
        code.Load(End, 1, BufferLength, 4);
        _ = lowering.TryNode(root, 0);
        code.Bind(isOther);
        code.Alu(Opcodes.Move, Result, other);
        code.Exit();
        if (root.Ended.Length > 0 || root.Branches.Length > 0)
        {
            code.Bind(lowering._matched);
            if (then is not null)
            {
                code.AluRegister(Opcodes.Move, 1, Packet);
                code.Append(then);
            }
            else
            {
                code.Alu(Opcodes.Move, Result, accepted);
                code.Exit();
            }
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
            if (_asksWhether)
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
        if (_place == Place.Buffer)
        {
            CopyField(branch, steps, over);
        }
        else if (_place == Place.Xdp)
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

        if (_place != Place.Buffer)
        {
            LoadPieces(branch);
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

    // By the helper, which refuses what is not all in the packet. A field of no bits only wants the packet to be that long.
    private void CopyField(FilterBranch branch, int steps, int over)
    {
        if (branch.Mask == 0)
        {
            _code.Alu(Opcodes.Move, Field, branch.EndBytes);
            if (steps > 0)
            {
                _code.AluRegister(Opcodes.Add, Field, Base);
            }

            _code.JumpIfRegister(Opcodes.JumpGreater, Field, End, over);
            return;
        }

        _code.StoreImmediate(Frame, FieldSlot, 0, 8);
        _code.AluRegister(Opcodes.Move, 1, Packet);
        _code.Alu(Opcodes.Move, 2, branch.EndBytes - branch.WidthBytes);
        if (steps > 0)
        {
            _code.AluRegister(Opcodes.Add, 2, Base);
        }

        _code.AluRegister(Opcodes.Move, 3, Frame);
        _code.Alu(Opcodes.Add, 3, FieldSlot + 8 - branch.WidthBytes);
        _code.Alu(Opcodes.Move, 4, branch.WidthBytes);
        _code.Call(LoadBytes);
        _code.JumpIf(Opcodes.JumpNotEqual, 0, 0, Scratch, over);
        _code.LoadBigEndian(Field, Frame, FieldSlot, 8);
    }

    private void LoadPieces(FilterBranch branch)
    {
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

        if (_place == Place.Xdp)
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
