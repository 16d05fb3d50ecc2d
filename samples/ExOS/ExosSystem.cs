// SPDX-License-Identifier: MIT
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Scheduling;
using Exo.FileSystems.CFFS;
using ExOS.Files;
using ExOS.Network;
using ExOS.Proc;
using ExOS.Processes;
using ExOS.Terminals;

namespace ExOS;

/// <summary>
/// A running ExOS: what all processes share. Everything below is the exokernel's: frames, environments on a scheduler, pipes, a disk. What makes a UNIX of it is in the folders beside: processes, files, a terminal, a shell.
/// </summary>
internal sealed class ExosSystem : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(2);
    private readonly CffsVolume _volume;
    private (string Path, IReadOnlyList<string> Arguments) _command;

    private ExosSystem(FramePool frames, CffsVolume volume, Terminal terminal, ExosNetwork network)
    {
        Frames = frames;
        _volume = volume;
        Terminal = terminal;
        Time = TimeProvider.System;
        Scheduler = new Scheduler();
        Root = ExoEnvironment.CreateRoot(frames.Authority);
        Programs = new ProgramRegistry();
        Processes = new ProcessTable(this);
        Mounts = new MountTable();
        Network = network;
    }

    public FramePool Frames { get; }

    public Scheduler Scheduler { get; }

    /// <summary>The environment that all processes' are children of, and that owns pipes.</summary>
    public ExoEnvironment Root { get; }

    public TimeProvider Time { get; }

    public Terminal Terminal { get; }

    public ProgramRegistry Programs { get; }

    public ProcessTable Processes { get; }

    public MountTable Mounts { get; }

    public ExosNetwork Network { get; }

    /// <summary>The disk below the root.</summary>
    public CffsVolume Volume => _volume;

    /// <summary>Boots from an image, which is made if it is not there.</summary>
    /// <param name="network">What sockets are made on; null: a network within the system.</param>
    public static ExosSystem Boot(string image, long sizeBytes, Stream input, Stream output, bool isInteractive, Func<FramePool, ExosNetwork>? network = null)
    {
        FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 256 << 20 });
        ExosNetwork? opened = null;
        try
        {
            opened = network?.Invoke(frames) ?? new LoopbackNetwork(frames);
            CffsVolume volume = File.Exists(image)
                ? CffsVolume.Open(image, new CffsOpenOptions { Frames = frames })
                : CffsVolume.Create(image, new CffsCreateOptions { SizeBytes = sizeBytes, Open = new CffsOpenOptions { Frames = frames } });
            ExosSystem system = new(frames, volume, new Terminal(frames, input, output, isInteractive), opened);
            system.Populate();
            system.Mounts.Add("/", new CffsTree(volume), image);
            system.Mounts.Add("/dev", new DeviceTree(system.Terminal), "dev");
            system.Mounts.Add("/proc", new ProcTree(system), "proc");
            return system;
        }
        catch
        {
            opened?.Dispose();
            frames.Dispose();
            throw;
        }
    }

    /// <summary>Executes a program as the first process that init forks, and returns its status when it has ended; what it has left running is killed.</summary>
    public int Run(string path, IReadOnlyList<string> arguments)
    {
        _command = (path, arguments);
        return Run(ExecuteCommandAsync);
    }

    /// <summary>As above, with code in the place of a program.</summary>
    public int Run(ProgramMain first)
    {
        DescriptorTable descriptors = new();
        TerminalFile terminal = new(Terminal);
        _ = descriptors.Add(terminal);
        descriptors.Duplicate(0, 1);
        descriptors.Duplicate(0, 2);
        int status = 0;
        (_, Task done) = Processes.StartInit(
            async self =>
            {
                self.Variables["PATH"] = "/bin";
                self.Variables["HOME"] = "/home";
                self.Variables.Export("PATH");
                self.Variables.Export("HOME");
                self.Files.WorkingDirectory = self.Files.TryStat("/home") is not null ? "/home" : "/";
                self.Signals.Ignore(Signal.Interrupt);
                Process child = Processes.Start(self, async process =>
                {
                    process.Signals.Default(Signal.Interrupt);
                    Processes.SetGroup(process, process.Id);
                    Terminal.Foreground = process.Id;
                    return await first(process);
                });
                status = await ReapUntilAsync(self, child.Id);
                foreach (Process left in Processes.All.Where(process => process != self))
                {
                    left.Signals.Send(Signal.Kill);
                }

                return status;
            },
            descriptors);
        done.GetAwaiter().GetResult();
        return status;
    }

    /// <summary>^C: for the group in the foreground.</summary>
    public void Interrupt()
    {
        try
        {
            Processes.Send(-Terminal.Foreground, Signal.Interrupt);
        }
        catch (ExosException)
        {
            // It has just ended.
        }
    }

    public void Dispose()
    {
        // Whoever does not come to a system call in time is stopped where he stands.
        long end = Environment.TickCount64 + (long)s_patience.TotalMilliseconds;
        while (Processes.All.Any(process => process.Ended is null) && Environment.TickCount64 < end)
        {
            Thread.Yield();
        }

        Network.Dispose();
        Scheduler.Dispose();
        Mounts.Dispose();
        _volume.Dispose();
        Root.Dispose();
        Frames.Dispose();
    }

    private static ValueTask<int> ExecuteCommandAsync(Process self) => self.ExecAsync(self.System._command.Path, self.System._command.Arguments);

    private static async ValueTask<int> ReapUntilAsync(Process init, int first)
    {
        while (await init.WaitAsync() is { } ended)
        {
            if (ended.Id == first)
            {
                return ended.Status.ShellStatus;
            }
        }

        return 1;
    }

    /// <summary>Directories, and in <c>/bin</c> a line for each program, on an image that has not got them.</summary>
    private void Populate()
    {
        foreach (string directory in new[] { "/bin", "/dev", "/home", "/mnt", "/proc", "/tmp" })
        {
            if (!_volume.Exists(directory))
            {
                _volume.CreateDirectory(directory);
            }
        }

        foreach (string name in Programs.Names)
        {
            if (!_volume.Exists($"/bin/{name}"))
            {
                _volume.WriteAllBytes($"/bin/{name}", global::System.Text.Encoding.UTF8.GetBytes($"#!exos {name}\n"), 0x1ED);
            }
        }
    }
}
