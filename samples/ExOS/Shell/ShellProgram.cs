// SPDX-License-Identifier: MIT
using System.Text;
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Shell;

/// <summary>sh: a shell. <c>sh -c TEXT</c>, <c>sh FILE [ARGUMENT…]</c>, or what comes on standard input, with a prompt at a terminal.</summary>
internal static class ShellProgram
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        switch (self.Arguments.ToArray())
        {
            case [var name, "-c", var text, .. var rest]:
                return await RunTextAsync(new Interpreter(self, [rest.FirstOrDefault(name), .. rest.Skip(1)], hasJobControl: false), text);
            case [_, var path, .. var rest] when path[0] != '-':
                return await RunTextAsync(new Interpreter(self, [path, .. rest], hasJobControl: false), await ReadAllAsync(self, path));
            case [var name]:
                return await RunInputAsync(self, new Interpreter(self, [name], self.Descriptors[0].IsTerminal));
            default:
                throw new Tools.UsageException("usage: sh [-c TEXT | FILE] [ARGUMENT…]");
        }
    }

    private static async ValueTask<int> RunTextAsync(Interpreter shell, string text)
    {
        try
        {
            return await shell.RunAsync(Parser.Parse(text));
        }
        catch (SyntaxException error)
        {
            await shell.ComplainAsync(error.Message);
            return 2;
        }
    }

    private static async ValueTask<int> RunInputAsync(Process self, Interpreter shell)
    {
        bool isInteractive = shell.HasJobControl;
        if (isInteractive)
        {
            // ^C at the prompt begins a new line; what runs in the foreground is another group.
            self.Signals.Handle(Signal.Interrupt, () => { }, restarts: false);
        }

        StringBuilder text = new();
        while (true)
        {
            if (isInteractive)
            {
                await TellOfJobsAsync(self, shell);
                await PromptAsync(self, text.Length > 0);
            }

            string? line;
            try
            {
                line = await ReadLineAsync(self);
            }
            catch (ExosException interrupted) when (interrupted.Errno == Errno.Interrupted)
            {
                text.Clear();
                await self.Files.WriteAsync(1, "\n"u8.ToArray());
                continue;
            }

            if (line is null)
            {
                if (isInteractive)
                {
                    await self.Files.WriteAsync(1, "exit\n"u8.ToArray());
                }

                return text.Length > 0 ? await RunTextAsync(shell, text.ToString()) : shell.LastStatus;
            }

            text.Append(line).Append('\n');
            try
            {
                Sequence list = Parser.Parse(text.ToString());
                text.Clear();
                await shell.RunAsync(list);
            }
            catch (SyntaxException incomplete) when (incomplete.IsIncomplete)
            {
                // The next line belongs to it.
            }
            catch (SyntaxException error)
            {
                text.Clear();
                shell.LastStatus = 2;
                await shell.ComplainAsync(error.Message);
            }
            catch (ExosException error)
            {
                text.Clear();
                shell.LastStatus = 1;
                await shell.ComplainAsync(error.Message);
            }
        }
    }

    private static async ValueTask PromptAsync(Process self, bool isContinued) =>
        await self.Files.WriteAsync(1, Encoding.UTF8.GetBytes(isContinued ? "> " : $"exos:{self.Files.WorkingDirectory}$ "));

    private static async ValueTask TellOfJobsAsync(Process self, Interpreter shell)
    {
        try
        {
            while (await self.WaitAsync(block: false) is { } ended)
            {
                if (shell.Jobs.Remove(ended.Id) is { } job)
                {
                    string how = ended.Status.ShellStatus == 0 ? "done" : $"exit {ended.Status.ShellStatus}";
                    await self.Files.WriteAsync(2, Encoding.UTF8.GetBytes($"[{job.Number}] {how} {job.Text}\n"));
                }
            }
        }
        catch (ExosException none) when (none.Errno is Errno.NoChild or Errno.Interrupted)
        {
            // None has ended.
        }
    }

    /// <summary>A line, and not a byte more: what follows may be for the programs that it starts. A terminal gives no more than a line at a time.</summary>
    private static async ValueTask<string?> ReadLineAsync(Process self)
    {
        byte[] buffer = new byte[self.Descriptors[0].IsTerminal ? 4096 : 1];
        List<byte> line = [];
        while (true)
        {
            int count = await self.Files.ReadAsync(0, buffer);
            if (count == 0)
            {
                return line.Count > 0 ? Encoding.UTF8.GetString(line.ToArray()) : null;
            }

            line.AddRange(buffer.AsSpan(0, count));
            if (line[^1] == '\n')
            {
                return Encoding.UTF8.GetString(line.ToArray(), 0, line.Count - 1);
            }
        }
    }

    private static async ValueTask<string> ReadAllAsync(Process self, string path)
    {
        int descriptor = await self.Files.OpenAsync(path, OpenFlags.Read);
        using MemoryStream text = new();
        byte[] buffer = new byte[16 << 10];
        while (await self.Files.ReadAsync(descriptor, buffer) is int count and > 0)
        {
            text.Write(buffer, 0, count);
        }

        self.Files.Close(descriptor);
        return Encoding.UTF8.GetString(text.ToArray());
    }
}
