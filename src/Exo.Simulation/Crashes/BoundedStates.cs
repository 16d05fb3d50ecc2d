// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;

namespace Exo.Simulation.Crashes;

/// <summary>
/// Walks a recording and gives the states within a bound. What is written to one block by one request is one write; those since the last flush are the window:
/// <code>
///   medium │ w0 w1 w2 w3 ... wi │  power fails after wi was given to the disk
///           └──── window ─────┘
///   states: all of them; without one or two of w0 .. wi-1; with wi torn; at the flush, with any one torn
/// </code>
/// That wi is lost itself is the state of the moment before.
/// </summary>
internal sealed class BoundedStates(DiskRecording recording, BoundedCrashOptions options)
{
    private const int None = -1;

    private readonly DiskContents.Builder _medium = recording.Start.ToBuilder();
    private readonly List<Write> _window = [];
    private readonly int _sectorsPerBlock = FramePool.FrameBytes / options.AtomicBytes;
    private readonly List<DiskMark> _marks = [];

    // The fingerprint of what is durable, against the start.
    private UInt128 _durable;

    // Null when the window or the marks have changed.
    private Moment? _moment;

    /// <summary>What one request wrote to one block. Sectors: a bit for each whose content differs from what was there before it.</summary>
    private sealed record Write(RecordedRequest Request, ulong Block, byte[]? Bytes, uint Sectors, UInt128[] Differences);

    /// <summary>Of a state: up to two writes that are lost, and one that is torn, with the sectors of it that reached the medium.</summary>
    private readonly record struct Choice(int LostA, int LostB, int Torn, uint TornSectors);

    public IEnumerable<CrashState> Walk()
    {
        Queue<DiskMark> marks = new(recording.Marks);
        long tick = 0;
        yield return Make(tick, new Choice(None, None, None, 0), "nothing was written");
        foreach ((long at, RecordedRequest? submitted, RecordedRequest? completed) in CrashStates.EventsOf(recording))
        {
            tick = at;
            if (submitted is null && completed is null)
            {
                _marks.Add(marks.Dequeue());
                _moment = null;
                foreach (CrashState state in After(tick, _window.Count))
                {
                    yield return state;
                }
            }
            else if (submitted is { Operation: not BlockOperation.Flush })
            {
                for (int i = 0; i < submitted.BlockCount; i++)
                {
                    if (Add(submitted, i))
                    {
                        foreach (CrashState state in After(tick, _window.Count - 1))
                        {
                            yield return state;
                        }
                    }
                }
            }
            else if (submitted is not null)
            {
                foreach (CrashState state in Torn(tick, _window.Count - 1))
                {
                    yield return state;
                }
            }
            else if (completed is { Operation: BlockOperation.Flush })
            {
                MakeDurable(write => write.Request.CompletedTick < completed.SubmittedTick);
            }
            else if (completed is { ForceUnitAccess: true })
            {
                MakeDurable(write => write.Request == completed);
            }
        }
    }

    /// <summary>A write joins the window; false when it changes nothing.</summary>
    private bool Add(RecordedRequest request, int index)
    {
        ulong block = request.FirstBlock.Value + (ulong)index;
        byte[]? bytes = request.Block(index);
        uint differs = 0;
        for (int s = 0; s < _sectorsPerBlock; s++)
        {
            // Any content that the sector may have at this moment counts: what is written over something that is under way is not without effect.
            ReadOnlySpan<byte> sector = Sector(bytes, s);
            bool same = Sector(_medium[block], s).SequenceEqual(sector);
            foreach (Write write in _window)
            {
                same &= write.Block != block || Sector(write.Bytes, s).SequenceEqual(sector);
            }

            differs |= same ? 0 : 1u << s;
        }

        if (differs != 0)
        {
            _window.Add(new Write(request, block, bytes, differs, DifferencesOf(block, bytes)));
            _moment = null;
        }

        return differs != 0;
    }

    /// <summary>The states in which everything from a write on has reached the medium and up to two before it have not; or that write is torn.</summary>
    private IEnumerable<CrashState> After(long tick, int last)
    {
        List<Choice> choices = [];
        if (options.WritesLostMax > 0)
        {
            for (int a = 0; a < last; a++)
            {
                choices.Add(new Choice(a, None, None, 0));
                for (int b = a + 1; b < last && options.WritesLostMax > 1; b++)
                {
                    choices.Add(new Choice(a, b, None, 0));
                }
            }
        }

        if (choices.Count >= options.StatesPerCutMax)
        {
            Random random = new(unchecked((options.Seed * 7919) ^ (int)tick));
            random.Shuffle(CollectionsMarshal.AsSpan(choices));
            choices.RemoveRange(options.StatesPerCutMax - 1, choices.Count - (options.StatesPerCutMax - 1));
        }

        yield return Make(tick, new Choice(None, None, None, 0), "all");
        foreach (Choice choice in choices)
        {
            yield return Make(tick, choice, "lost");
        }

        if (options.TornWrites && last < _window.Count)
        {
            foreach (CrashState state in TearsOf(tick, last))
            {
                yield return state;
            }
        }
    }

    /// <summary>All have reached the medium, one of them in part.</summary>
    private IEnumerable<CrashState> Torn(long tick, int end)
    {
        for (int i = 0; i < end && options.TornWrites; i++)
        {
            foreach (CrashState state in TearsOf(tick, i))
            {
                yield return state;
            }
        }
    }

    private IEnumerable<CrashState> TearsOf(long tick, int torn)
    {
        uint sectors = _window[torn].Sectors;
        uint first = 0;
        while (true)
        {
            // One sector more of those that change, from the front: they, or all the others.
            first |= sectors & ~first & (uint)-(int)(sectors & ~first);
            if (first == sectors)
            {
                yield break;
            }

            yield return Make(tick, new Choice(None, None, torn, first), "torn");
            yield return Make(tick, new Choice(None, None, torn, sectors & ~first), "torn");
        }
    }

    private CrashState Make(long tick, Choice choice, string how)
    {
        Moment moment = _moment ??= new Moment(this);
        UInt128 fingerprint = moment.Fingerprint;
        ulong? done = null;
        foreach (int touched in (ReadOnlySpan<int>)[choice.LostA, choice.LostB, choice.Torn])
        {
            if (touched != None && moment.Window[touched].Block is var block && block != done)
            {
                fingerprint ^= moment.OfBlock[block] ^ Difference(moment.Window, choice, block);
                done = block;
            }
        }

        return new CrashState(
            tick, () => Contents(moment.Medium, moment.Window, choice), () => Describe(tick, moment.Window, choice, how), moment.Marks, fingerprint);
    }

    /// <summary>What all states of one moment share.</summary>
    private sealed class Moment
    {
        public Moment(BoundedStates states)
        {
            Medium = states._medium.ToContents();
            Window = [.. states._window];
            Marks = [.. states._marks];
            Fingerprint = states._durable;
            foreach (Write write in Window)
            {
                if (!OfBlock.ContainsKey(write.Block))
                {
                    UInt128 difference = states.Difference(Window, new Choice(None, None, None, 0), write.Block);
                    OfBlock.Add(write.Block, difference);
                    Fingerprint ^= difference;
                }
            }
        }

        public DiskContents Medium { get; }

        public Write[] Window { get; }

        public DiskMark[] Marks { get; }

        /// <summary>Of the state in which everything has reached the medium.</summary>
        public UInt128 Fingerprint { get; }

        /// <summary>What each block of the window has in it.</summary>
        public Dictionary<ulong, UInt128> OfBlock { get; } = [];
    }

    private UInt128 Difference(Write[] window, Choice choice, ulong block)
    {
        UInt128 difference = 0;
        for (int s = 0; s < _sectorsPerBlock; s++)
        {
            if (Last(window, choice, block, s) is { } write)
            {
                difference ^= write.Differences[s];
            }
        }

        return difference;
    }

    /// <summary>Of each sector: its hash against that of what is durable at its place.</summary>
    private UInt128[] DifferencesOf(ulong block, byte[]? bytes)
    {
        UInt128[] differences = new UInt128[_sectorsPerBlock];
        for (int s = 0; s < _sectorsPerBlock; s++)
        {
            differences[s] = Hash(block, s, _medium[block]) ^ Hash(block, s, bytes);
        }

        return differences;
    }

    private DiskContents Contents(DiskContents medium, Write[] window, Choice choice)
    {
        DiskContents.Builder disk = medium.ToBuilder();
        foreach (ulong block in window.Select(write => write.Block).Distinct())
        {
            byte[] bytes = disk[block].ToArray();
            for (int s = 0; s < _sectorsPerBlock; s++)
            {
                if (Last(window, choice, block, s) is { } write)
                {
                    Sector(write.Bytes, s).CopyTo(bytes.AsSpan(s * options.AtomicBytes));
                }
            }

            disk.Replace(block, bytes);
        }

        return disk.ToContents();
    }

    /// <summary>The write of the window that a sector's content is from.</summary>
    private static Write? Last(Write[] window, Choice choice, ulong block, int sector)
    {
        for (int i = window.Length - 1; i >= 0; i--)
        {
            Write write = window[i];
            if (write.Block == block && i != choice.LostA && i != choice.LostB && (i != choice.Torn || (choice.TornSectors >> sector & 1) != 0))
            {
                return write;
            }
        }

        return null;
    }

    private void MakeDurable(Func<Write, bool> covered)
    {
        for (int i = 0; i < _window.Count; i++)
        {
            Write write = _window[i];
            if (!covered(write))
            {
                continue;
            }

            foreach (UInt128 difference in DifferencesOf(write.Block, write.Bytes))
            {
                _durable ^= difference;
            }

            _medium.Replace(write.Block, write.Bytes);

            // What was written to the same block before is settled with it.
            for (int earlier = i - 1; earlier >= 0; earlier--)
            {
                if (_window[earlier].Block == write.Block)
                {
                    _window.RemoveAt(earlier);
                    i--;
                }
            }

            _window.RemoveAt(i--);
        }

        for (int i = 0; i < _window.Count; i++)
        {
            _window[i] = _window[i] with { Differences = DifferencesOf(_window[i].Block, _window[i].Bytes) };
        }

        _moment = null;
    }

    private static string Describe(long tick, Write[] window, Choice choice, string how)
    {
        string text = $"power cut at tick {tick}, {window.Length} writes since the last flush, {how}";
        foreach (int lost in (int[])[choice.LostA, choice.LostB])
        {
            text += lost == None ? "" : $", not the one to block {window[lost].Block} ({window[lost].Request})";
        }

        return choice.Torn == None
            ? text
            : $"{text}, of the one to block {window[choice.Torn].Block} ({window[choice.Torn].Request}) only sectors {choice.TornSectors:b}";
    }

    private ReadOnlySpan<byte> Sector(ReadOnlySpan<byte> block, int sector) =>
        block.IsEmpty ? s_zeroes.AsSpan(0, options.AtomicBytes) : block.Slice(sector * options.AtomicBytes, options.AtomicBytes);

    /// <summary>Two multiplicative mixes of a sector's words, begun with its place.</summary>
    private UInt128 Hash(ulong block, int sector, ReadOnlySpan<byte> bytes)
    {
        ulong low = ((block * (ulong)_sectorsPerBlock) + (ulong)sector + 1) * 0x9E37_79B9_7F4A_7C15;
        ulong high = ~low;
        foreach (ulong word in MemoryMarshal.Cast<byte, ulong>(Sector(bytes, sector)))
        {
            low = ulong.RotateLeft((low ^ word) * 0xFF51_AFD7_ED55_8CCD, 29);
            high = ulong.RotateLeft((high + word) * 0xC4CE_B9FE_1A85_EC53, 33);
        }

        return new UInt128(high ^ (high >> 31), low ^ (low >> 29));
    }

    private static readonly byte[] s_zeroes = new byte[FramePool.FrameBytes];
}
