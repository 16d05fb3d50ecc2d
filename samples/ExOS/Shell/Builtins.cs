// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Shell;

/// <summary>Commands that change the shell itself, and so cannot be programs.</summary>
internal sealed class Builtins
{
    private readonly Process _self;
    private readonly Interpreter _shell;
    private readonly Dictionary<string, Func<IReadOnlyList<string>, ValueTask<int>>> _commands;

    public Builtins(Process self, Interpreter shell)
    {
        (_self, _shell) = (self, shell);
        _commands = new Dictionary<string, Func<IReadOnlyList<string>, ValueTask<int>>>(StringComparer.Ordinal)
        {
            [":"] = _ => new ValueTask<int>(0),
            ["cd"] = ChangeDirectoryAsync,
            ["exec"] = ExecuteAsync,
            ["exit"] = Exit,
            ["export"] = Export,
            ["help"] = _ => PrintAsync($"programs: {string.Join(' ', _self.System.Programs.Names)}\nin the shell: {string.Join(' ', _commands!.Keys.Order(StringComparer.Ordinal))}"),
            ["jobs"] = ListJobsAsync,
            ["pwd"] = _ => PrintAsync(_self.Files.WorkingDirectory),
            ["set"] = ListVariablesAsync,
            ["shift"] = Shift,
            ["test"] = fields => TestAsync(fields, fields.Count),
            ["["] = fields => fields[^1] == "]" ? TestAsync(fields, fields.Count - 1) : Fail("[: ] is missing"),
            ["unset"] = Unset,
            ["wait"] = WaitAsync,
        };
    }

    public Func<IReadOnlyList<string>, ValueTask<int>>? Find(string name) => _commands.GetValueOrDefault(name);

    private async ValueTask<int> PrintAsync(string line)
    {
        await _self.Files.WriteAsync(1, Encoding.UTF8.GetBytes(line + "\n"));
        return 0;
    }

    private async ValueTask<int> Fail(string text, int status = 2)
    {
        await _shell.ComplainAsync(text);
        return status;
    }

    private async ValueTask<int> ChangeDirectoryAsync(IReadOnlyList<string> fields)
    {
        string path = fields.Count > 1 ? fields[1] : _self.Variables["HOME"] ?? "/";
        try
        {
            _self.Files.ChangeDirectory(path);
            return 0;
        }
        catch (IOException error)
        {
            return await Fail($"cd: {path}: {ExosException.Text(error)}", 1);
        }
    }

    private async ValueTask<int> ExecuteAsync(IReadOnlyList<string> fields)
    {
        if (fields.Count > 1)
        {
            Process.Exit(await _shell.ExecuteAsync([.. fields.Skip(1)]));
        }

        return 0;
    }

    private ValueTask<int> Exit(IReadOnlyList<string> fields)
    {
        Process.Exit(fields.Count > 1 && int.TryParse(fields[1], CultureInfo.InvariantCulture, out int code) ? code & 0xFF : _shell.LastStatus);
        return default;
    }

    private async ValueTask<int> Export(IReadOnlyList<string> fields)
    {
        foreach (string field in fields.Skip(1))
        {
            int equals = field.IndexOf('=', StringComparison.Ordinal);
            string name = equals < 0 ? field : field[..equals];
            if (!ProcessVariables.IsName(name))
            {
                return await Fail($"export: {name}: not a variable's name", 1);
            }

            if (equals >= 0)
            {
                _self.Variables[name] = field[(equals + 1)..];
            }

            _self.Variables.Export(name);
        }

        return 0;
    }

    private ValueTask<int> Unset(IReadOnlyList<string> fields)
    {
        foreach (string name in fields.Skip(1))
        {
            _self.Variables[name] = null;
        }

        return new ValueTask<int>(0);
    }

    private async ValueTask<int> ListVariablesAsync(IReadOnlyList<string> fields)
    {
        foreach ((string name, string? value, _) in _self.Variables.All().OrderBy(variable => variable.Name, StringComparer.Ordinal))
        {
            await PrintAsync($"{name}={value}");
        }

        return 0;
    }

    private async ValueTask<int> ListJobsAsync(IReadOnlyList<string> fields)
    {
        foreach ((int number, int id, string text) in _shell.Jobs.All)
        {
            await PrintAsync($"[{number}] {id} {text}");
        }

        return 0;
    }

    private ValueTask<int> Shift(IReadOnlyList<string> fields)
    {
        if (_shell.Parameters.Count < 2)
        {
            return new ValueTask<int>(1);
        }

        _shell.Parameters = [_shell.Parameters[0], .. _shell.Parameters.Skip(2)];
        return new ValueTask<int>(0);
    }

    /// <summary>wait [PID…]: for these children, or for all.</summary>
    private async ValueTask<int> WaitAsync(IReadOnlyList<string> fields)
    {
        int status = 0;
        foreach (int id in fields.Count > 1 ? fields.Skip(1).Select(field => int.TryParse(field, CultureInfo.InvariantCulture, out int id) ? id : 0).ToList() : _shell.Jobs.All.Select(job => job.Id).ToList())
        {
            try
            {
                status = await _shell.WaitForAsync(id);
            }
            catch (ExosException error) when (error.Errno == Errno.NoChild)
            {
                status = 127;
            }

            _ = _shell.Jobs.Remove(id);
        }

        return status;
    }

    /// <summary>test: -e -f -d -n -z, =, !=, and numbers by -eq -ne -lt -le -gt -ge.</summary>
    private async ValueTask<int> TestAsync(IReadOnlyList<string> fields, int count)
    {
        bool isNegated = count > 1 && fields[1] == "!";
        List<string> words = [.. fields.Take(count).Skip(isNegated ? 2 : 1)];
        bool? holds = words switch
        {
            [] => false,
            [var text] => text.Length > 0,
            ["-e", var path] => _self.Files.TryStat(path) is not null,
            ["-f", var path] => _self.Files.TryStat(path) is { Kind: FileKind.File },
            ["-d", var path] => _self.Files.TryStat(path) is { IsDirectory: true },
            ["-n", var text] => text.Length > 0,
            ["-z", var text] => text.Length == 0,
            [var left, "=", var right] => left == right,
            [var left, "!=", var right] => left != right,
            [var left, var comparison, var right] when long.TryParse(left, CultureInfo.InvariantCulture, out long a) && long.TryParse(right, CultureInfo.InvariantCulture, out long b) => comparison switch
            {
                "-eq" => a == b,
                "-ne" => a != b,
                "-lt" => a < b,
                "-le" => a <= b,
                "-gt" => a > b,
                "-ge" => a >= b,
                _ => null,
            },
            _ => null,
        };
        return holds is { } known ? (known != isNegated ? 0 : 1) : await Fail("test: not a condition");
    }
}
