// SPDX-License-Identifier: MIT
using BenchmarkDotNet.Attributes;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Ipc;
using Exo.Core.Memory;
using Exo.Core.Scheduling;

namespace Exo.Benchmarks.Ipc;

/// <summary>Two environments of one process: a protected call, a message, a yield there and back, and a byte through a pipe and back while both sleep in between.</summary>
[MemoryDiagnoser]
public class Conversations
{
    private const int Rounds = 10_000;
    private readonly byte[] _byte = new byte[1];
    private FramePool _pool = null!;
    private ExoEnvironment _root = null!;
    private Scheduler _scheduler = null!;
    private ScheduledEnvironment _a = null!;
    private ScheduledEnvironment _b = null!;
    private ProtectedEntry<long, long> _entry = null!;
    private ProtectedCall<long, long> _call = null!;
    private MessageWriter _writer = null!;
    private MessageReader _reader = null!;
    private PipeWriteEnd _there = null!;
    private PipeReadEnd _back = null!;
    private readonly byte[] _message = new byte[64];

    [GlobalSetup]
    public void Setup()
    {
        _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        _root = ExoEnvironment.CreateRoot(_pool.Authority);
        _scheduler = new Scheduler();
        _a = _scheduler.Admit(_root.CreateChild([1]));
        _b = _scheduler.Admit(_root.CreateChild([2]));
        ExoEnvironment callee = _root.CreateChild([3]);
        _entry = new ProtectedEntry<long, long>(callee, new AccessControlList(_a.Environment.Name, authority: _pool.Authority), static (_, request) => request + 1);
        _call = _entry.Bind(_a.Environment);
        (_writer, _reader) = MessageRing.Create(_pool, _a.Environment, _b.Environment);
        (PipeReadEnd heard, _there) = Pipe.Create(_pool, _root, _b.Environment, _a.Environment);
        (_back, PipeWriteEnd answer) = Pipe.Create(_pool, _root, _a.Environment, _b.Environment);
        _ = _b.Start(async _ =>
        {
            byte[] buffer = new byte[1];
            while (await heard.ReadAsync(buffer) > 0)
            {
                await answer.WriteAsync(buffer);
            }

            answer.Dispose();
            heard.Dispose();
        });
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _there.Dispose();
        _scheduler.Dispose();
        _root.Dispose();
        _pool.Dispose();
    }

    [Benchmark]
    public long Protected_call()
    {
        _call.TryCall(41, out long reply);
        return reply;
    }

    [Benchmark]
    public int Message_of_64_bytes_written_and_read()
    {
        _writer.TryWrite(_message);
        _reader.TryRead(_message, out int length);
        return length;
    }

    [Benchmark(OperationsPerInvoke = Rounds)]
    public Task Pipe_round_trip() => _a.Start(async _ =>
    {
        for (int i = 0; i < Rounds; i++)
        {
            await _there.WriteAsync(_byte);
            await _back.ReadAsync(_byte);
        }
    });

    [Benchmark(OperationsPerInvoke = Rounds)]
    public Task Yield_with_nobody_else() => _a.Start(async self =>
    {
        for (int i = 0; i < Rounds; i++)
        {
            await self.Yield();
        }
    });

    [Benchmark(OperationsPerInvoke = Rounds)]
    public Task Checkpoint_within_the_slice() => _a.Start(async self =>
    {
        for (int i = 0; i < Rounds; i++)
        {
            await self.Checkpoint();
        }
    });
}
