// SPDX-License-Identifier: MIT
using System.Diagnostics.Metrics;
using System.Net;
using Exo.Net.Cheetah.Tests.Logging;
using Exo.Net.Cheetah.Tests.Sockets;

namespace Exo.Net.Cheetah.Tests;

public class MetricsTests
{
    /// <summary>Observes what servers at a port say.</summary>
    private sealed class Observer : IDisposable
    {
        private readonly MeterListener listener = new();
        private readonly Dictionary<string, long> values = [];

        public Observer(IPEndPoint endPoint)
        {
            listener.InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == "Exo.Net.Cheetah")
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            };
            listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) =>
            {
                var tagged = new Dictionary<string, object?>(tags.ToArray());
                if (Equals(tagged["server.address"], endPoint.Address.ToString()) && Equals(tagged["server.port"], endPoint.Port))
                {
                    Assert.True(values.TryAdd(instrument.Name, value), instrument.Name);
                }
            });
            listener.Start();
        }

        public Dictionary<string, long> Observe()
        {
            values.Clear();
            listener.RecordObservableInstruments();
            return values;
        }

        public void Dispose() => listener.Dispose();
    }

    [Fact]
    public async Task Each_server_is_observed_by_its_address_until_it_is_gone()
    {
        var output = new LogOutput();
        await using var server = new TestServer(options: TestServer.Options(accessLog: new AccessLogOptions { Output = output }));
        await using var other = new TestServer();
        using Observer observer = new(server.Server.EndPoint), ofOther = new(other.Server.EndPoint);
        server.Set("/a", 10);
        using (RawClient client = server.Connect())
        {
            for (int i = 0; i < 3; i++)
            {
                client.Send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
                client.ReadResponse();
            }

            await server.Server.Log!.FlushAsync();
            Dictionary<string, long> seen = observer.Observe();
            Assert.Equal(
                (1, 1, 3, 30, 2, 1, 3, 0),
                (seen["http.server.active_connections"], seen["cheetah.connections.accepted"], seen["cheetah.requests"], seen["cheetah.payload.sent"], seen["cheetah.cache.hits"], seen["cheetah.cache.misses"], seen["cheetah.access_log.lines"], seen["cheetah.access_log.dropped"]));
            Assert.DoesNotContain(seen.Keys, name => name.StartsWith("cheetah.tcp.", StringComparison.Ordinal));
            Assert.Equal(0, ofOther.Observe()["cheetah.requests"]);
        }

        await server.Server.DisposeAsync();
        Assert.Empty(observer.Observe());
        Assert.NotEmpty(ofOther.Observe());
    }
}
