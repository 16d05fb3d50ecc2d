// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Tcp.Handshake;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// The two secrets that cookies (<see cref="SynCookies"/>) are made with, the present one and the one before, which is good as long as its last cookies are. Which of them a cookie is made with, the tick in
/// it says, so whoever makes or reads one needs the time and these two, and nothing has to be agreed upon when one changes.
/// <code>
///   ticks      | 0 ... 15   | 16 ... 31  | 32 ... 47  |         a tick is 64 s, so a secret serves 17 minutes
///   secret in  | place 0    | place 1    | place 0    |
///   written            ^ place 1   ^ place 0   ^ place 1        from the fifth tick of a secret's to the third last
/// </code>
/// <para><b>Invariant.</b> When a place is written, no cookie of its ticks is good: those of its last secret have been too old since the third tick, and those of its next one are made two ticks later at the
/// earliest, with clocks that differ by less than a tick. So a handler that reads the two words of a secret at that time reads them for a cookie that it refuses whatever they are. Who is too late leaves
/// the place as it is: then a secret serves once more. (Only a process that is stopped between its look at the clock and the write, for minutes, breaks this: cookies of a moment are lost then.)</para>
/// One thread; handlers read their copy (<see cref="FarewellTable"/>).
/// </summary>
internal sealed class CookieSecrets
{
    /// <summary>Two to the power of this many ticks are one secret's.</summary>
    public const int TickBits = 4;

    public const int Places = 2;

    private const int FirstTick = SynCookies.TicksValid + 2, LastTick = (1 << TickBits) - 3;

    private readonly Func<SipHash> draw;
    private readonly SipHash[] secrets;
    private FarewellTable? handlers;

    /// <param name="draw">Where secrets come from.</param>
    public CookieSecrets(Func<SipHash> draw)
    {
        this.draw = draw;
        secrets = [draw(), draw()];
    }

    /// <summary>When the next is to be drawn.</summary>
    public long DueUs { get; private set; } = FirstTick * SynCookies.TickUs;

    public static int PlaceOf(long tick) => (int)(tick >> TickBits) & (Places - 1);

    /// <summary>The secret of cookies that are made in a tick.</summary>
    public SipHash Of(long tick) => secrets[PlaceOf(tick)];

    /// <summary>Handlers read them there from now on.</summary>
    public void ShareWith(FarewellTable table)
    {
        handlers = table;
        for (int i = 0; i < Places; i++)
        {
            table.WriteSecret(i, secrets[i]);
        }
    }

    /// <summary>Draws the next secret if it is time to.</summary>
    public void Rotate(long nowUs)
    {
        if (nowUs < DueUs)
        {
            return;
        }

        long tick = nowUs / SynCookies.TickUs, first = tick >> TickBits << TickBits;
        if (tick - first < FirstTick)
        {
            DueUs = (first + FirstTick) * SynCookies.TickUs;
            return;
        }

        long next = first + (1 << TickBits);
        DueUs = (next + FirstTick) * SynCookies.TickUs;
        if (tick - first <= LastTick)
        {
            int place = PlaceOf(next);
            secrets[place] = draw();
            handlers?.WriteSecret(place, secrets[place]);
        }
    }
}
