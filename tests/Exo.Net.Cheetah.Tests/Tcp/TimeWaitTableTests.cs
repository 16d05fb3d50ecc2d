// SPDX-License-Identifier: MIT
using System.Net;
using CsCheck;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>The table of TIME-WAIT against a list in order of expiry.</summary>
public class TimeWaitTableTests
{
    private const int CountMax = 40;

    [Fact]
    public void It_holds_the_youngest_each_until_its_time_and_finds_no_other()
    {
        Gen.Select(Gen.Frequency((6, Gen.Const(0)), (2, Gen.Const(1)), (2, Gen.Const(2)), (1, Gen.Const(3))), Gen.UShort[1, 80]).Array[0, 400].Sample(operations =>
        {
            var table = new TimeWaitTable(CountMax, new ConnectionTable(1, 3));
            List<(ushort Port, long EndsUs, uint SendNext)> model = [];
            long nowUs = 0;
            foreach ((int operation, ushort port) in operations)
            {
                nowUs++;
                int at = model.FindIndex(entry => entry.Port == port);
                switch (operation)
                {
                    case 0 when at < 0:
                        table.Add(new TimeWaitEntry { Key = Key(port), SendNext = (uint)nowUs, EndsUs = nowUs + 60 });
                        model.RemoveRange(0, model.Count == CountMax ? 1 : 0);
                        model.Add((port, nowUs + 60, (uint)nowUs));
                        break;
                    case 1 when at >= 0:
                        table.Remove(table.Find(Key(port)));
                        model.RemoveAt(at);
                        break;
                    case 2 when at >= 0:
                        table.Restart(table.Find(Key(port)), nowUs + 60);
                        model.Add((port, nowUs + 60, model[at].SendNext));
                        model.RemoveAt(at);
                        break;
                    case 3:
                        table.Expire(nowUs);
                        model.RemoveAll(entry => entry.EndsUs <= nowUs);
                        break;
                }

                Assert.Equal(model.Count, table.Count);
                Assert.Equal(model.Count == 0 ? long.MaxValue : model[0].EndsUs, table.NextEndUs);
            }

            for (ushort port = 1; port <= 80; port++)
            {
                int index = table.Find(Key(port)), at = model.FindIndex(entry => entry.Port == port);
                Assert.Equal(at >= 0, index >= 0);
                if (at >= 0)
                {
                    Assert.Equal((model[at].SendNext, model[at].EndsUs), (table.At(index).SendNext, table.At(index).EndsUs));
                }
            }
        });
    }

    private static ConnectionKey Key(ushort port) =>
        new(InternetAddress.From(IPAddress.Parse("10.0.0.1")), 80, InternetAddress.From(IPAddress.Parse("10.0.0.2")), port);
}
