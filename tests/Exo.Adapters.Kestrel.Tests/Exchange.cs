// SPDX-License-Identifier: MIT
using System.Net;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Exo.Adapters.Kestrel.Tests;

/// <summary>A large upload and a large download, whose bytes are compared.</summary>
internal static class Exchange
{
    private const int BlockBytes = 100_003;

    public static async Task RunAsync(ITestNetwork network, string address, int version, int lengthBytes)
    {
        await using TestApplication server = await TestApplication.StartAsync(network, app =>
        {
            app.MapPost("/", async (HttpRequest request) => Convert.ToHexString(await SHA256.HashDataAsync(request.Body)));
            app.MapGet("/", async (HttpResponse response) =>
            {
                byte[] block = new byte[BlockBytes];
                Random random = new(1);
                for (int sent = 0; sent < lengthBytes; sent += block.Length)
                {
                    random.NextBytes(block);
                    await response.Body.WriteAsync(block);
                }
            });
        });
        using HttpClient client = server.Client(version == 2 ? HttpVersion.Version20 : HttpVersion.Version11);
        byte[] contents = new byte[lengthBytes];
        new Random(2).NextBytes(contents);
        using HttpResponseMessage answer = await client.PostAsync(address, new ByteArrayContent(contents));
        Assert.Equal(Convert.ToHexString(SHA256.HashData(contents)), await answer.Content.ReadAsStringAsync());
        Assert.Equal(version, answer.Version.Major);

        byte[] received = await client.GetByteArrayAsync(address);
        Assert.Equal((lengthBytes + BlockBytes - 1) / BlockBytes * BlockBytes, received.Length);
        byte[] expected = new byte[BlockBytes];
        Random random = new(1);
        for (int at = 0; at < received.Length; at += BlockBytes)
        {
            random.NextBytes(expected);
            Assert.True(expected.AsSpan().SequenceEqual(received.AsSpan(at, BlockBytes)), $"at {at}");
        }

        Assert.Empty(server.Errors);
    }
}
