// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using ExOS.Files;
using ExOS.Processes;
using ExOS.Tools;

namespace ExOS.Shell;

/// <summary>Runs what the parser made, in one process. Its variables are in the process's memory; everything else of its state a child finds in its <see cref="ChildTask"/>.</summary>
internal sealed class Interpreter
{
    private readonly Process _self;
    private readonly Expansion _expansion;
    private readonly Builtins _builtins;

    public Interpreter(Process self, IReadOnlyList<string> parameters, bool hasJobControl)
    {
        _self = self;
        _expansion = new Expansion(self, this);
        _builtins = new Builtins(self, this);
        Parameters = parameters;
        ShellId = self.Id;
        HasJobControl = hasJobControl;
    }

    public IReadOnlyList<string> Parameters { get; set; }

    public int ShellId { get; private init; }

    public int LastStatus { get; set; }

    public int LastBackground { get; private set; }

    /// <summary>Whether each job is a group of its own that the terminal's ^C reaches alone: at a terminal.</summary>
    public bool HasJobControl { get; }

    /// <summary>Jobs in the background. A child has none.</summary>
    public JobList Jobs { get; } = new();

    public async ValueTask<int> RunAsync(Node node)
    {
        switch (node)
        {
            case Sequence sequence:
                foreach ((Node item, bool isBackground, string text) in sequence.Items)
                {
                    await _self.CheckpointAsync();
                    LastStatus = isBackground ? await StartBackgroundAsync(text) : await RunAsync(item);
                }

                return LastStatus;
            case AndOr andOr:
                LastStatus = await RunAsync(andOr.First);
                foreach ((bool isAnd, Node next) in andOr.Rest)
                {
                    LastStatus = (LastStatus == 0) == isAnd ? await RunAsync(next) : LastStatus;
                }

                return LastStatus;
            case Pipeline pipeline:
                int status = await RunPipelineAsync(pipeline.Commands);
                return LastStatus = pipeline.IsNegated ? (status == 0 ? 1 : 0) : status;
            default:
                throw new InvalidOperationException($"{node} is no list");
        }
    }

    /// <summary>What a command writes, without the line feeds at the end: <c>$(command)</c>.</summary>
    public async ValueTask<string> OutputOfAsync(string text)
    {
        (int reader, int writer) = _self.Files.MakePipe();
        Process child = Fork(text, input: -1, output: writer, group: -1, isBackground: false);
        _self.Files.Close(writer);
        using MemoryStream output = new();
        byte[] buffer = new byte[4096];
        while (await _self.Files.ReadAsync(reader, buffer) is int count and > 0)
        {
            output.Write(buffer, 0, count);
        }

        _self.Files.Close(reader);
        LastStatus = await WaitForAsync(child.Id);
        return Encoding.UTF8.GetString(output.ToArray()).TrimEnd('\n');
    }

    /// <summary>Waits for a child, whatever signals come meanwhile.</summary>
    public async ValueTask<int> WaitForAsync(int id)
    {
        while (true)
        {
            try
            {
                return (await _self.WaitAsync(id))!.Value.Status.ShellStatus;
            }
            catch (ExosException interrupted) when (interrupted.Errno == Errno.Interrupted)
            {
                // ^C is for the job in the foreground, and its end is what is waited for.
            }
        }
    }

    public ValueTask ComplainAsync(string text) => _self.Files.WriteAsync(2, Encoding.UTF8.GetBytes($"sh: {text}\n"));

    private async ValueTask<int> RunPipelineAsync(IReadOnlyList<Command> commands)
    {
        if (commands.Count == 1 && RunsHere(commands[0]))
        {
            return await RunHereAsync(commands[0]);
        }

        List<Process> children = StartPipeline(commands);
        int group = children[0].Id;
        if (HasJobControl)
        {
            _self.System.Terminal.Foreground = group;
        }

        int status = 0;
        foreach (Process child in children)
        {
            status = await WaitForAsync(child.Id);
        }

        if (HasJobControl)
        {
            _self.System.Terminal.Foreground = _self.Group;
        }

        return status;
    }

    private List<Process> StartPipeline(IReadOnlyList<Command> commands)
    {
        List<Process> children = [];
        int input = -1;
        for (int i = 0; i < commands.Count; i++)
        {
            (int reader, int writer) = i + 1 < commands.Count ? _self.Files.MakePipe() : (-1, -1);
            int group = !HasJobControl ? -1 : children.Count == 0 ? 0 : children[0].Id;
            children.Add(Fork(commands[i].Text, input, writer, group, isBackground: false));
            foreach (int used in new[] { input, writer })
            {
                if (used >= 0)
                {
                    _self.Files.Close(used);
                }
            }

            input = reader;
        }

        return children;
    }

    private async ValueTask<int> StartBackgroundAsync(string text)
    {
        Process child = Fork(text, input: -1, output: -1, group: HasJobControl ? 0 : -1, isBackground: true);
        LastBackground = child.Id;
        int number = Jobs.Add(child.Id, text);
        if (HasJobControl)
        {
            await _self.Files.WriteAsync(2, Encoding.UTF8.GetBytes($"[{number}] {child.Id}\n"));
        }

        return 0;
    }

    private Process Fork(string text, int input, int output, int group, bool isBackground)
    {
        new ChildTask(text, input, output, group, isBackground, ShellId, LastStatus, LastBackground, Parameters).Leave(_self.Memory);
        Process child = _self.Fork(BeChildAsync);
        if (group >= 0)
        {
            // The child does this too: whoever comes first, it is done before it matters.
            _self.System.Processes.SetGroup(child, group == 0 ? child.Id : group);
        }

        return child;
    }

    /// <summary>Where a forked child begins: it has its memory and its descriptors.</summary>
    private static async ValueTask<int> BeChildAsync(Process self)
    {
        ChildTask task = ChildTask.Find(self.Memory);
        self.Signals.Default(Signal.Interrupt);
        if (task.Group >= 0)
        {
            int group = task.Group == 0 ? self.Id : task.Group;
            self.System.Processes.SetGroup(self, group);
            if (!task.IsBackground)
            {
                // The parent does this too, but what the child writes may be answered with ^C before it comes to that.
                self.System.Terminal.Foreground = group;
            }
        }

        if (task.Input >= 0)
        {
            self.Descriptors.Duplicate(task.Input, 0);
        }
        else if (task.IsBackground)
        {
            self.Descriptors.Replace(0, new NullFile());
        }

        if (task.Output >= 0)
        {
            self.Descriptors.Duplicate(task.Output, 1);
        }

        // The parent's ends of pipes would keep them open; they are the ones that an exec closes.
        self.Descriptors.CloseOnExec();
        Interpreter shell = new(self, task.Parameters, hasJobControl: false) { ShellId = task.ShellId, LastStatus = task.LastStatus, LastBackground = task.LastBackground };
        Sequence list = Parser.Parse(task.Text);
        return list.Items is [{ IsBackground: false, Node: Pipeline { IsNegated: false, Commands: [var only] } }] ? await shell.RunAsChildAsync(only) : await shell.RunAsync(list);
    }

    /// <summary>The command is all that this process is for: a program takes its place.</summary>
    private async ValueTask<int> RunAsChildAsync(Command command)
    {
        if (command is Group { IsSubshell: true } subshell)
        {
            return await RedirectAsync(command.Redirections) ? await RunAsync(subshell.Body) : 1;
        }

        if (RunsHere(command))
        {
            return await RunHereAsync(command);
        }

        SimpleCommand simple = (SimpleCommand)command;
        List<string> fields = await _expansion.FieldsAsync(simple.Words);
        await AssignAsync(simple, exports: fields.Count > 0);
        if (!await RedirectAsync(simple.Redirections) || fields.Count == 0)
        {
            return fields.Count == 0 ? LastStatus : 1;
        }

        return _builtins.Find(fields[0]) is { } builtin ? await builtin(fields) : await ExecuteAsync(fields);
    }

    /// <summary>Finds a program and becomes it.</summary>
    public async ValueTask<int> ExecuteAsync(IReadOnlyList<string> fields)
    {
        string? path = fields[0].Contains('/', StringComparison.Ordinal)
            ? fields[0]
            : (_self.Variables["PATH"] ?? "").Split(':').Select(directory => Tool.Join(directory, fields[0])).FirstOrDefault(candidate => _self.Files.TryStat(candidate) is { Kind: FileKind.File });
        if (path is null)
        {
            await ComplainAsync($"{fields[0]}: command not found");
            return 127;
        }

        bool isFound = false;
        try
        {
            return await _self.ExecAsync(path, fields, found: () => isFound = true);
        }
        catch (IOException error) when (!isFound)
        {
            await ComplainAsync($"{fields[0]}: {ExosException.Text(error)}");
            return ExosException.Of(error) == Errno.NotFound ? 127 : 126;
        }
    }

    private bool RunsHere(Command command) => command switch
    {
        SimpleCommand simple => simple.Words.Count == 0 || (simple.Words[0].Plain is { } name && _builtins.Find(name) is not null),
        Group group => !group.IsSubshell,
        _ => true,
    };

    /// <summary>Runs a command in this process; redirections are taken back afterwards.</summary>
    private async ValueTask<int> RunHereAsync(Command command)
    {
        List<(int Descriptor, OpenFile? File)> saved = [];
        foreach (int descriptor in command.Redirections.Select(redirection => redirection.Descriptor).Distinct())
        {
            OpenFile? file = _self.Descriptors.IsOpen(descriptor) ? _self.Descriptors[descriptor] : null;
            file?.Hold();
            saved.Add((descriptor, file));
        }

        try
        {
            return await RedirectAsync(command.Redirections) ? await RunBodyAsync(command) : 1;
        }
        finally
        {
            foreach ((int descriptor, OpenFile? file) in saved)
            {
                if (file is not null)
                {
                    _self.Descriptors.Replace(descriptor, file);
                }
                else if (_self.Descriptors.IsOpen(descriptor))
                {
                    _self.Descriptors.Close(descriptor);
                }
            }
        }
    }

    private async ValueTask<int> RunBodyAsync(Command command)
    {
        switch (command)
        {
            case SimpleCommand simple:
                int before = LastStatus;
                LastStatus = 0;
                await AssignAsync(simple, exports: false);
                int substituted = LastStatus;
                LastStatus = before;
                List<string> fields = await _expansion.FieldsAsync(simple.Words);
                return fields.Count == 0 ? substituted : await _builtins.Find(fields[0])!(fields);
            case Group group:
                return await RunAsync(group.Body);
            case If choice:
                foreach ((Node condition, Node body) in choice.Branches)
                {
                    if (await RunAsync(condition) == 0)
                    {
                        return await RunAsync(body);
                    }
                }

                return choice.Else is null ? 0 : await RunAsync(choice.Else);
            case While loop:
                int status = 0;
                while ((await RunAsync(loop.Condition) == 0) != loop.IsUntil)
                {
                    status = await RunAsync(loop.Body);
                }

                return status;
            case For each:
                int last = 0;
                foreach (string value in await _expansion.FieldsAsync(each.Words))
                {
                    _self.Variables[each.Name] = value;
                    last = await RunAsync(each.Body);
                }

                return last;
            default:
                throw new InvalidOperationException($"{command} is no command");
        }
    }

    private async ValueTask AssignAsync(SimpleCommand command, bool exports)
    {
        foreach ((string name, Word value) in command.Assignments)
        {
            _self.Variables[name] = await _expansion.TextAsync(value);
            if (exports)
            {
                _self.Variables.Export(name);
            }
        }
    }

    private async ValueTask<bool> RedirectAsync(IReadOnlyList<Redirection> redirections)
    {
        foreach (Redirection redirection in redirections)
        {
            string target = await _expansion.TextAsync(redirection.Target);
            try
            {
                if (redirection.Operator == ">&")
                {
                    _self.Descriptors.Duplicate(int.TryParse(target, CultureInfo.InvariantCulture, out int from) ? from : throw new ExosException(Errno.BadDescriptor), redirection.Descriptor);
                }
                else
                {
                    OpenFlags flags = redirection.Operator switch
                    {
                        "<" => OpenFlags.Read,
                        ">" => OpenFlags.Write | OpenFlags.Create | OpenFlags.Truncate,
                        _ => OpenFlags.Write | OpenFlags.Create | OpenFlags.Append,
                    };
                    _self.Descriptors.Replace(redirection.Descriptor, await _self.Files.OpenFileAsync(target, flags));
                }
            }
            catch (IOException error)
            {
                await ComplainAsync($"{target}: {ExosException.Text(error)}");
                return false;
            }
        }

        return true;
    }
}
