// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using ExOS;
using ProcessInExos = ExOS.Processes.Process;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>Processes of ExOS, which share one process of the host's, beside processes of the kernel's.</summary>
internal sealed class ExosRow(string name, bool forks) : IPeerRow
{
    private readonly int _count = forks ? 2_000 : 200_000;
    private string _program = "";
    private string _image = "";

    public string Name => name;

    public string Work => forks ? "a child is forked, ends, and is waited for" : "a byte through a pipe to another process, and back through a second one";

    public string Peer => "the same in C, between processes of the kernel's";

    public string Unit => "µs";

    public bool MoreIsBetter => false;

    public string? Missing() => Tool.Missing("gcc");

    public void Prepare(WorkFolder folder)
    {
        _program = CProgram.Compile(folder, "unix_process");
        _image = folder["exos.img"];
        RunExo();
    }

    public double RunExo()
    {
        double microseconds = 0;
        using ExosSystem system = ExosSystem.Boot(_image, 16 << 20, Stream.Null, Stream.Null, isInteractive: false);
        int status = system.Run(async self =>
        {
            long began = Stopwatch.GetTimestamp();
            if (forks)
            {
                await ForkAsync(self);
            }
            else
            {
                await PingAsync(self);
            }

            microseconds = Stopwatch.GetElapsedTime(began).TotalMicroseconds / _count;
            return 0;
        });
        return status == 0 ? microseconds : throw new InvalidOperationException($"status {status}");
    }

    public double RunPeer() => double.Parse(Tool.Run(_program, forks ? "fork" : "pipe", _count.ToString(CultureInfo.InvariantCulture)), CultureInfo.InvariantCulture);

    public void Dispose()
    {
    }

    // Descriptors 3 and 4 are the pipe there, 5 and 6 the one back.
    private static async ValueTask<int> EchoAsync(ProcessInExos self)
    {
        self.Files.Close(4);
        byte[] one = new byte[1];
        while (await self.Files.ReadAsync(3, one) == 1)
        {
            await self.Files.WriteAsync(6, one);
        }

        return 0;
    }

    private async ValueTask PingAsync(ProcessInExos self)
    {
        _ = self.Files.MakePipe();
        _ = self.Files.MakePipe();
        _ = self.Fork(EchoAsync);
        byte[] one = new byte[1];
        for (int i = 0; i < _count; i++)
        {
            await self.Files.WriteAsync(4, one);
            _ = await self.Files.ReadAsync(5, one);
        }
    }

    private async ValueTask ForkAsync(ProcessInExos self)
    {
        for (int i = 0; i < _count; i++)
        {
            _ = self.Fork(static _ => new ValueTask<int>(0));
            _ = await self.WaitAsync();
        }
    }
}
