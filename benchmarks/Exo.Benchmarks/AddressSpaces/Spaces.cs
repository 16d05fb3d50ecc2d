// SPDX-License-Identifier: MIT
using BenchmarkDotNet.Attributes;
using Exo.Core.AddressSpaces;
using Exo.Core.Memory;

namespace Exo.Benchmarks.AddressSpaces;

/// <summary>A space of 64 MiB whose frames follow one another: access and faults through the table, and a fork with its virtual memory.</summary>
public class Spaces
{
    private const int Pages = 16384;

    private readonly byte[] _buffer = new byte[4096];
    private FramePool _frames = null!;
    private AddressSpace _space = null!;
    private FrameNumber _first;

    [GlobalSetup]
    public void Setup()
    {
        _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 128 << 20 });
        _frames.TryAllocateRun(_frames.RootCredential, Pages, out _first, zero: true);
        _space = AddressSpace.Reserve(_frames, (long)Pages * AddressSpace.PageBytes, Resolve);
        _space.Bind(_frames.RootCredential, 0, _first, PageAccess.Write, Pages);
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _space.Dispose();
        _frames.Dispose();
    }

    [Benchmark]
    public void Read4KiB() => _space.Read(4096, _buffer);

    [Benchmark]
    public void FaultResolvedAndUnbound()
    {
        _space.Unbind(7);
        _space.Read(7 * 4096, _buffer.AsSpan(0, 8));
    }

    [Benchmark]
    public void ForkAndEnd() => _space.Fork(Resolve).Dispose();

    [Benchmark]
    public void ForkAndEndWithoutWindow() => _space.Fork(Resolve, withWindow: false).Dispose();

    private bool Resolve(in PageFault fault)
    {
        fault.Space.Bind(_frames.RootCredential, fault.Page, new FrameNumber(_first.Value + (uint)fault.Page), PageAccess.Write);
        return true;
    }
}
