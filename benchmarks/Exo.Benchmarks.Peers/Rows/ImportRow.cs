// SPDX-License-Identifier: MIT
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>Many small files into a file system, durably. Both are whole processes, from a source in the system's cache.</summary>
internal sealed class ImportRow : IPeerRow
{
    private WorkFolder _folder = null!;
    private string _source = "";
    private string _mount = "";
    private int _round;

    public string Name => "import";

    public string Work => $"{SmallFiles.Count} files of {SmallFiles.LengthBytes} bytes copied in, durable at the end";

    public string Peer => "cp -r, sync onto ext4";

    public string Unit => "s";

    public bool MoreIsBetter => false;

    public string? Missing() => Tool.NotRoot() ?? Tool.Missing("mkfs.ext4", "losetup", "mount", "cp");

    public void Prepare(WorkFolder folder)
    {
        _folder = folder;
        _source = SmallFiles.Make(folder["source"]);
        _mount = folder.MountExt4("import", 2L << 30);
    }

    public double RunExo()
    {
        string image = _folder["import.img"];
        File.Delete(image);
        Tool.Run("dotnet", Tool.Exo("mkfs", image, "--size", "1G"));
        Tool.Run("sync");
        return Tool.Seconds(() => Tool.Run("dotnet", Tool.Exo("import", image, _source)));
    }

    public double RunPeer()
    {
        string target = Path.Combine(_mount, $"round{_round++}");
        Tool.Run("sync");
        double seconds = Tool.Seconds(() =>
        {
            Tool.Run("cp", "-r", _source, target);
            Tool.Run("sync", "-f", _mount);
        });
        Directory.Delete(target, recursive: true);
        return seconds;
    }

    public void Dispose()
    {
    }
}
