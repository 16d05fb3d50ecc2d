// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Tests;

/// <summary>
/// Random operations on a volume and on its model, side by side. A refused operation must be refused for a reason the model knows.
/// The model is of the tree below a directory of the volume: nobody else changes that.
/// </summary>
internal sealed class RandomWorkload(CffsVolume volume, TreeModel model, Random random, string below = "")
{
    // A long run does not outgrow its disk.
    private const int FilesMax = 200;
    private const int DirectoriesMax = 100;

    public int Refused { get; private set; }

    public void Step()
    {
        try
        {
            Run(random.Next(112));
        }
        catch (CffsException full) when (full.Error == CffsError.NoSpace)
        {
            Refused++;
        }
    }

    private void Run(int choice)
    {
        List<string> files = model.Paths(node => node.Entries is null && node.Target is null);
        List<string> directories = model.Paths(node => node.Entries is not null);
        string directory = directories[random.Next(directories.Count)];
        string fresh = $"{directory}/{Name()}";
        if (files.Count > FilesMax)
        {
            Remove(files[random.Next(files.Count)]);
            return;
        }

        switch (choice)
        {
            case < 25 when !model.Has(fresh):
                byte[] contents = Bytes(Length());
                volume.WriteAllBytes(below + fresh, contents);
                Put(fresh, new TreeModel.Node { Contents = contents });
                break;
            case < 32 when directories.Count < DirectoriesMax && !model.Has(fresh) && directory.Count(c => c == '/') < 6:
                volume.CreateDirectory(below + fresh);
                Put(fresh, new TreeModel.Node { Entries = new(StringComparer.Ordinal) });
                break;
            case < 52 when files.Count > 0:
                Overwrite(files[random.Next(files.Count)]);
                break;
            case < 60 when files.Count > 0:
                Truncate(files[random.Next(files.Count)]);
                break;
            case < 72 when files.Count > 0:
                Remove(files[random.Next(files.Count)]);
                break;
            case < 76 when directories.Count > 1:
                string victim = directories[random.Next(1, directories.Count)];
                if (model.Find(victim).Entries!.Count == 0)
                {
                    volume.RemoveDirectory(below + victim);
                    (TreeModel.Node parent, string name) = model.Split(victim);
                    parent.Entries!.Remove(name);
                }
                else
                {
                    Assert.Equal(CffsError.NotEmpty, Assert.Throws<CffsException>(() => volume.RemoveDirectory(below + victim)).Error);
                }

                break;
            case < 87:
                Rename(fresh);
                break;
            case < 91 when files.Count > 0 && !model.Has(fresh):
                string target = files[random.Next(files.Count)];
                volume.CreateHardLink(below + target, below + fresh);
                TreeModel.Node linked = model.Find(target);
                linked.Links++;
                Put(fresh, linked);
                break;
            case < 94 when !model.Has(fresh):
                string text = new('t', random.Next(1, random.Next(10) == 0 ? 1000 : 60));
                volume.CreateSymbolicLink(below + fresh, text);
                Put(fresh, new TreeModel.Node { Target = text });
                break;
            case < 96:
                volume.Sync();
                break;
            case < 100:
                SetAttribute(model.Paths(_ => true));
                break;
            case < 106 when files.Count > 0 && !model.Has(fresh):
                string cloned = files[random.Next(files.Count)];
                volume.CloneFile(below + cloned, below + fresh);
                Put(fresh, new TreeModel.Node { Contents = model.Find(cloned).Contents });
                break;
            case >= 106 when files.Count > 0:
                CloneRange(files[random.Next(files.Count)], files[random.Next(files.Count)]);
                break;
        }
    }

    private void CloneRange(string from, string to)
    {
        const int Block = 4096;
        TreeModel.Node source = model.Find(from);
        TreeModel.Node target = model.Find(to);
        int fromBlock = random.Next((source.Contents.Length / Block) + 1);
        int toBlock = random.Next((target.Contents.Length / Block) + 3);
        int rest = source.Contents.Length - (fromBlock * Block);
        int length = random.Next(2) == 0 ? rest : random.Next((rest / Block) + 1) * Block;
        bool isLegal = (length % Block == 0 || (toBlock * Block) + length >= target.Contents.Length)
            && (source != target || (fromBlock * Block) + length <= toBlock * Block || (toBlock * Block) + length <= fromBlock * Block);
        using CffsFile read = volume.OpenFile(below + from);
        using CffsFile written = volume.OpenFile(below + to, CffsOpenMode.Write);
        if (!isLegal)
        {
            Assert.Equal(CffsError.Invalid, Assert.Throws<CffsException>(() => written.CloneRange(toBlock * Block, read, fromBlock * Block, length)).Error);
            return;
        }

        written.CloneRange(toBlock * Block, read, fromBlock * Block, length);
        byte[] next = new byte[length == 0 ? target.Contents.Length : Math.Max(target.Contents.Length, (toBlock * Block) + length)];
        target.Contents.CopyTo(next, 0);
        source.Contents.AsSpan(fromBlock * Block, length).CopyTo(next.AsSpan(Math.Min(toBlock * Block, next.Length)));
        target.Contents = next;
    }

    private void SetAttribute(List<string> all)
    {
        string path = all[random.Next(all.Count)];
        if (path.Length == 0)
        {
            return;
        }

        TreeModel.Node node = model.Find(path);
        string name = $"{(node.Target is null ? "user" : "trusted")}.k{random.Next(6)}";
        if (random.Next(3) == 0)
        {
            if (node.Attributes.ContainsKey(name))
            {
                volume.RemoveExtendedAttribute(below + path, name, followSymbolicLink: false);
                node.Attributes.Remove(name);
            }
            else
            {
                Assert.Equal(CffsError.NoAttribute, Assert.Throws<CffsException>(() => volume.RemoveExtendedAttribute(below + path, name, followSymbolicLink: false)).Error);
            }

            return;
        }

        byte[] value = Bytes(random.Next(4) == 0 ? random.Next(1500) : random.Next(40));
        volume.SetExtendedAttribute(below + path, name, value, CffsAttributeSet.Always, followSymbolicLink: false);
        node.Attributes[name] = value;
    }

    private void Overwrite(string path)
    {
        TreeModel.Node node = model.Find(path);
        int offset = random.Next(node.Contents.Length + (random.Next(4) == 0 ? 30000 : 1));
        byte[] bytes = Bytes(Length());
        using (CffsFile file = volume.OpenFile(below + path, CffsOpenMode.Write))
        {
            file.Write(offset, bytes);
        }

        // Writing nothing extends nothing (POSIX write).
        byte[] next = new byte[bytes.Length == 0 ? node.Contents.Length : Math.Max(node.Contents.Length, offset + bytes.Length)];
        node.Contents.CopyTo(next, 0);
        bytes.CopyTo(next.AsSpan(Math.Min(offset, next.Length)));
        node.Contents = next;
    }

    private void Truncate(string path)
    {
        TreeModel.Node node = model.Find(path);
        int length = random.Next(node.Contents.Length + 5000);
        using (CffsFile file = volume.OpenFile(below + path, CffsOpenMode.Write))
        {
            file.SetLength(length);
        }

        byte[] next = new byte[length];
        node.Contents.AsSpan(0, Math.Min(length, node.Contents.Length)).CopyTo(next);
        node.Contents = next;
    }

    private void Remove(string path)
    {
        TreeModel.Node node = model.Find(path);
        CffsFile? open = random.Next(4) == 0 ? volume.OpenFile(below + path) : null;
        volume.RemoveFile(below + path);
        if (open is not null)
        {
            byte[] read = new byte[node.Contents.Length];
            Assert.Equal(read.Length, open.Read(0, read));
            Assert.True(read.AsSpan().SequenceEqual(node.Contents));
            open.Dispose();
        }

        (TreeModel.Node parent, string name) = model.Split(path);
        parent.Entries!.Remove(name);
        node.Links--;
    }

    private void Rename(string fresh)
    {
        List<string> all = model.Paths(_ => true);
        string from = all[random.Next(all.Count)];
        string to = random.Next(3) == 0 ? all[random.Next(all.Count)] : fresh;
        if (from.Length == 0 || to.Length == 0)
        {
            return;
        }

        TreeModel.Node node = model.Find(from);
        TreeModel.Node? replaced = model.Has(to) ? model.Find(to) : null;
        if (replaced is not null && random.Next(2) == 0)
        {
            Exchange(from, node, to, replaced);
            return;
        }

        CffsError? expected =
            node == replaced ? null
            : to.StartsWith(from + "/", StringComparison.Ordinal) ? CffsError.Invalid
            : replaced is null ? null
            : (node.Entries is null) != (replaced.Entries is null) ? (node.Entries is null ? CffsError.IsDirectory : CffsError.NotDirectory)
            : replaced.Entries?.Count > 0 ? CffsError.NotEmpty
            : null;
        if (expected is { } error)
        {
            Assert.Equal(error, Assert.Throws<CffsException>(() => volume.Rename(below + from, below + to)).Error);
            return;
        }

        volume.Rename(below + from, below + to);
        if (node == replaced)
        {
            return;
        }

        if (replaced is not null)
        {
            replaced.Links--;
        }

        (TreeModel.Node oldParent, string oldName) = model.Split(from);
        oldParent.Entries!.Remove(oldName);
        Put(to, node);
    }

    private void Exchange(string path, TreeModel.Node node, string other, TreeModel.Node otherNode)
    {
        if (path.StartsWith(other + "/", StringComparison.Ordinal) || other.StartsWith(path + "/", StringComparison.Ordinal))
        {
            Assert.Equal(CffsError.Invalid, Assert.Throws<CffsException>(() => volume.Exchange(below + path, below + other)).Error);
            return;
        }

        volume.Exchange(below + path, below + other);
        Put(path, otherNode);
        (TreeModel.Node otherParent, string otherName) = model.Split(other);
        if (node == otherNode || otherParent.Entries!.ContainsKey(otherName))
        {
            Put(other, node);
        }
    }

    private void Put(string path, TreeModel.Node node)
    {
        (TreeModel.Node parent, string name) = model.Split(path);
        parent.Entries![name] = node;
    }

    private string Name() => random.Next(8) == 0
        ? new string((char)('a' + random.Next(26)), random.Next(20, 256))
        : $"n{random.Next(40)}{new string('x', random.Next(3) == 0 ? random.Next(40) : 0)}";

    private int Length() => random.Next(8) switch
    {
        0 => 0,
        6 or 7 => random.Next(400, 2200),
        1 or 2 => random.Next(400),
        3 => random.Next(5000),
        4 => random.Next(40_000),
        _ => random.Next(200_000),
    };

    private byte[] Bytes(int length)
    {
        byte[] bytes = new byte[length];
        random.NextBytes(bytes);
        return bytes;
    }
}
