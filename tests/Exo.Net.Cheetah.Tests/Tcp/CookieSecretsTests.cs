// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using CsCheck;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tcp.Handshake;
using Exo.Net.Cheetah.Tests.Tcp.Handshake;
using Exo.Net.Cheetah.Wire;
using Exo.Simulation.Timing;
using Exo.Tests;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>The secret of cookies changes, and nobody who holds a cookie that is good notices.</summary>
public sealed class CookieSecretsTests
{
    private const long SecretUs = SynCookies.TickUs << CookieSecrets.TickBits;

    private static readonly InternetAddress Own = InternetAddress.Parse("10.9.0.2"), Peer = InternetAddress.Parse("10.9.0.1");
    private static readonly ConnectionKey Key = new(Own, 80, Peer, 4000);

    /// <summary>Secrets and how many were drawn.</summary>
    private sealed class Drawn
    {
        public Drawn() => Secrets = new CookieSecrets(() => new SipHash((ulong)++Count, (ulong)Count * 77));

        public int Count { get; private set; }

        public CookieSecrets Secrets { get; }
    }

    [Fact]
    public void A_cookie_is_good_for_its_life_and_no_longer_whatever_secrets_come_meanwhile() =>
        Gen.Select(Gen.Long[0, 20 * SecretUs], Gen.Long[0, 6 * SynCookies.TickUs], Gen.Long[1, SynCookies.TickUs], Gen.UInt).Sample((madeUs, ageUs, stepUs, sequence) =>
        {
            Drawn drawn = new();
            SynCookies cookies = new(drawn.Secrets) { AreMadeElsewhere = true };
            for (long us = 0; us < madeUs; us += 10 * SynCookies.TickUs / 3)
            {
                drawn.Secrets.Rotate(us);
            }

            drawn.Secrets.Rotate(madeUs);
            uint cookie = cookies.Make(Key, sequence, 1460, madeUs);
            for (long us = madeUs; us < madeUs + ageUs; us += stepUs)
            {
                drawn.Secrets.Rotate(us);
            }

            drawn.Secrets.Rotate(madeUs + ageUs);
            bool isGood = ((madeUs + ageUs) / SynCookies.TickUs) - (madeUs / SynCookies.TickUs) <= SynCookies.TicksValid;
            Assert.Equal(isGood, cookies.TryRead(Key, sequence, cookie, madeUs + ageUs, out _));
            Assert.False(cookies.TryRead(Key, sequence, cookie ^ 1, madeUs + ageUs, out _));
        });

    [Fact]
    public void A_secret_serves_a_quarter_of_an_hour_and_is_never_met_again()
    {
        Drawn drawn = new();
        List<ulong> secrets = [];
        for (long us = 0; us < 40 * SecretUs; us += SynCookies.TickUs / 2)
        {
            drawn.Secrets.Rotate(us);
            ulong present = drawn.Secrets.Of(us / SynCookies.TickUs).Key0;
            if (us % SecretUs == 0)
            {
                Assert.DoesNotContain(present, secrets);
                secrets.Add(present);
            }

            Assert.Equal(secrets[^1], present);   // one for all ticks that are its
        }

        Assert.Equal(40, secrets.Count);
    }

    // What a handler may be doing while a place is written: making a cookie, or reading one, with a clock that is up to a tick ahead or has been read up to a tick ago.
    [Fact]
    public void A_place_is_written_when_nobody_reads_it_for_a_cookie_that_is_good() =>
        Gen.Long[0, 2 * SynCookies.TickUs].Array[1, 200].Sample(steps =>
        {
            Drawn drawn = new();
            long us = 1_000_000;
            foreach (long step in steps)
            {
                us += step;
                long tick = us / SynCookies.TickUs;
                SipHash[] before = [drawn.Secrets.Of(0), drawn.Secrets.Of(1 << CookieSecrets.TickBits)];
                drawn.Secrets.Rotate(us);
                for (long made = Math.Max(0, tick - 1 - SynCookies.TicksValid); made <= tick + 2; made++)
                {
                    Assert.Equal(before[CookieSecrets.PlaceOf(made)], drawn.Secrets.Of(made));
                }

                Assert.True(drawn.Secrets.DueUs > us);
            }
        });

    [Fact]
    public void Who_was_away_for_long_goes_on_with_what_handlers_have()
    {
        Drawn drawn = new();
        SynCookies cookies = new(drawn.Secrets) { AreMadeElsewhere = true };
        for (long us = 0; us < 50 * SecretUs; us += (SecretUs * 7 / 3) + 1)
        {
            // The handler made it while the stack slept.
            uint cookie = cookies.Make(Key, 7, 1000, us);
            drawn.Secrets.Rotate(us);
            Assert.True(cookies.TryRead(Key, 7, cookie, us, out ushort segmentBytes));
            Assert.Equal(1000, segmentBytes);
        }

        Assert.True(drawn.Count > 10);
    }

    private struct Clock(long us) : IHelperCalls
    {
        public readonly ulong Call(int helper, ulong r1, ulong r2, ulong r3, ulong r4, ulong r5) => (ulong)us * 1000;
    }

    [Fact]
    public void Handler_and_stack_are_of_one_mind_through_all_changes()
    {
        MacAddress hardware = new(0x0200_0000_0001), other = new(0x0200_0000_0002);
        HandshakeAnswer answer = new([80], [InterfaceAddress.Parse("10.9.0.2/24")], hardware, new SipHash(3, 4), 0, 65_535, 3, 8_192, 1460, 1440, 0);
        VerifiedProgram program = Verifier.Verify(HandshakeProgram.ForOwnMachine(answer), HandshakeProgram.OwnContract).Require();
        byte[] tables = new byte[HandshakeProgram.OwnTableBytes];
        Drawn drawn = new();
        SynCookies cookies = new(drawn.Secrets) { AreMadeElsewhere = true };
        List<(long MadeUs, uint Cookie)> underWay = [];
        int opened = 0, refused = 0;
        for (long us = 1_000_000; us < 6 * SecretUs; us += SynCookies.TickUs / 4)
        {
            // A SYN, at a time when the stack has not looked at the clock yet.
            TcpSegment syn = new(4000, 80, 1, 0, TcpFlags.Syn, 0, new TcpOptions(MaximumSegmentBytes: 1460, HasTimestamps: true, Timestamp: 1));
            byte[] memory = new byte[HandshakeProgram.OwnMemoryBytes];
            new EthernetFrame(hardware, other, EtherType.Ipv4).Emit(memory);
            new Ipv4Packet(Peer, Own, IpProtocol.Tcp, syn.SizeBytes).Emit(memory.AsSpan(14));
            syn.Emit(memory.AsSpan(34));
            TcpSegment.Seal(Peer, Own, memory.AsSpan(34, syn.SizeBytes), 0, 0);
            Clock clock = new(us);
            HandshakeProgramTests.WithSecrets(tables, drawn.Secrets);
            ExecutionResult result = program.Run(ProgramInput.WritableBoth(memory, tables) with { R2 = 0x0008 }, ref clock);
            Assert.Equal((ExecutionStatus.Completed, 1UL), (result.Status, result.R0 >> 32));
            uint cookie = BinaryPrimitives.ReadUInt32BigEndian(memory.AsSpan(38));
            Assert.Equal(cookies.Make(Key, 1, 1460, us), cookie);
            underWay.Add((us, cookie));

            // The stack looks, and those answer whose round trip is over: after up to two minutes, and some too late.
            drawn.Secrets.Rotate(us);
            underWay.RemoveAll(one =>
            {
                long ageUs = us - one.MadeUs, tripUs = one.Cookie % 5 * SynCookies.TickUs;
                if (ageUs < tripUs)
                {
                    return false;
                }

                bool isGood = (us / SynCookies.TickUs) - (one.MadeUs / SynCookies.TickUs) <= SynCookies.TicksValid;
                Assert.Equal(isGood, cookies.TryRead(Key, 1, one.Cookie, us, out _));
                opened += isGood ? 1 : 0;
                refused += isGood ? 0 : 1;
                return true;
            });
        }

        Assert.True(opened > 150 && refused > 50, $"{opened} opened, {refused} refused");
        Assert.True(drawn.Count >= 7);
    }

    [Fact]
    public void A_stack_that_sleeps_wakes_to_draw_a_secret_and_shares_it()
    {
        Requires.Root();
        VirtualTime time = new();
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using var device = new ScriptedDevice(frames);
        using NetworkStack stack = new(device, new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.9.0.2/24")], Time = time, Seed = 5 });
        using FarewellTable table = new("test");
        stack.Poll();
        Assert.Equal(Timeout.InfiniteTimeSpan, stack.UntilNext);   // without handlers nobody makes cookies while it sleeps
        CookieSecrets secrets = stack.Tcp.Cookies.Secrets;
        secrets.ShareWith(table);
        stack.Tcp.Cookies.AreMadeElsewhere = true;
        HashSet<ulong> seen = [];
        for (int i = 0; i < 20; i++)
        {
            for (int place = 0; place < CookieSecrets.Places; place++)
            {
                Assert.Equal(secrets.Of((long)place << CookieSecrets.TickBits).Key1, table.ReadSecret(place).Key1);
                seen.Add(table.ReadSecret(place).Key0);
            }

            TimeSpan sleeps = stack.UntilNext;
            Assert.InRange(sleeps, TimeSpan.FromMicroseconds(1), TimeSpan.FromMicroseconds(SecretUs));
            time.Advance(sleeps);
            stack.Poll();
        }

        Assert.Equal(21, seen.Count);
    }
}
