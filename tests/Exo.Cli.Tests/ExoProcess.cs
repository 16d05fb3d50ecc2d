// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Text;

namespace Exo.Tests;

/// <summary>Runs a built program of this repository as a process, the way a user does.</summary>
internal sealed class ExoProcess : IDisposable
{
    private readonly Process _process;
    private readonly Task<byte[]> _output;
    private readonly StringBuilder _error = new();
    private readonly Task _errorPump;
    private readonly StringBuilder _outputText = new();
    private readonly SemaphoreSlim _outputGrown = new(0);

    private ExoProcess(string assembly, string[] args, string input = "", string? networkNamespace = null)
    {
        ProcessStartInfo start = new(networkNamespace is null ? "env" : "ip", networkNamespace is null ? [] : ["netns", "exec", networkNamespace, "env"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
            WorkingDirectory = Path.GetTempPath(),
        };
        // A run in the background of a shell script ignores SIGINT, and so would what it starts: it would never end of it.
        start.ArgumentList.Add("--default-signal=INT");
        start.ArgumentList.Add(Environment.ProcessPath is { } path && Path.GetFileName(path) == "dotnet" ? path : "dotnet");
        start.ArgumentList.Add("exec");
        if (assembly.Length > 0)
        {
            start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, assembly));
        }

        foreach (string arg in args)
        {
            start.ArgumentList.Add(arg);
        }

        start.Environment["TERM"] = "dumb";
        start.Environment["DOTNET_NOLOGO"] = "1";
        start.Environment.Remove("DOTNET_STARTUP_HOOKS");
        _process = Process.Start(start)!;
        _output = Task.Run(PumpOutput);
        _errorPump = Task.Run(PumpError);
        try
        {
            _process.StandardInput.Write(input);
            _process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It ended without reading all of its input; what it said tells why.
        }
    }

    public int Id => _process.Id;

    /// <summary>Runs <c>exo</c> to its end.</summary>
    public static ExoResult Exo(params string[] args) => Run("exo.dll", args);

    /// <summary>Runs <c>exo</c> to its end with this text on standard input.</summary>
    public static ExoResult ExoReading(string input, params string[] args)
    {
        using ExoProcess process = new("exo.dll", args, input);
        return process.Wait();
    }

    /// <summary>Runs <c>dotnet exec</c> to its end with these arguments and this text on standard input.</summary>
    public static ExoResult Reading(string input, params string[] args)
    {
        using ExoProcess process = new("", args, input);
        return process.Wait();
    }

    /// <summary>Runs a program to its end.</summary>
    public static ExoResult Run(string assembly, params string[] args)
    {
        using ExoProcess process = new(assembly, args);
        return process.Wait();
    }

    /// <summary>Starts a program and leaves it running.</summary>
    public static ExoProcess Start(string assembly, params string[] args) => new(assembly, args);

    /// <summary>Starts <c>exo</c> in a network namespace and leaves it running.</summary>
    public static ExoProcess StartIn(string networkNamespace, params string[] args) => new("exo.dll", args, networkNamespace: networkNamespace);

    /// <summary>Waits until a line of standard output contains <paramref name="text"/> and returns that line.</summary>
    public string WaitForLine(string text)
    {
        using CancellationTokenSource limit = new(TimeSpan.FromMinutes(2));
        while (true)
        {
            bool isOver = _output.IsCompleted;
            lock (_outputText)
            {
                string all = _outputText.ToString();
                int end = all.LastIndexOf('\n') + 1;
                foreach (string line in all[..end].Split('\n'))
                {
                    if (line.Contains(text, StringComparison.Ordinal))
                    {
                        return line;
                    }
                }
            }

            if (isOver)
            {
                ExoResult result = Wait();
                Assert.Fail($"It ended ({result.ExitCode}) without saying '{text}':\n{result.Output}\n{result.Error}");
            }

            _outputGrown.Wait(limit.Token);
        }
    }

    /// <summary>Sends a signal by name: TERM, INT, KILL.</summary>
    public void Signal(string name)
    {
        using Process kill = Process.Start("kill", [$"-{name}", _process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
    }

    /// <summary>Ends the process as SIGKILL does, if it still runs.</summary>
    public void Kill()
    {
        _process.Kill();
        _process.WaitForExit();
    }

    public bool HasExited => _process.HasExited;

    public ExoResult Wait()
    {
        if (!_process.WaitForExit(TimeSpan.FromMinutes(5)))
        {
            _process.Kill();
            Assert.Fail("A process did not end within five minutes.");
        }

        _errorPump.Wait();
        return new ExoResult(_process.ExitCode, _output.GetAwaiter().GetResult(), _error.ToString());
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
            _process.WaitForExit();
        }

        _process.Dispose();
        _outputGrown.Dispose();
    }

    private byte[] PumpOutput()
    {
        using MemoryStream all = new();
        byte[] buffer = new byte[65536];
        Stream stream = _process.StandardOutput.BaseStream;
        for (int count; (count = stream.Read(buffer)) > 0;)
        {
            all.Write(buffer.AsSpan(0, count));
            lock (_outputText)
            {
                _outputText.Append(Encoding.UTF8.GetString(buffer.AsSpan(0, count)));
            }

            _outputGrown.Release();
        }

        _outputGrown.Release();
        return all.ToArray();
    }

    private void PumpError() => _error.Append(_process.StandardError.ReadToEnd());
}

/// <summary>How a process ended.</summary>
internal sealed record ExoResult(int ExitCode, byte[] OutputBytes, string Error)
{
    public string Output => Encoding.UTF8.GetString(OutputBytes);

    /// <summary>Fails the test with everything that was said unless the exit code is 0.</summary>
    public ExoResult Succeeded()
    {
        Assert.True(ExitCode == 0, $"exit code {ExitCode}\n{Output}\n{Error}");
        return this;
    }

    /// <summary>Fails the test unless it refused with this code and exactly one line on standard error, which is returned.</summary>
    public string Refused(int exitCode)
    {
        Assert.True(ExitCode == exitCode, $"exit code {ExitCode}, not {exitCode}\n{Output}\n{Error}");
        string line = Assert.Single(Error.TrimEnd('\n').Split('\n'));
        Assert.NotEqual("", line);
        return line;
    }
}

/// <summary>A folder for one test; removed with everything in it.</summary>
internal sealed class TempFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("exo-test-").FullName;

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public void Dispose()
    {
        // Directory.Delete cannot remove names that are not UTF-8, and tests make such names.
        using Process remove = Process.Start("rm", ["-rf", "--", Path]);
        remove.WaitForExit();
    }
}
