// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Text;
using Exo.Tests;

namespace Exo.Samples.Tests.Exos;

/// <summary>The program at a terminal: a pseudo-terminal that <c>script</c> makes, with somebody who types when he sees what he waits for.</summary>
public sealed class TerminalTests : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private readonly string _image = Path.Combine(Path.GetTempPath(), $"exo-exos-{Guid.NewGuid():N}.img");
    private readonly StringBuilder _seen = new();
    private readonly SemaphoreSlim _more = new(0);
    private Process? _process;
    private int _read;

    public void Dispose()
    {
        if (_process is { HasExited: false })
        {
            _process.Kill(entireProcessTree: true);
        }

        _process?.Dispose();
        _more.Dispose();
        File.Delete(_image);
    }

    [Fact]
    public async Task A_prompt_a_pipeline_and_the_end_of_input()
    {
        Start();
        await SeesAsync("exos:/home$ ");
        await TypesAsync("echo one two | wc -w\n");
        await SeesAsync("2\r\n");
        await SeesAsync("exos:/home$ ");
        await TypesAsync("cd /tmp; if true\n");
        await SeesAsync("> ");
        await TypesAsync("then echo yes; fi\n");
        await SeesAsync("yes\r\n");
        await SeesAsync("exos:/tmp$ ");
        await TypesAsync("(exit 3)\n");
        await SeesAsync("exos:/tmp$ ");
        await TypesAsync("\u0004");
        await SeesAsync("exit\r\n");
        Assert.Equal(3, await EndsAsync());
    }

    [Fact]
    public async Task A_tree_is_copied_at_the_prompt()
    {
        Start();
        await SeesAsync("exos:/home$ ");
        await TypesAsync("mkdir -p a/b; echo text > a/b/c; xcp -v a copy\n");
        await SeesAsync("a -> copy: 1 files, 2 directories, 0 others, 0 links; 5 bytes copied, 0 shared\r\n");
        await SeesAsync("exos:/home$ ");
        await TypesAsync("cat copy/b/c; exit\n");
        await SeesAsync("text\r\n");
        Assert.Equal(0, await EndsAsync());
    }

    [Fact]
    public async Task An_interrupt_ends_the_job_in_the_foreground_and_not_the_shell()
    {
        Start();
        await SeesAsync("exos:/home$ ");
        await TypesAsync("sleep 1000 &\n");
        await SeesAsync("[1] ");
        await SeesAsync("exos:/home$ ");
        await TypesAsync("sh -c 'echo begun; yes > /dev/null'\n");
        await SeesAsync("begun\r\n");
        await TypesAsync("\u0003");
        await SeesAsync("exos:/home$ ");
        await TypesAsync("echo $?; jobs\n");
        await SeesAsync("130\r\n");
        await SeesAsync("sleep 1000\r\n");
        await SeesAsync("exos:/home$ ");
        await TypesAsync("half a line\u0003");
        await SeesAsync("exos:/home$ ");
        await TypesAsync("kill $!\n");
        await SeesAsync("exos:/home$ ");
        await TypesAsync("wait; echo over; exit 0\n");
        await SeesAsync("over\r\n");
        Assert.Equal(0, await EndsAsync());
    }

    [Fact]
    public async Task An_interrupt_reaches_a_whole_pipeline()
    {
        Start();
        await SeesAsync("exos:/home$ ");
        await TypesAsync("echo begun; cat | cat | cat\n");
        await SeesAsync("begun\r\n");
        await TypesAsync("through\n");
        await SeesAsync("through\r\n");
        await SeesAsync("through\r\n");
        await TypesAsync("\u0003");
        await SeesAsync("exos:/home$ ");
        await TypesAsync("ps | grep -c ' cat$'\n");
        await SeesAsync("0\r\n");
        await SeesAsync("exos:/home$ ");
        await TypesAsync("\u0004");
        Assert.Equal(1, await EndsAsync());
    }

    private void Start()
    {
        string script = Requires.Program("script");
        // `script` runs the command by $SHELL, and a shell that stays between (dash) gets the interrupt as well and ends by it.
        ProcessStartInfo start = new("env") { RedirectStandardInput = true, RedirectStandardOutput = true, WorkingDirectory = Path.GetTempPath() };
        foreach (string argument in new[] { "--default-signal=INT", script, "-qec", $"exec dotnet exec '{Path.Combine(AppContext.BaseDirectory, "exos.dll")}' '{_image}' --size 16M", "/dev/null" })
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["TERM"] = "dumb";
        start.Environment["SHELL"] = "/bin/sh";
        _process = Process.Start(start)!;
        _ = PumpAsync(_process.StandardOutput);
    }

    private async Task PumpAsync(StreamReader output)
    {
        char[] buffer = new char[4096];
        int count;
        do
        {
            count = await output.ReadAsync(buffer);
            lock (_seen)
            {
                _seen.Append(buffer, 0, count);
            }

            _more.Release();
        }
        while (count > 0);
    }

    /// <summary>Waits until a text has come after all that was waited for before.</summary>
    private async Task SeesAsync(string text)
    {
        using CancellationTokenSource patience = new(s_patience);
        while (true)
        {
            lock (_seen)
            {
                string all = _seen.ToString();
                int at = all.IndexOf(text, _read, StringComparison.Ordinal);
                if (at >= 0)
                {
                    _read = at + text.Length;
                    return;
                }

                Assert.False(patience.IsCancellationRequested, $"'{text}' does not come after: {all[_read..]}");
            }

            try
            {
                await _more.WaitAsync(patience.Token);
            }
            catch (OperationCanceledException)
            {
                // Looked at once more above.
            }
        }
    }

    private async Task TypesAsync(string text)
    {
        await _process!.StandardInput.WriteAsync(text);
        await _process.StandardInput.FlushAsync();
    }

    private async Task<int> EndsAsync()
    {
        using CancellationTokenSource patience = new(s_patience);
        await _process!.WaitForExitAsync(patience.Token);
        return _process.ExitCode;
    }
}
