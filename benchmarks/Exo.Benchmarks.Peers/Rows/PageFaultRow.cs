// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.IO.Pipes;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Core.AddressSpaces;
using Exo.Core.Memory;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>
/// A page fault from the touch to the end of the system call that touched: delivered to another thread, resolved by binding a frame that lies elsewhere in the pool, resumed. Beside the bare loop in C.
/// </summary>
internal sealed unsafe class PageFaultRow : IPeerRow
{
    private const int Pages = 8192;

    private string _program = "";

    public string Name => "page-fault";

    public string Work => $"a system call touches each of {Pages} missing pages of an address space, whose pager binds a frame of its choice";

    public string Peer => "a bare userfaultfd loop in C";

    public string Unit => "µs";

    public bool MoreIsBetter => false;

    public string? Missing() => Tool.Missing("cc") ?? Tool.NotRoot();

    public void Prepare(WorkFolder folder)
    {
        _program = folder["faults"];
        Tool.Run("cc", "-O2", "-pthread", "-o", _program, Path.Combine(AppContext.BaseDirectory, "Programs", "faults.c"));
        RunExo();
    }

    public double RunExo()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = (long)Pages * AddressSpace.PageBytes });
        if (!frames.TryAllocateRun(frames.RootCredential, Pages, out FrameNumber first))
        {
            throw new InvalidOperationException("The frames are not there.");
        }

        frames.Bytes(first, Pages).Fill(1);
        AddressSpace space = AddressSpace.Reserve(frames, (long)Pages * AddressSpace.PageBytes, (in PageFault fault) =>
        {
            fault.Space.Bind(frames.RootCredential, fault.Page, new FrameNumber(first.Value + (uint)((long)fault.Page * 7919 % Pages)), PageAccess.Write);
            return true;
        });
        Thread pager = new(() => space.ServeFaults());
        pager.Start();
        using AnonymousPipeServerStream reader = new(PipeDirection.In);
        using AnonymousPipeClientStream writer = new(PipeDirection.Out, reader.ClientSafePipeHandle);
        byte[] sink = new byte[1];
        long start = Stopwatch.GetTimestamp();
        for (int page = 0; page < Pages; page++)
        {
            writer.Write(new ReadOnlySpan<byte>((void*)(space.BaseAddress + (nint)page * AddressSpace.PageBytes), 1));
            reader.ReadExactly(sink);
        }

        double microseconds = Stopwatch.GetElapsedTime(start).TotalMicroseconds / Pages;
        space.Dispose();
        pager.Join();
        return microseconds;
    }

    public double RunPeer() => double.Parse(Tool.Run(_program, Pages.ToString(CultureInfo.InvariantCulture)), CultureInfo.InvariantCulture);

    public void Dispose()
    {
    }
}
