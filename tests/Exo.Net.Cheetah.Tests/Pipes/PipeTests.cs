// SPDX-License-Identifier: MIT
using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using Exo.Core.Memory;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Pipes;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tests.Tcp;
using Exo.Simulation.Net;

namespace Exo.Net.Cheetah.Tests.Pipes;

/// <summary>Connections as pipes, with a thread for each of two stacks.</summary>
public sealed class PipeTests : IAsyncLifetime
{
    private static readonly IPEndPoint Server = new(IPAddress.Parse("10.0.0.2"), 7);

    private readonly FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 128 << 20 });
    private readonly CancellationTokenSource ending = new();
    private readonly SimulatedWire wire;
    private readonly NetworkStack a, b;
    private readonly Thread[] threads;

    public PipeTests()
    {
        (wire, SimulatedNetworkDevice deviceA, SimulatedNetworkDevice deviceB) = SimulatedWire.CreatePair(frames, frames);
        a = new NetworkStack(deviceA, new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.1/24")], ReceiveWindowBytes = 128 * 1024 });
        b = new NetworkStack(deviceB, new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.2/24")], ReceiveWindowBytes = 128 * 1024 });
        threads = [new Thread(() => a.Run(ending.Token)), new Thread(() => b.Run(ending.Token))];
    }

    public ValueTask InitializeAsync()
    {
        foreach (Thread thread in threads)
        {
            thread.Start();
        }

        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        await ending.CancelAsync();
        foreach (Thread thread in threads)
        {
            thread.Join();
        }

        a.Dispose();
        b.Dispose();
        wire.Dispose();
        ending.Dispose();
        int taken = frames.FrameCount - frames.FreeCount;
        frames.Dispose();
        Assert.Equal(0, taken);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0.02)]
    public async Task What_is_written_comes_back_from_an_echo(double loss)
    {
        wire.Impairments = new WireImpairments { Loss = loss };
        await using TcpPipeListener listener = await TcpPipeListener.StartAsync(b, Server.Port);
        Task echo = Task.Run(async () =>
        {
            await using TcpPipeConnection peer = await listener.AcceptAsync();
            await peer.Input.CopyToAsync(peer.Output);
            await peer.Output.CompleteAsync();
            Assert.Equal(TcpCloseReason.Graceful, await peer.Closed);
        });

        const int Bytes = 3_000_000;
        TcpPipeConnection client = await TcpPipeConnection.ConnectAsync(a, Server);
        Assert.Equal(Server, client.RemoteEndPoint);
        Task writing = Task.Run(async () =>
        {
            for (int sent = 0; sent < Bytes;)
            {
                Memory<byte> memory = client.Output.GetMemory();
                int count = Math.Min(memory.Length, Bytes - sent);
                for (int i = 0; i < count; i++)
                {
                    memory.Span[i] = Pattern.At(sent + i);
                }

                client.Output.Advance(count);
                sent += count;
                await client.Output.FlushAsync();
            }

            await client.Output.CompleteAsync();
        });

        int received = 0;
        while (true)
        {
            ReadResult result = await client.Input.ReadAsync();
            foreach (ReadOnlyMemory<byte> memory in result.Buffer)
            {
                foreach (byte value in memory.Span)
                {
                    if (value != Pattern.At(received++))
                    {
                        Assert.Fail($"byte {received - 1}");
                    }
                }
            }

            client.Input.AdvanceTo(result.Buffer.End);
            if (result.IsCompleted)
            {
                break;
            }
        }

        Assert.Equal(Bytes, received);
        await writing;
        await client.DisposeAsync();
        await echo;
        Assert.Equal(TcpCloseReason.Graceful, await client.Closed);
        Assert.Equal(0, a.Tcp.Counters.BytesCopied);   // sent from where it was written
    }

    [Fact]
    public async Task A_reader_that_does_not_read_holds_the_writer_back()
    {
        await using TcpPipeListener listener = await TcpPipeListener.StartAsync(b, Server.Port);
        TcpPipeConnection client = await TcpPipeConnection.ConnectAsync(a, Server);
        TcpPipeConnection peer = await listener.AcceptAsync();

        // On the way fit: the pipe, what is queued to the connection, the peer's window, and a chunk beyond each.
        const int Bytes = 16 << 20, ChunkBytes = 64 * 1024, OnTheWayBytes = (256 + 512 + 128 + (3 * 64)) * 1024;
        long written = 0;
        using var began = new SemaphoreSlim(0);
        Task writing = Task.Run(async () =>
        {
            for (byte[] chunk = new byte[ChunkBytes]; written < Bytes;)
            {
                await client.Output.WriteAsync(chunk);
                if (Interlocked.Add(ref written, chunk.Length) == 8 * ChunkBytes)
                {
                    began.Release();
                }
            }
        });
        await began.WaitAsync();
        for (long read = 0; read < Bytes;)
        {
            ReadResult result = await peer.Input.ReadAsync();
            Assert.InRange(result.Buffer.Length, 0, 128 * 1024);
            Assert.InRange(Interlocked.Read(ref written), 0, read + OnTheWayBytes);
            read += result.Buffer.Length;
            peer.Input.AdvanceTo(result.Buffer.End);
        }

        await writing;
        await client.DisposeAsync();
        await peer.DisposeAsync();
        await client.Closed;
        await peer.Closed;
    }

    [Fact]
    public async Task An_abort_ends_the_peers_reads_with_an_exception()
    {
        await using TcpPipeListener listener = await TcpPipeListener.StartAsync(b, Server.Port);
        TcpPipeConnection client = await TcpPipeConnection.ConnectAsync(a, Server);
        TcpPipeConnection peer = await listener.AcceptAsync();
        client.Abort();
        TcpConnectionException failure = await Assert.ThrowsAsync<TcpConnectionException>(async () => await peer.Input.ReadAsync());
        Assert.Equal(TcpCloseReason.Reset, failure.Reason);
        Assert.Equal(TcpCloseReason.Reset, await peer.Closed);
        Assert.Equal(TcpCloseReason.Aborted, await client.Closed);
        await peer.DisposeAsync();
        await client.DisposeAsync();
    }

    [Fact]
    public async Task A_port_nobody_listens_to_refuses()
    {
        TcpConnectionException failure = await Assert.ThrowsAsync<TcpConnectionException>(() => TcpPipeConnection.ConnectAsync(a, Server));
        Assert.Equal(TcpCloseReason.Refused, failure.Reason);
    }

    [Fact]
    public async Task Waiting_can_be_cancelled()
    {
        await using TcpPipeListener listener = await TcpPipeListener.StartAsync(b, Server.Port);
        using var cancelled = new CancellationTokenSource();
        ValueTask<TcpPipeConnection> accepting = listener.AcceptAsync(cancelled.Token);
        Task<TcpPipeConnection> connecting = TcpPipeConnection.ConnectAsync(a, new IPEndPoint(IPAddress.Parse("10.0.0.99"), 7), cancelled.Token);
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await accepting);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => connecting);
    }
}
