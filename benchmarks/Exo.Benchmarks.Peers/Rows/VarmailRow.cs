// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>A mail server's work after filebench's varmail: 16 threads in one directory, each over and over: delete; create, 16 KiB, durable; read whole, append, durable; read whole.</summary>
internal sealed class VarmailRow : IPeerRow
{
    private const int Threads = 16;
    private const int FilesEach = 62;
    private const int Loops = 300;
    private const int LengthBytes = 16 << 10;
    private const int WarmUps = 20;

    private static readonly byte[] Contents = Enumerable.Range(0, LengthBytes).Select(i => (byte)(i * 7 / 3 | 1)).ToArray();
    private WorkFolder _folder = null!;
    private string _mount = "";

    public string Name => "varmail";

    public string Work => $"{Threads} threads, {Threads * FilesEach} files of 16 KiB in one directory: delete; create, write, fsync; read, append 16 KiB, fsync; read";

    public string Peer => "ext4, bare system calls";

    public string Unit => " loops/s";

    public bool MoreIsBetter => true;

    public string? Missing() => Tool.NotRoot() ?? Tool.Missing("mkfs.ext4", "losetup", "mount");

    public void Prepare(WorkFolder folder)
    {
        _folder = folder;
        _mount = folder.MountExt4("mail", 1L << 30);

        // Until the compiler is done with what is measured.
        for (int i = 0; i < WarmUps; i++)
        {
            using CffsTree warm = new(folder["warm.img"]);
            Run(warm, "");
        }
    }

    public double RunExo()
    {
        using CffsTree tree = new(_folder["mail.img"]);
        return Run(tree, "");
    }

    public double RunPeer()
    {
        using KernelTree tree = new(_mount);
        return Run(tree, _mount);
    }

    public void Dispose()
    {
    }

    private static double Run(IFileTree tree, string root)
    {
        tree.MakeDirectory(Path($"{root}/d"));
        byte[][][] paths = [.. Enumerable.Range(0, Threads).Select(t => Enumerable.Range(0, FilesEach).Select(f => Path($"{root}/d/mail{t:d2}-{f:d4}")).ToArray())];
        foreach (byte[] path in paths.SelectMany(each => each))
        {
            tree.Create(path, Contents);
        }

        tree.Sync();
        Exception? failure = null;
        Thread[] threads = [.. paths.Select(mine => new Thread(() =>
        {
            try
            {
                Loop(tree, mine);
            }
            catch (Exception thrown)
            {
                failure = thrown;
            }
        }))];
        double seconds = Tool.Seconds(() =>
        {
            Array.ForEach(threads, thread => thread.Start());
            Array.ForEach(threads, thread => thread.Join());
        });
        return failure is null ? Threads * Loops / seconds : throw new IOException("a thread failed", failure);
    }

    private static void Loop(IFileTree tree, byte[][] mine)
    {
        byte[] buffer = new byte[4 * LengthBytes];
        for (int i = 0; i < Loops; i++)
        {
            byte[] path = mine[i * 7 % mine.Length];
            byte[] other = mine[((i * 7) + 3) % mine.Length];
            tree.Delete(path);
            tree.CreateDurably(path, Contents);
            int length = tree.Read(other, buffer);
            tree.AppendDurably(other, length % (3 * LengthBytes), Contents);
            tree.Read(other, buffer);
        }
    }

    private static byte[] Path(string path) => Encoding.UTF8.GetBytes(path + "\0");
}
