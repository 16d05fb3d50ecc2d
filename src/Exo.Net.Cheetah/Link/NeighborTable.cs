// SPDX-License-Identifier: MIT
using Exo.Core.Net;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Link;

/// <summary>The way to a peer as a connection remembers it; valid while the table has not changed.</summary>
internal struct MacHop
{
    public MacAddress Hardware;
    public int Version;
}

/// <summary>How often a neighbour is asked for.</summary>
/// <param name="EveryUs">Microseconds between two requests.</param>
/// <param name="AsksMax">Requests before it is given up.</param>
internal readonly record struct NeighborPace(long EveryUs, int AsksMax);

/// <summary>
/// Who on the link has which hardware address, learned by ARP (RFC 826) and neighbour discovery (RFC 4861). An entry answers for a while, is
/// asked for again before that is over, and holds a few packets while nobody has answered yet.
/// <code>
/// (nothing) ──wanted──&gt; incomplete: asked once a second, thrice ──answer──&gt; known ──19 min, or doubts──&gt; asked again, still used ──20 min──&gt; incomplete
/// </code>
/// </summary>
internal sealed class NeighborTable
{
    /// <summary>Entries; beyond, the one used longest ago goes. Bounds what a scan of the subnet can cost.</summary>
    public const int EntriesMax = 1024;

    /// <summary>The pace for neighbours that are asked themselves: once a second, thrice.</summary>
    public static readonly NeighborPace OnTheLink = new(1_000_000, 3);

    /// <summary>The pace for somebody who knows them or is asking them, for as long: looking costs the link nothing.</summary>
    public static readonly NeighborPace InMemory = new(5_000, 600);

    private const int WaitingMax = 3, IncompleteMax = 128;
    private const long FreshUs = 1_200_000_000, RefreshUs = 1_140_000_000;

    private readonly Dictionary<InternetAddress, Entry> entries = [];
    private readonly List<Entry> asking = [];
    private readonly Action<InternetAddress> ask;
    private readonly Action<byte[], MacAddress> send;
    private readonly NeighborPace pace;

    /// <param name="ask">Sends a request for an address; the answer may be learned before it returns.</param>
    /// <param name="send">Sends a packet that has waited, to the address learned.</param>
    /// <param name="pace">How often is asked.</param>
    public NeighborTable(Action<InternetAddress> ask, Action<byte[], MacAddress> send, NeighborPace pace)
    {
        this.pace = pace;
        this.ask = ask;
        this.send = send;
    }

    private sealed class Entry(InternetAddress address)
    {
        public readonly InternetAddress Address = address;
        public MacAddress Hardware;
        public bool IsKnown;
        public long KnownUs, AskedUs, UsedUs;
        public int Asks;
        public List<byte[]>? Waiting;
    }

    /// <summary>Changes whenever an address is learned anew, changed or forgotten.</summary>
    public int Version { get; private set; } = 1;

    public int Count => entries.Count;

    /// <summary>When something is to be asked again or forgotten; long.MaxValue = never.</summary>
    public long NextUs
    {
        get
        {
            long next = long.MaxValue;
            foreach (Entry entry in asking)
            {
                next = Math.Min(next, entry.AskedUs + pace.EveryUs);
            }

            return next;
        }
    }

    /// <summary>Looks a neighbour up. When it is not known it is asked for.</summary>
    public bool TryFind(InternetAddress address, long nowUs, out MacAddress hardware)
    {
        if (entries.TryGetValue(address, out Entry? entry) && entry.IsKnown && nowUs - entry.KnownUs < FreshUs)
        {
            entry.UsedUs = nowUs;
            hardware = entry.Hardware;
            if (nowUs - entry.KnownUs > RefreshUs && entry.Asks == 0)
            {
                Ask(entry, nowUs);
            }

            return true;
        }

        hardware = default;
        entry ??= Add(address, nowUs);
        if (entry is not null && entry.Asks == 0)
        {
            entry.IsKnown = false;
            Ask(entry, nowUs);
            hardware = entry.Hardware;
            return entry.IsKnown;
        }

        return false;
    }

    /// <summary>Keeps a packet until the neighbour answers; the last few per neighbour.</summary>
    public void Keep(InternetAddress address, byte[] packet)
    {
        if (entries.TryGetValue(address, out Entry? entry) && !entry.IsKnown)
        {
            entry.Waiting ??= [];
            if (entry.Waiting.Count == WaitingMax)
            {
                entry.Waiting.RemoveAt(0);
            }

            entry.Waiting.Add(packet);
        }
    }

    /// <summary>A neighbour has told its address.</summary>
    /// <param name="address">Whose.</param>
    /// <param name="hardware">What it is.</param>
    /// <param name="mayAdd">It spoke to us, so that it will be wanted; otherwise only what is known is corrected.</param>
    /// <param name="nowUs">The time.</param>
    public void Learn(InternetAddress address, MacAddress hardware, bool mayAdd, long nowUs)
    {
        if (hardware.IsGroup || !address.IsUnicast)
        {
            return;
        }

        if (!entries.TryGetValue(address, out Entry? entry))
        {
            entry = mayAdd ? Add(address, nowUs) : null;
            if (entry is null)
            {
                return;
            }
        }

        Version += !entry.IsKnown || entry.Hardware != hardware ? 1 : 0;
        entry.Hardware = hardware;
        entry.IsKnown = true;
        entry.KnownUs = nowUs;
        if (entry.Asks > 0)
        {
            entry.Asks = 0;
            asking.Remove(entry);
        }

        if (entry.Waiting is { } waiting)
        {
            entry.Waiting = null;
            foreach (byte[] packet in waiting)
            {
                send(packet, hardware);
            }
        }
    }

    /// <summary>A neighbour is no longer where it was: it is asked for when it is wanted next.</summary>
    public void Forget(InternetAddress address)
    {
        if (entries.TryGetValue(address, out Entry? entry) && entry.IsKnown)
        {
            entry.IsKnown = false;
            Version++;
        }
    }

    /// <summary>The same of all.</summary>
    public void ForgetAll()
    {
        foreach (Entry entry in entries.Values)
        {
            entry.IsKnown = false;
        }

        Version++;
    }

    /// <summary>Packets to a neighbour seem to go nowhere (RFC 1122 section 2.3.2.1): it is asked again, and used meanwhile.</summary>
    public void Doubt(InternetAddress address, long nowUs)
    {
        if (entries.TryGetValue(address, out Entry? entry) && entry.IsKnown && entry.Asks == 0)
        {
            Ask(entry, nowUs);
        }
    }

    /// <summary>Asks again, or gives up, where nobody has answered.</summary>
    public void RunTimers(long nowUs)
    {
        for (int i = asking.Count - 1; i >= 0; i--)
        {
            Entry entry = asking[i];
            if (nowUs - entry.AskedUs < pace.EveryUs)
            {
                continue;
            }

            if (entry.Asks < pace.AsksMax)
            {
                entry.Asks++;
                entry.AskedUs = nowUs;
                ask(entry.Address);
            }
            else
            {
                asking.RemoveAt(i);
                entry.Asks = 0;
                if (!entry.IsKnown)
                {
                    entries.Remove(entry.Address);
                }
            }
        }
    }

    private void Ask(Entry entry, long nowUs)
    {
        if (asking.Count >= IncompleteMax && !entry.IsKnown)
        {
            entries.Remove(entry.Address);
            return;
        }

        entry.Asks = 1;
        entry.AskedUs = nowUs;
        asking.Add(entry);
        ask(entry.Address);
    }

    private Entry? Add(InternetAddress address, long nowUs)
    {
        if (entries.Count >= EntriesMax)
        {
            Entry? oldest = null;
            foreach (Entry other in entries.Values)
            {
                oldest = other.Asks == 0 && (oldest is null || other.UsedUs < oldest.UsedUs) ? other : oldest;
            }

            if (oldest is null)
            {
                return null;
            }

            entries.Remove(oldest.Address);
            Version++;
        }

        var entry = new Entry(address) { UsedUs = nowUs };
        entries.Add(address, entry);
        return entry;
    }
}
