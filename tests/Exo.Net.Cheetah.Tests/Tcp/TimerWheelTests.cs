// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.Memory;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>The wheel of deadlines against a list of them.</summary>
public sealed class TimerWheelTests : IDisposable
{
    private const long GrainUs = 1024;

    private readonly FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly NetworkStack stack;

    public TimerWheelTests() => stack = new NetworkStack(new ScriptedDevice(frames), new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.1/24")] });

    public void Dispose()
    {
        stack.Dispose();
        frames.Dispose();
    }

    private static readonly Gen<long> Times = Gen.OneOf(Gen.Long[0, 2_000], Gen.Long[0, 600_000], Gen.Long[0, 100_000_000], Gen.Long[0, 40_000_000_000]);

    [Fact]
    public void Who_is_due_comes_out_and_nobody_else() => Gen.Select(Gen.Int[0, 4], Times, Times).Array[1, 60].Sample(
        steps =>
        {
            var wheel = new TimerWheel(0);
            var key = new ConnectionKey(InternetAddress.FromV4(1), 1, InternetAddress.FromV4(2), 2);
            TcpConnection[] all = [.. Enumerable.Range(0, 5).Select(_ => new TcpConnection(stack.Tcp, key, null!))];
            long nowUs = 0;
            List<TcpConnection> expired = [];
            foreach ((int which, long afterUs, long stepUs) in steps)
            {
                wheel.Set(all[which], nowUs + afterUs);
                Assert.True(wheel.NextUs <= Earliest(), $"{wheel.NextUs} > {Earliest()}");
                nowUs += stepUs;
                expired.Clear();
                wheel.Advance(nowUs, expired);
                foreach (TcpConnection c in expired)
                {
                    Assert.True(c.DeadlineUs <= nowUs);
                    c.DeadlineUs = long.MaxValue;
                }

                Assert.All(all, c => Assert.True(c.DeadlineUs == long.MaxValue || c.DeadlineUs > nowUs - GrainUs));
            }

            // A wheel looks a grain later than it is told.
            long Earliest() => all.Where(c => c.WheelSlot >= 0).Min(c => c.DeadlineUs) + GrainUs;
        },
        iter: 5000);
}
