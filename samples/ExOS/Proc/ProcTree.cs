// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Numerics;
using System.Text;
using Exo.Core.AddressSpaces;
using Exo.Core.Environments;
using Exo.Core.Observation;
using Exo.Storage.XN;
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Proc;

/// <summary>
/// <c>/proc</c>: what the exokernel exports, and what the library operating system made of it, as text. Nothing is asked for: frames, free map, registry and time slices are read where they lie. A file says what was the
/// case when it was opened.
/// </summary>
internal sealed class ProcTree(ExosSystem system) : FileTree
{
    private const int LinesMax = 1000;

    private (string Name, Func<string> Contents)[] Files =>
    [
        ("environments", Environments), ("frames", Frames), ("freemap", FreeMap), ("mounts", Mounts), ("registry", Registry), ("roots", Roots), ("slices", Slices),
    ];

    private static (string Name, Func<Process, string> Contents)[] ProcessFiles => [("cmdline", CommandLine), ("fd", Descriptors), ("maps", Maps), ("status", StatusText)];

    public override string Kind => "proc";

    public override ValueTask<OpenFile> OpenAsync(string path, OpenFlags flags, int permissions)
    {
        if (flags.HasFlag(OpenFlags.Write))
        {
            throw new ExosException(Errno.ReadOnly);
        }

        string text = Text(path) ?? throw new ExosException(IsDirectory(path) ? Errno.IsDirectory : Errno.NotFound);
        return new ValueTask<OpenFile>(new TextFile("/proc" + path, Encoding.UTF8.GetBytes(text)));
    }

    public override FileStatus Stat(string path, bool followLink) =>
        IsDirectory(path) ? new FileStatus(FileKind.Directory, 0x16D, 0, Links: 2)
        : Text(path) is { } ? new FileStatus(FileKind.File, 0x124, 0)
        : throw new ExosException(Errno.NotFound);

    public override IReadOnlyList<string> List(string path) =>
        path == "/" ? [.. system.Processes.All.Select(process => Number(process.Id)), .. Files.Select(file => file.Name)]
        : IsDirectory(path) ? [.. ProcessFiles.Select(file => file.Name)]
        : throw new ExosException(Errno.NotDirectory);

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);

    private bool IsDirectory(string path) => path == "/" || (path.LastIndexOf('/') == 0 && FindProcess(path[1..]) is not null);

    private Process? FindProcess(string name) => Array.Find(system.Processes.All, process => Number(process.Id) == name);

    private string? Text(string path)
    {
        string[] names = path[1..].Split('/');
        return names.Length switch
        {
            1 => Array.Find(Files, file => file.Name == names[0]).Contents?.Invoke(),
            2 when FindProcess(names[0]) is { } process => Array.Find(ProcessFiles, file => file.Name == names[1]).Contents?.Invoke(process),
            _ => null,
        };
    }

    private static string StatusText(Process process) => $"""
        Name: {process.Name}
        State: {StateOf(process)}
        Pid: {process.Id}
        PPid: {process.Parent?.Id ?? 0}
        Group: {process.Group}
        Pages: {(process.Ended is null ? process.Memory.BoundPages : 0)}
        Slices: {process.Schedule.SlicesBegun}
        Ran: {process.Schedule.Ran.TotalMilliseconds.ToString("0.0", CultureInfo.InvariantCulture)} ms

        """;

    private static string StateOf(Process process) => process.Ended is not null
        ? "zombie"
        : process.Environment.Observe().Environments[0].State switch { EnvironmentState.Asleep => "asleep", EnvironmentState.Runnable => "runnable", _ => "running" };

    // One line, whatever is in the arguments.
    private static string CommandLine(Process process) => string.Join(' ', process.Arguments).ReplaceLineEndings(" ") + "\n";

    private static string Descriptors(Process process) => string.Concat(process.Descriptors.All().Select(entry => $"{entry.Descriptor} {entry.File.Description}\n"));

    private static string Maps(Process process)
    {
        StringBuilder text = new();
        ReadOnlySpan<Translation> table = process.Ended is null ? process.Memory.Translations : [];
        for (int page = 0; page < table.Length; page++)
        {
            if (table[page].IsBound)
            {
                text.Append(CultureInfo.InvariantCulture, $"{page * AddressSpace.PageBytes:x8} frame {table[page].Frame} {table[page].Access}{(table[page].IsDirty ? " dirty" : "")}\n");
            }
        }

        return text.ToString();
    }

    private string Frames() => $"total {system.Frames.FrameCount}\nfree {system.Frames.FreeCount}\nused {system.Frames.FrameCount - system.Frames.FreeCount}\n";

    private string Environments() => string.Concat(system.Processes.All.Where(process => process.Ended is null).Select(process =>
        $"{process.Id} {process.Environment} frames {process.Environment.Held(ResourceKind.Frames)} sleeps {process.Environment.Counters[(int)EnvironmentCounter.Sleeps]} slices {process.Schedule.SlicesBegun}\n"));

    private string Slices()
    {
        StringBuilder text = new();
        ReadOnlySpan<int> slices = system.Scheduler.Slices;
        for (int i = 0; i < slices.Length; i++)
        {
            if (slices[i] != 0)
            {
                text.Append(CultureInfo.InvariantCulture, $"{i} environment {slices[i]}\n");
            }
        }

        return text.ToString();
    }

    private string Mounts() => string.Concat(system.Mounts.All.Select(mount => $"{mount.Source} {mount.Path} {mount.Tree.Kind}\n"));

    private string Roots() => string.Concat(system.Volume.Disk.Roots.Select(root => $"{root.Name} block {root.Block} template {root.Template.Value}\n"));

    private string FreeMap()
    {
        XnVolume disk = system.Volume.Disk;
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"blocks {disk.BlockCount} free {disk.FreeBlocks} will-free {disk.WillFreeBlocks}\n");
        ReadOnlySpan<ulong> map = disk.FreeMap;
        int each = Math.Max(1, map.Length / 64);
        for (int from = 0; from < map.Length; from += each)
        {
            int free = 0;
            foreach (ulong word in map[from..Math.Min(map.Length, from + each)])
            {
                free += BitOperations.PopCount(word);
            }

            text.Append(CultureInfo.InvariantCulture, $"{from * 64L} {free} free\n");
        }

        return text.ToString();
    }

    private string Registry()
    {
        XnVolume disk = system.Volume.Disk;
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"blocks {disk.RegisteredBlocks} dirty {disk.DirtyBlocks} bytes {disk.RegistryBytes}\n");
        foreach (RegistryEntryInfo entry in disk.SnapshotRegistry().OrderBy(entry => entry.Block.Value).Take(LinesMax))
        {
            text.Append(CultureInfo.InvariantCulture, $"{entry.Block} template {entry.Template.Value} parent {entry.Parent}{(entry.HasFrame ? " core" : "")}{(entry.IsDirty ? " dirty" : "")}\n");
        }

        return text.ToString();
    }
}
