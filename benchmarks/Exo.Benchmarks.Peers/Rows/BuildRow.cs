// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Exo.Adapters.Fuse;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>
/// The I/O workload of SOSP '97 (section 6.2, table 2) with unmodified programs: a small compressed archive is copied and unpacked, the tree copied, compared and compiled, the object files removed,
/// the tree packed and compressed again, and both trees removed. C-FFS mounted by a process of its own, beside the kernel's memory file system.
/// </summary>
internal sealed class BuildRow(string name, string mountOptions) : IPeerRow
{
    private const int Folders = 10;
    private const int FilesPerFolder = 25;

    private static readonly (string Name, string Script)[] Steps =
    [
        ("cp", "cp \"$2\" a.tar.gz"),
        ("gunzip", "gunzip a.tar.gz"),
        ("untar", "tar xf a.tar"),
        ("cp -r", "cp -r lcc copy"),
        ("diff -r", "diff -r lcc copy"),
        ("gcc", "for d in lcc/*; do (cd $d; gcc -O0 -c *.c); done"),
        ("rm *.o", "rm lcc/*/*.o"),
        ("tar", "tar cf b.tar lcc"),
        ("gzip", "gzip b.tar"),
        ("rm -r", "rm -r lcc copy a.tar b.tar.gz"),
    ];

    private WorkFolder _folder = null!;

    public string Name => name;

    public string Work => $"the I/O workload of SOSP '97 on {Folders * FilesPerFolder} C files: cp, gunzip, untar, cp -r, diff -r, gcc, rm *.o, tar, gzip, rm -r";

    public string Peer => "tmpfs";

    public string Unit => "s";

    public bool MoreIsBetter => false;

    public string? Missing() => Tool.NotRoot() ?? Tool.Missing("gcc", "tar", "gzip", "mount", "diff") ?? (File.Exists("/dev/fuse") ? null : "no /dev/fuse");

    public void Prepare(WorkFolder folder)
    {
        _folder = folder;
        string tree = Directory.CreateDirectory(folder["lcc"]).FullName;
        Random random = new(1);
        for (int d = 0; d < Folders; d++)
        {
            string below = Directory.CreateDirectory(Path.Combine(tree, $"part{d}")).FullName;
            for (int f = 0; f < FilesPerFolder; f++)
            {
                File.WriteAllText(Path.Combine(below, $"file{f:d2}.c"), Source(random, (d * FilesPerFolder) + f));
            }
        }

        Tool.Run("tar", "czf", folder["lcc.tar.gz"], "-C", folder.Root, "lcc");
        Directory.CreateDirectory(folder["tmpfs"]);
        Tool.Run("mount", "-t", "tmpfs", "exo-peers", folder["tmpfs"]);
        folder.Undo(() => Tool.Run("umount", folder["tmpfs"]));
        Directory.CreateDirectory(folder["mnt"]);
        Script(folder["tmpfs"]);
    }

    public double RunExo()
    {
        string image = _folder["build.img"];
        Tool.Run("dotnet", Tool.Exo("mkfs", image, "--size", "512M", "--force"));
        Tool.Run("dotnet", Tool.Exo("mount", image, _folder["mnt"], "-o", mountOptions));
        try
        {
            // Once for the compiler of the process that serves; what a mount is slow at in its first seconds is another row's matter.
            Script(_folder["mnt"]);
            return Script(_folder["mnt"]);
        }
        finally
        {
            Tool.Run("dotnet", Tool.Exo("umount", _folder["mnt"]));
            File.Delete(image);
        }
    }

    public double RunPeer() => Script(_folder["tmpfs"]);

    public void Dispose()
    {
    }

    /// <summary>One run; its seconds. What each step took is told on standard error.</summary>
    private double Script(string directory)
    {
        List<double> seconds = [];
        foreach ((string _, string step) in Steps)
        {
            seconds.Add(Tool.Seconds(() => Tool.Run("sh", "-ec", "cd \"$1\"\n" + step, "sh", directory, _folder["lcc.tar.gz"])));
        }

        double all = seconds.Sum();
        double files = all - Steps.Zip(seconds).Where(step => step.First.Name is "gunzip" or "gcc" or "gzip").Sum(step => step.Second);
        string each = string.Join(", ", Steps.Zip(seconds, (step, took) => string.Create(CultureInfo.InvariantCulture, $"{step.Name} {took * 1000:0}")));
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  {Path.GetFileName(directory)}: {all:0.000} s, {files:0.000} without gunzip, gcc and gzip; ms: {each}"));
        return all;
    }

    private static string Source(Random random, int number)
    {
        StringBuilder text = new("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
        for (int i = 0, count = 10 + random.Next(40); i < count; i++)
        {
            text.Append(CultureInfo.InvariantCulture, $"int f{number}_{i}(int a, const char *s) {{ int n = {random.Next()}; for (int i = 0; i < a; i++) n += s[i] * {random.Next(100)}; return n % {random.Next(1, 1000)}; }}\n");
        }

        return text.ToString();
    }
}
