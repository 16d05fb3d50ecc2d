// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Exo.Core.Environments;
using ExOS.Files;

namespace ExOS.Processes;

/// <summary>All processes, by number. Its lock guards who is whose child, who has ended, and groups; nothing waits under it.</summary>
internal sealed class ProcessTable(ExosSystem system)
{
    private readonly Lock _lock = new();
    private readonly SortedDictionary<int, Process> _processes = [];
    private int _last;

    /// <summary>The first process, which has no parent and takes over the children of those who end.</summary>
    public Process? Init { get; private set; }

    public Process[] All
    {
        get
        {
            lock (_lock)
            {
                return [.. _processes.Values];
            }
        }
    }

    /// <summary>Begins the first process.</summary>
    public (Process Process, Task Done) StartInit(ProgramMain main, DescriptorTable descriptors)
    {
        (ExoEnvironment environment, int id) = NewEnvironment();
        Process init = new(system, id, null, environment, ProcessMemory.Empty(system.Frames, environment.Credential), descriptors);
        Init = init;
        return (init, Begin(init, main));
    }

    /// <summary>The second half of a fork.</summary>
    public Process Start(Process parent, ProgramMain main)
    {
        (ExoEnvironment environment, int id) = NewEnvironment();
        Process child;
        try
        {
            child = new Process(system, id, parent, environment, parent.Memory.Fork(environment.Credential), parent.Descriptors.ForFork(environment));
        }
        catch (InvalidOperationException)
        {
            environment.Dispose();
            throw new ExosException(Errno.TryAgain);
        }

        _ = Begin(child, main);
        return child;
    }

    /// <summary>Takes the status of a child that has ended.</summary>
    /// <exception cref="ExosException">NoChild.</exception>
    public (int Id, ExitStatus Status)? TryReap(Process parent, int id)
    {
        Process? ended;
        lock (_lock)
        {
            Process[] children = [.. _processes.Values.Where(process => process.Parent == parent && (id < 0 || process.Id == id))];
            if (children.Length == 0)
            {
                throw new ExosException(Errno.NoChild);
            }

            ended = Array.Find(children, child => child.Ended is not null);
            if (ended is null)
            {
                return null;
            }

            _ = _processes.Remove(ended.Id);
        }

        ended.Vanish();
        return (ended.Id, ended.Ended!.Value);
    }

    /// <exception cref="ExosException">NoProcess.</exception>
    public void Send(int id, Signal signal)
    {
        Process[] targets;
        lock (_lock)
        {
            targets = [.. _processes.Values.Where(process => (id > 0 ? process.Id == id : process.Group == -id) && process.Ended is null)];
        }

        if (targets.Length == 0)
        {
            throw new ExosException(Errno.NoProcess);
        }

        foreach (Process target in targets)
        {
            if (signal != Signal.None)
            {
                target.Signals.Send(signal);
            }
        }
    }

    public void SetGroup(Process process, int group)
    {
        lock (_lock)
        {
            process.Group = group;
        }
    }

    /// <summary>A process has come to its end: its children get another parent, and its parent hears of it.</summary>
    public void End(Process process, ExitStatus status)
    {
        Process? parent;
        List<Process> orphans = [];
        lock (_lock)
        {
            process.Ended = status;
            foreach (Process child in _processes.Values.Where(child => child.Parent == process))
            {
                child.Parent = Init;
                if (child.Ended is not null)
                {
                    orphans.Add(child);
                }
            }

            parent = process.Parent;
            if (process == Init || parent?.Ended is not null)
            {
                parent = null;
            }

            parent?.CountEndedChild();
        }

        parent?.Signals.Send(Signal.Child);
        foreach (Process _ in orphans)
        {
            Init?.CountEndedChild();
        }
    }

    private Task<bool> Begin(Process process, ProgramMain main)
    {
        lock (_lock)
        {
            _processes.Add(process.Id, process);
        }

        return process.Schedule.Start(_ => process.RunAsync(main));
    }

    private (ExoEnvironment Environment, int Id) NewEnvironment()
    {
        int id = Interlocked.Increment(ref _last);
        return (system.Root.CreateChild(Encoding.ASCII.GetBytes(id.ToString(CultureInfo.InvariantCulture))), id);
    }
}
