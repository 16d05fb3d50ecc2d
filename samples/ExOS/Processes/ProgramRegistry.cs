// SPDX-License-Identifier: MIT
using System.Text;
using ExOS.Files;
using ExOS.Shell;
using ExOS.Tools;

namespace ExOS.Processes;

/// <summary>
/// The programs there are. A program is a method; what stands in <c>/bin</c> for it is a file whose first line names it, so that it is found, copied, removed and permitted like any other.
/// </summary>
internal sealed class ProgramRegistry
{
    private readonly SortedDictionary<string, ProgramMain> _programs = new(StringComparer.Ordinal)
    {
        ["cat"] = Cat.MainAsync,
        ["cp"] = Cp.MainAsync,
        ["df"] = Df.MainAsync,
        ["echo"] = Echo.MainAsync,
        ["false"] = self => new ValueTask<int>(1),
        ["find"] = Find.MainAsync,
        ["grep"] = Grep.MainAsync,
        ["head"] = Head.MainAsync,
        ["kill"] = KillTool.MainAsync,
        ["ln"] = Ln.MainAsync,
        ["ls"] = Ls.MainAsync,
        ["mkdir"] = Mkdir.MainAsync,
        ["mount"] = MountTool.MainAsync,
        ["mv"] = Mv.MainAsync,
        ["nc"] = Nc.MainAsync,
        ["ps"] = Ps.MainAsync,
        ["rm"] = Rm.MainAsync,
        ["sh"] = ShellProgram.MainAsync,
        ["sleep"] = Sleep.MainAsync,
        ["sort"] = Sort.MainAsync,
        ["stat"] = StatTool.MainAsync,
        ["tail"] = Tail.MainAsync,
        ["tee"] = Tee.MainAsync,
        ["true"] = self => new ValueTask<int>(0),
        ["umount"] = MountTool.UnmountAsync,
        ["wc"] = Wc.MainAsync,
        ["xcp"] = Xcp.MainAsync,
        ["yes"] = Yes.MainAsync,
    };

    public IEnumerable<string> Names => _programs.Keys;

    /// <summary>Adds a program; a file in <c>/bin</c> for it is made at the next boot.</summary>
    public void Register(string name, ProgramMain main) => _programs.Add(name, main);

    /// <summary>What executing a file means.</summary>
    /// <exception cref="ExosException">NotFound, AccessDenied (it may not be executed, or is a directory), NotExecutable.</exception>
    public async ValueTask<(ProgramMain Main, string Name, IReadOnlyList<string> Arguments)> LoadAsync(Process self, string path, IReadOnlyList<string> arguments, bool isInterpreter = false)
    {
        FileStatus status = self.Files.Stat(path);
        if (status.Kind != FileKind.File || (status.Permissions & 0x49) == 0)
        {
            throw new ExosException(Errno.AccessDenied, path);
        }

        byte[] beginning = new byte[256];
        OpenFile file = await self.Files.OpenFileAsync(path, OpenFlags.Read);
        int count;
        try
        {
            count = await file.ReadAsync(self, beginning);
        }
        finally
        {
            file.LetGo();
        }

        string line = Encoding.UTF8.GetString(beginning, 0, count).Split('\n')[0];
        if (line.StartsWith("#!exos ", StringComparison.Ordinal))
        {
            return _programs.TryGetValue(line[7..].Trim(), out ProgramMain? main) ? (main, line[7..].Trim(), arguments) : throw new ExosException(Errno.NotExecutable, path);
        }

        // A script: the interpreter gets its path, and then the arguments.
        return line.StartsWith("#!", StringComparison.Ordinal) && !isInterpreter
            ? await LoadAsync(self, line[2..].Trim(), [line[2..].Trim(), path, .. arguments.Skip(1)], isInterpreter: true)
            : throw new ExosException(Errno.NotExecutable, path);
    }
}
