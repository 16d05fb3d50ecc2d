// SPDX-License-Identifier: MIT
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>The idea that is left out.</summary>
internal enum LeftOut
{
    /// <summary>Windows in which a directory's small files lie together, and reading them together.</summary>
    Grouping,

    /// <summary>Inodes beside their names: all are in the table of external ones, as on a conventional file system. They are not grouped either.</summary>
    Embedding,

    /// <summary>The commit log: what is durable is written in place, in the order of the three rules, in rounds of writes and flushes.</summary>
    Log,

    /// <summary>Small files sharing a block with those of their slot sector.</summary>
    Packing,
}

/// <summary>What is timed.</summary>
internal enum AblationWork
{
    Create,
    ReadCold,
    Stat,
    Overwrite,
    Delete,
    CreateDurably,
}

/// <summary>
/// C-FFS beside itself without one of its ideas, as both papers of 1997 show theirs: the small-file work, its files made in turns among the directories, so that only grouping keeps those of one together.
/// </summary>
internal sealed class SmallFileAblationRow(LeftOut idea, AblationWork work) : IPeerRow
{
    private const int DurableFiles = 1000;
    private const int WarmUps = 10;

    private static readonly byte[] s_contents = new byte[SmallFilePaths.LengthBytes];
    private readonly byte[][] _folders = SmallFilePaths.FoldersUnder("");
    private readonly byte[][] _files = SmallFilePaths.FilesUnder("");
    private string _image = "";

    public string Name => $"small-without-{idea}-{work}".ToLowerInvariant();

    public string Work => work switch
    {
        AblationWork.Create => $"{SmallFilePaths.Count} files of 1 KiB made in turns in {SmallFilePaths.Folders} directories, and one sync",
        AblationWork.ReadCold => "these files opened and read cold, directory by directory",
        AblationWork.Stat => "these files asked for their attributes, cold",
        AblationWork.Overwrite => "these files opened cold and written over, and one sync",
        AblationWork.Delete => "these files and their directories removed, and one sync",
        _ => $"{DurableFiles} files made, each durable before the next",
    };

    public string Peer => idea switch
    {
        LeftOut.Grouping => "C-FFS without explicit grouping",
        LeftOut.Embedding => "C-FFS with all inodes in a table",
        LeftOut.Packing => "C-FFS with a block for each file",
        _ => "C-FFS without a commit log",
    };

    public string Unit => "/s";

    public bool MoreIsBetter => true;

    public string? Missing() => null;

    public void Prepare(WorkFolder folder)
    {
        _image = folder["ablation.img"];
        for (int i = 0; i < WarmUps; i++)
        {
            _ = RunExo();
            _ = RunPeer();
        }
    }

    public double RunExo() => Run(isLeftOut: false);

    public double RunPeer() => Run(isLeftOut: true);

    public void Dispose()
    {
    }

    private double Run(bool isLeftOut)
    {
        using CffsTree tree = new(_image, groups: !isLeftOut || idea != LeftOut.Grouping, packs: !isLeftOut || idea != LeftOut.Packing, logBlocks: isLeftOut && idea == LeftOut.Log ? 0 : null);
        foreach (byte[] folder in _folders)
        {
            tree.MakeDirectory(folder);
        }

        tree.Sync();
        if (work == AblationWork.CreateDurably)
        {
            return DurableFiles / Tool.Seconds(() =>
            {
                for (int i = 0; i < DurableFiles; i++)
                {
                    tree.CreateDurably(InTurns(i), s_contents);
                }
            });
        }

        double seconds = Tool.Seconds(() =>
        {
            for (int i = 0; i < _files.Length; i++)
            {
                tree.Create(InTurns(i), s_contents);
            }

            tree.Sync();
        });
        if (work != AblationWork.Create)
        {
            if (isLeftOut && idea == LeftOut.Embedding)
            {
                Array.ForEach(_files, tree.MoveInodeOut);
            }

            tree.Chill();
            seconds = Tool.Seconds(() => Use(tree));
        }

        return _files.Length / seconds;
    }

    private byte[] InTurns(int i) => _files[(i % SmallFilePaths.Folders * (SmallFilePaths.Count / SmallFilePaths.Folders)) + (i / SmallFilePaths.Folders)];

    private void Use(CffsTree tree)
    {
        byte[] buffer = new byte[4096];
        foreach (byte[] file in _files)
        {
            switch (work)
            {
                case AblationWork.ReadCold:
                    _ = tree.Read(file, buffer);
                    break;
                case AblationWork.Stat:
                    _ = tree.Stat(file);
                    break;
                case AblationWork.Overwrite:
                    tree.Overwrite(file, s_contents);
                    break;
                default:
                    tree.Delete(file);
                    break;
            }
        }

        if (work == AblationWork.Delete)
        {
            Array.ForEach(_folders, tree.RemoveDirectory);
        }

        if (work is AblationWork.Overwrite or AblationWork.Delete)
        {
            tree.Sync();
        }
    }
}
