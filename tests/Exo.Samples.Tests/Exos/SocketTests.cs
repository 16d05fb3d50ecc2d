// SPDX-License-Identifier: MIT
using ExOS;
using ExOS.Processes;

namespace Exo.Samples.Tests.Exos;

/// <summary>Sockets between processes: Cheetah's TCP over a wire in memory.</summary>
public sealed class SocketTests
{
    [Fact]
    public void A_pipeline_goes_over_a_connection_and_back() => Assert.Equal(
        "3\nHELLO\nyou\nme\n[0]\n",
        ExosBench.Script("(echo HELLO; echo 2; echo 3) > /tmp/in; (echo you; echo me) | nc -l 80 > /tmp/got & until nc localhost 80 < /tmp/in > /tmp/answer 2>/dev/null; do sleep 0.01; done; wait; wc -l < /tmp/got; head -n 1 /tmp/got; cat /tmp/answer"));

    [Fact]
    public void What_nobody_listens_at_is_refused() => Assert.Equal(
        "nc: Connection refused\n1\nnc: elsewhere: No such file or directory\n1\nnc: Invalid argument\n1\n[0]\n",
        ExosBench.Script("nc localhost 80; echo $?; nc elsewhere 80; echo $?; nc localhost 0; echo $?"));

    [Fact]
    public void A_megabyte_arrives_and_a_server_forks_for_each_client()
    {
        int status = ExosBench.Run(async self =>
        {
            int listener = await self.Sockets.ListenAsync(7);
            ExosException inUse = await Assert.ThrowsAsync<ExosException>(async () => await self.Sockets.ListenAsync(7));
            Assert.Equal(Errno.AddressInUse, inUse.Errno);
            for (int i = 0; i < 3; i++)
            {
                _ = self.Fork(BeClientAsync);
            }

            for (int i = 0; i < 3; i++)
            {
                int socket = await self.Sockets.AcceptAsync(listener);
                Assert.Equal(4, socket);
                _ = self.Fork(EchoAsync);
                self.Files.Close(socket);
            }

            for (int i = 0; i < 6; i++)
            {
                Assert.Equal(new ExitStatus(0), (await self.WaitAsync())!.Value.Status);
            }

            return 0;
        });
        Assert.Equal(0, status);
    }

    [Fact]
    public void A_signal_interrupts_who_waits_for_a_connection() => Assert.Equal(
        "143\n[0]\n", ExosBench.Script("nc -l 9 & sleep 0.02; kill $!; wait $!; echo $?"));

    private static async ValueTask<int> EchoAsync(Process self)
    {
        byte[] buffer = new byte[10_000];
        while (await self.Files.ReadAsync(4, buffer) is int count and > 0)
        {
            await self.Files.WriteAsync(4, buffer.AsMemory(0, count));
        }

        return 0;
    }

    private static async ValueTask<int> BeClientAsync(Process self)
    {
        int socket = await self.Sockets.ConnectAsync("localhost", 7);
        byte[] bytes = new byte[1 << 20];
        new Random(self.Id).NextBytes(bytes);
        byte[] back = new byte[1 << 20];
        int total = 0;
        for (int sent = 0; sent < bytes.Length; sent += 65_536)
        {
            await self.Files.WriteAsync(socket, bytes.AsMemory(sent, 65_536));
            total += await self.Files.ReadAsync(socket, back.AsMemory(total));
        }

        await self.Sockets.ShutDownAsync(socket);
        while (await self.Files.ReadAsync(socket, back.AsMemory(total)) is int count and > 0)
        {
            total += count;
        }

        return bytes.AsSpan().SequenceEqual(back) ? 0 : 1;
    }
}
