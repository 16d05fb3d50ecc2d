// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Core.Environments;
using Exo.Core.Ipc;
using Exo.Core.Memory;
using Exo.Core.Scheduling;
using Exo.Host;
using Exo.Storage.XN;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>What a <see cref="HostRow"/> does over and over.</summary>
internal enum HostWork
{
    /// <summary>A call to a host in another process and its reply.</summary>
    Call,

    /// <summary>4 KiB of a block read in before, by a library OS in another process than the host.</summary>
    CachedRead,

    /// <summary>A byte through a pipe and back between two environments of one process.</summary>
    Pipe,
}

/// <summary>Talk between protection domains, beside the kernel's: a byte there and back through two pipes between processes, or a read of the page cache.</summary>
internal sealed class HostRow(string name, HostWork work) : IPeerRow
{
    private const int Rounds = 100_000;

    private readonly byte[] _block = new byte[4096];
    private string _file = "";
    private string _cached = "";
    private string _program = "";
    private Process? _host;
    private HostClient? _client;
    private BlockNumber _root;

    public string Name => name;

    public string Work => work switch
    {
        HostWork.Call => "a call to a host in another process, and its reply",
        HostWork.CachedRead => "4 KiB of a cached block read by a library OS in another process than the host",
        _ => "a byte through a pipe and back between two environments of one process, which sleep in between",
    };

    public string Peer => work == HostWork.CachedRead ? "pread of 4 KiB from the page cache" : "a byte through two kernel pipes between two processes, in C";

    public string Unit => "µs";

    public bool MoreIsBetter => false;

    public string? Missing() => Tool.Missing("gcc");

    public void Prepare(WorkFolder folder)
    {
        if (work != HostWork.CachedRead)
        {
            _program = CProgram.Compile(folder, "pipe_ping");
        }

        if (work == HostWork.Pipe)
        {
            return;
        }

        _file = folder["host.img"];
        using (FileStream image = File.Create(_file))
        {
            image.SetLength(64 << 20);
        }

        _cached = folder["cached"];
        File.WriteAllBytes(_cached, _block);
        string socket = folder["host.sock"];
        _host = Process.Start(new ProcessStartInfo("dotnet", ["exec", Path.Combine(AppContext.BaseDirectory, "exo.dll"), "host", _file, "--socket", socket, "--format"])
        {
            RedirectStandardOutput = true,
        })!;
        _ = _host.StandardOutput.ReadLine();
        _client = HostClient.Attach(socket);
        TemplateId[] templates = _client.InstallTemplates([new TemplateSource
        {
            Name = "block",
            ReadSetBytes = 8,
            Acl = Assembler.Assemble("mov r0, 1\nexit"),
            Owns = Assembler.Assemble("mov r0, 0\nexit"),
            Partitions = [new PartitionGroup(0, 8, 1)],
        }]);
        _root = _client.CreateRoot(templates[0]);
    }

    public double RunExo()
    {
        if (work == HostWork.Pipe)
        {
            return RunPipe();
        }

        for (int i = 0; i < Rounds / 10; i++)
        {
            Once();
        }

        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < Rounds; i++)
        {
            Once();
        }

        return Stopwatch.GetElapsedTime(start).TotalMicroseconds / Rounds;
    }

    public double RunPeer()
    {
        if (work != HostWork.CachedRead)
        {
            return double.Parse(Tool.Run(_program, Rounds.ToString(CultureInfo.InvariantCulture)), CultureInfo.InvariantCulture);
        }

        using Microsoft.Win32.SafeHandles.SafeFileHandle file = File.OpenHandle(_cached);
        RandomAccess.Read(file, _block, 0);
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < Rounds; i++)
        {
            RandomAccess.Read(file, _block, 0);
        }

        return Stopwatch.GetElapsedTime(start).TotalMicroseconds / Rounds;
    }

    public void Dispose()
    {
        _client?.Dispose();
        if (_host is not null)
        {
            _host.Kill();
            _host.WaitForExit();
            _host.Dispose();
        }
    }

    private static double RunPipe()
    {
        using FramePool frames = FramePool.Create();
        using ExoEnvironment root = ExoEnvironment.CreateRoot(frames.Authority);
        using Scheduler scheduler = new();
        ScheduledEnvironment a = scheduler.Admit(root.CreateChild([1]));
        ScheduledEnvironment b = scheduler.Admit(root.CreateChild([2]));
        (PipeReadEnd heard, PipeWriteEnd there) = Core.Ipc.Pipe.Create(frames, root, b.Environment, a.Environment);
        (PipeReadEnd back, PipeWriteEnd answer) = Core.Ipc.Pipe.Create(frames, root, a.Environment, b.Environment);
        Task echo = b.Start(async _ =>
        {
            byte[] bytes = new byte[1];
            while (await heard.ReadAsync(bytes) > 0)
            {
                await answer.WriteAsync(bytes);
            }
        });
        double microseconds = a.Start(async _ =>
        {
            byte[] bytes = new byte[1];
            long start = 0;
            for (int i = -(Rounds / 2); i < Rounds; i++)
            {
                start = i == 0 ? Stopwatch.GetTimestamp() : start;
                await there.WriteAsync(bytes);
                await back.ReadAsync(bytes);
            }

            return Stopwatch.GetElapsedTime(start).TotalMicroseconds / Rounds;
        }).GetAwaiter().GetResult();
        there.Dispose();
        echo.GetAwaiter().GetResult();
        return microseconds;
    }

    private void Once()
    {
        if (work == HostWork.Call)
        {
            _client!.Ping();
        }
        else if (!_client!.TryReadCached(_root, _block))
        {
            throw new InvalidOperationException("The block is not in this process's memory.");
        }
    }
}
