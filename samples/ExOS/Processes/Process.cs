// SPDX-License-Identifier: MIT
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Predicates;
using Exo.Core.Scheduling;
using Exo.Capabilities;
using ExOS.Files;
using ExOS.Network;

namespace ExOS.Processes;

/// <summary>Where a program begins.</summary>
/// <param name="self">The process that runs it.</param>
/// <returns>The exit status.</returns>
internal delegate ValueTask<int> ProgramMain(Process self);

/// <summary>
/// A process: an environment of Exo on the scheduler, an address space, descriptors, and what UNIX adds: parent and group, a working directory, signals. Its methods are its system calls; a program is code that is
/// given its process and uses nothing else.
/// <code>
///   Fork → running --(Main returns, Exit, signal)--> zombie --(parent waits)--> gone
/// </code>
/// One flow runs in a process at a time; only <see cref="Signals"/>.Send and what <see cref="ProcessTable"/> guards is used by others.
/// </summary>
internal sealed class Process
{
    private readonly FrameNumber _words;

    public Process(ExosSystem system, int id, Process? parent, ExoEnvironment environment, ProcessMemory memory, DescriptorTable descriptors)
    {
        System = system;
        Id = id;
        Parent = parent;
        Group = parent?.Group ?? id;
        Environment = environment;
        Schedule = system.Scheduler.Admit(environment);
        Memory = memory;
        Descriptors = descriptors;
        Variables = new ProcessVariables(memory);
        Signals = parent?.Signals.ForFork() ?? new SignalState();
        Files = new FileCalls(this) { WorkingDirectory = parent?.Files.WorkingDirectory ?? "/" };
        Sockets = new SocketCalls(this);
        Name = parent?.Name ?? "init";
        Arguments = parent?.Arguments ?? ["init"];
        if (!system.Frames.TryAllocate(system.Frames.RootCredential, out _words, zero: true))
        {
            throw new ExosException(Errno.NoMemory);
        }
    }

    public ExosSystem System { get; }

    public int Id { get; }

    /// <summary>Under the process table's lock: init takes over the children of those who end.</summary>
    public Process? Parent { get; set; }

    /// <summary>The process group: whom ^C reaches together.</summary>
    public int Group { get; set; }

    public ExoEnvironment Environment { get; }

    public ScheduledEnvironment Schedule { get; }

    public ProcessMemory Memory { get; private set; }

    public ProcessVariables Variables { get; private set; }

    public DescriptorTable Descriptors { get; }

    public SignalState Signals { get; }

    /// <summary>Calls about files and descriptors.</summary>
    public FileCalls Files { get; }

    /// <summary>Calls about sockets.</summary>
    public SocketCalls Sockets { get; }

    public string Name { get; private set; }

    /// <summary>The program's arguments; the first one is what it was called by.</summary>
    public IReadOnlyList<string> Arguments { get; private set; }

    /// <summary>How it has ended, when it has. Under the process table's lock.</summary>
    public ExitStatus? Ended { get; set; }

    /// <summary>
    /// Makes a child with a copy of the memory, made when somebody writes, and with the same descriptors, directory and signal dispositions. In C# a method cannot return twice, so the child begins at a place of its own:
    /// a method without captured state, which finds what it needs in the memory.
    /// </summary>
    /// <exception cref="ArgumentException">The child's code has captured something of the parent's.</exception>
    /// <exception cref="ExosException">TryAgain: no time slice is free; NoMemory.</exception>
    public Process Fork(ProgramMain child)
    {
        if (child.Target is { } target && target.GetType().GetFields(global::System.Reflection.BindingFlags.Instance | global::System.Reflection.BindingFlags.Public | global::System.Reflection.BindingFlags.NonPublic).Length > 0)
        {
            throw new ArgumentException("a child begins with its memory and nothing else: use a static method", nameof(child));
        }

        Signals.Deliver();
        return System.Processes.Start(this, child);
    }

    /// <summary>Becomes another program: with new memory that has the exported variables, without the descriptors that are closed on exec, without handlers. <c>return await self.ExecAsync(…)</c>.</summary>
    /// <param name="path">A file: <c>#!exos NAME</c> is a program of the system, <c>#!PATH</c> an interpreter.</param>
    /// <param name="arguments">The first one is what the program shall think it is called.</param>
    /// <param name="found">Called when there is no way back: what is thrown from then on is the new program's.</param>
    /// <exception cref="ExosException">NotFound, AccessDenied, NotExecutable: then nothing has changed.</exception>
    public async ValueTask<int> ExecAsync(string path, IReadOnlyList<string> arguments, Action? found = null)
    {
        (ProgramMain main, string name, IReadOnlyList<string> actual) = await System.Programs.LoadAsync(this, path, arguments);
        found?.Invoke();
        ProcessMemory memory = ProcessMemory.Empty(System.Frames, Environment.Credential);
        ProcessVariables variables = new(memory);
        Variables.CopyExported(variables);
        Memory.Dispose();
        (Memory, Variables) = (memory, variables);
        Descriptors.CloseOnExec();
        Signals.ResetForExec();
        (Name, Arguments) = (name, actual);
        return await main(this);
    }

    /// <summary>Waits until a child ends, and takes its status.</summary>
    /// <param name="id">Which; -1: any.</param>
    /// <param name="block">False: does not wait; the result is null when none has ended.</param>
    /// <exception cref="ExosException">NoChild; Interrupted.</exception>
    public async ValueTask<(int Id, ExitStatus Status)?> WaitAsync(int id = -1, bool block = true)
    {
        while (true)
        {
            if (Signals.Deliver())
            {
                throw new ExosException(Errno.Interrupted);
            }

            ulong seen = Word();
            if (System.Processes.TryReap(this, id) is { } ended)
            {
                return ended;
            }

            if (!block)
            {
                return null;
            }

            SecureBinding<Frame> words = System.Frames.Bind(System.Frames.RootCredential, _words, Rights.Read);
            using WakeupPredicate childEnded = WakeupPredicate.Bind(new PredicateProduct(1, PredicateValue.Word(words, 0).NotEqualTo(seen)));
            await SleepAsync(childEnded);
        }
    }

    /// <summary>Sleeps until a predicate holds or a signal comes; which of the two the caller finds out.</summary>
    public async ValueTask SleepAsync(WakeupPredicate predicate)
    {
        try
        {
            _ = await Environment.SleepUntil(predicate, Signals.Interruption);
        }
        catch (OperationCanceledException)
        {
            // A signal: the caller delivers it.
        }
    }

    /// <summary>Lets time pass.</summary>
    /// <exception cref="ExosException">Interrupted.</exception>
    public async ValueTask PauseAsync(TimeSpan time)
    {
        DateTimeOffset end = System.Time.GetUtcNow() + time;
        using WakeupPredicate isOver = WakeupPredicate.Bind(new PredicateProduct(1, PredicateValue.Now.AtLeast(PredicateValue.Of(end))), System.Time);
        do
        {
            await SleepAsync(isOver);
            if (Signals.Deliver())
            {
                throw new ExosException(Errno.Interrupted);
            }
        }
        while (System.Time.GetUtcNow() < end);
    }

    /// <summary>What long computations call now and then: gives way when the time slice is over, and takes signals.</summary>
    public async ValueTask CheckpointAsync()
    {
        await Schedule.Checkpoint();
        _ = Signals.Deliver();
    }

    /// <summary>Sends a signal to a process, or to a group (a negative number).</summary>
    /// <exception cref="ExosException">NoProcess.</exception>
    public void Kill(int id, Signal signal)
    {
        System.Processes.Send(id, signal);
        _ = Signals.Deliver();
    }

    /// <summary>Ends the process.</summary>
    public static void Exit(int code) => throw new ProcessExit(new ExitStatus(code));

    /// <summary>Runs from the beginning to the end.</summary>
    public async ValueTask<bool> RunAsync(ProgramMain main)
    {
        ExitStatus status;
        try
        {
            status = new ExitStatus(await main(this));
        }
        catch (ProcessExit exit)
        {
            status = exit.Status;
        }
#pragma warning disable CA1031 // Whatever a program throws is the end of its process, and of nothing else.
        catch (Exception error)
#pragma warning restore CA1031
        {
            status = new ExitStatus(error is Tools.UsageException ? 2 : 1);
            await ComplainAsync(error);
        }

        Descriptors.CloseAll();
        Memory.Dispose();
        System.Processes.End(this, status);
        return true;
    }

    /// <summary>A child of this process has ended. Under the process table's lock.</summary>
    public void CountEndedChild()
    {
        ref ulong word = ref global::System.Runtime.InteropServices.MemoryMarshal.AsRef<ulong>(System.Frames.Bytes(_words));
        Volatile.Write(ref word, word + 1);
        System.Frames.Ring(_words);
    }

    /// <summary>When the parent has taken the status.</summary>
    public void Vanish()
    {
        Environment.Dispose();
        System.Frames.Release(_words);
    }

    private ulong Word() => Volatile.Read(ref global::System.Runtime.InteropServices.MemoryMarshal.AsRef<ulong>(System.Frames.Bytes(_words)));

    private async ValueTask ComplainAsync(Exception error)
    {
        try
        {
            string text = error is IOException and not ExosException ? ExosException.Text(error) : error is ExosException or Tools.UsageException ? error.Message : error.ToString();
            await Files.WriteAsync(2, global::System.Text.Encoding.UTF8.GetBytes($"{Name}: {text}\n"));
        }
        catch (Exception unheard) when (unheard is IOException or ProcessExit or ObjectDisposedException)
        {
            // Nobody listens.
        }
    }
}
