// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Exo.Core.Ipc;
using Exo.FileSystems.CFFS;
using ExOS.Processes;

namespace ExOS.Files;

/// <summary>The system calls of a process that are about names and descriptors. Errors are <see cref="ExosException"/> and, with the same numbers, <see cref="CffsException"/>.</summary>
internal sealed class FileCalls(Process self)
{
    private MountTable Mounts => self.System.Mounts;

    public string WorkingDirectory { get; set; } = "/";

    public string Absolute(string path) => MountTable.Normalise(WorkingDirectory, path);

    public async ValueTask<int> OpenAsync(string path, OpenFlags flags, int permissions = 0x1A4, bool closesOnExec = false) =>
        self.Descriptors.Add(await OpenFileAsync(path, flags, permissions), closesOnExec);

    /// <summary>Opens a file that gets no descriptor: whoever has it lets go of it.</summary>
    public async ValueTask<OpenFile> OpenFileAsync(string path, OpenFlags flags, int permissions = 0x1A4)
    {
        if (path.Length == 0)
        {
            throw new ExosException(Errno.NotFound);
        }

        (FileTree tree, string inTree) = Mounts.Find(Absolute(path));
        return await tree.OpenAsync(inTree, flags, permissions);
    }

    public void Close(int descriptor) => self.Descriptors.Close(descriptor);

    /// <summary>Reads what there is; waits for something if there is nothing.</summary>
    /// <returns>Bytes read; 0 at the end.</returns>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<int> ReadAsync(int descriptor, Memory<byte> buffer)
    {
        while (true)
        {
            if (self.Signals.Deliver())
            {
                throw new ExosException(Errno.Interrupted);
            }

            try
            {
                return await self.Descriptors[descriptor].ReadAsync(self, buffer);
            }
            catch (OperationCanceledException)
            {
                // A signal: it is delivered above, and the read begins again if it may.
            }
        }
    }

    /// <summary>Writes all of it.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask WriteAsync(int descriptor, ReadOnlyMemory<byte> bytes)
    {
        _ = self.Signals.Deliver();
        await self.Descriptors[descriptor].WriteAsync(self, bytes);
    }

    /// <summary>A pipe; both ends are closed on exec unless they are duplicated to another number.</summary>
    public (int Reader, int Writer) MakePipe()
    {
        (PipeReadEnd reader, PipeWriteEnd writer) = Pipe.Create(self.System.Frames, self.System.Root, self.Environment, self.Environment);
        return (self.Descriptors.Add(new PipeReader(reader), closesOnExec: true), self.Descriptors.Add(new PipeWriter(writer), closesOnExec: true));
    }

    public FileStatus Stat(string path, bool followLink = true)
    {
        if (path.Length == 0)
        {
            throw new ExosException(Errno.NotFound);
        }

        (FileTree tree, string inTree) = Mounts.Find(Absolute(path));
        return tree.Stat(inTree, followLink);
    }

    public FileStatus? TryStat(string path, bool followLink = true)
    {
        try
        {
            return Stat(path, followLink);
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>The names in a directory, sorted, without <c>.</c> and <c>..</c>.</summary>
    public List<string> List(string path)
    {
        (FileTree tree, string inTree) = Mounts.Find(Absolute(path));
        List<string> names = [.. tree.List(inTree)];
        names.Sort(StringComparer.Ordinal);
        return names;
    }

    public void MakeDirectory(string path, int permissions = 0x1ED)
    {
        (FileTree tree, string inTree) = Mounts.Find(Absolute(path));
        tree.MakeDirectory(inTree, permissions);
    }

    public void Remove(string path, bool isDirectory = false)
    {
        (FileTree tree, string inTree) = Mounts.Find(Absolute(path));
        tree.Remove(inTree, isDirectory);
    }

    public void Rename(string from, string to)
    {
        (FileTree fromTree, string fromPath) = Mounts.Find(Absolute(from));
        (FileTree toTree, string toPath) = Mounts.Find(Absolute(to));
        if (fromTree != toTree)
        {
            throw new ExosException(Errno.CrossDevice);
        }

        fromTree.Rename(fromPath, toPath);
    }

    /// <summary>Copies a directory and everything below it on C-FFS, within a volume or to another: whole or, if a signal comes between, not at all.</summary>
    /// <exception cref="ExosException">Invalid: one of them is in another kind of tree; Interrupted.</exception>
    public async ValueTask<CffsCopyReport> CopyTreeAsync(string source, string target)
    {
        if (Mounts.Find(Absolute(source)) is not (CffsTree from, var fromPath) || Mounts.Find(Absolute(target)) is not (CffsTree to, var toPath))
        {
            throw new ExosException(Errno.Invalid);
        }

        using CancellationTokenSource giveUp = new();
        Task<CffsCopyReport> copying = Task.Run(() => from.Volume.CopyTree(fromPath, toPath, to.Volume, cancellationToken: giveUp.Token), giveUp.Token);
        try
        {
            while (true)
            {
                if (self.Signals.Deliver())
                {
                    giveUp.Cancel();
                }

                try
                {
                    return await copying.WaitAsync(giveUp.IsCancellationRequested ? CancellationToken.None : self.Signals.Interruption);
                }
                catch (OperationCanceledException) when (copying.IsCanceled)
                {
                    throw new ExosException(Errno.Interrupted);
                }
                catch (OperationCanceledException)
                {
                    // A signal: it is delivered above, and the copy goes on if it may.
                }
            }
        }
        finally
        {
            // Whoever is ended by a signal leaves nothing behind that is under way: the volume may be unmounted next.
            giveUp.Cancel();
            await ((Task)copying).ConfigureAwait(ConfigureAwaitOptions.ContinueOnCapturedContext | ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    public void Link(string existing, string path)
    {
        (FileTree fromTree, string fromPath) = Mounts.Find(Absolute(existing));
        (FileTree toTree, string toPath) = Mounts.Find(Absolute(path));
        if (fromTree != toTree)
        {
            throw new ExosException(Errno.CrossDevice);
        }

        fromTree.Link(fromPath, toPath);
    }

    public void SymbolicLink(string target, string path)
    {
        (FileTree tree, string inTree) = Mounts.Find(Absolute(path));
        tree.SymbolicLink(target, inTree);
    }

    public string ReadLink(string path)
    {
        (FileTree tree, string inTree) = Mounts.Find(Absolute(path));
        return tree.ReadLink(inTree);
    }

    public void ChangeDirectory(string path)
    {
        string absolute = Absolute(path);
        if (!Stat(absolute).IsDirectory)
        {
            throw new ExosException(Errno.NotDirectory);
        }

        WorkingDirectory = absolute;
    }

    /// <summary>Mounts the C-FFS image in a file of the host at a directory.</summary>
    public void Mount(string image, string path)
    {
        string absolute = Absolute(path);
        if (!Stat(absolute).IsDirectory)
        {
            throw new ExosException(Errno.NotDirectory, path);
        }

        CffsVolume volume = CffsVolume.Open(image, new CffsOpenOptions { Frames = self.System.Frames });
        try
        {
            Mounts.Add(absolute, new CffsTree(volume, ownsVolume: true), image);
        }
        catch
        {
            volume.Dispose();
            throw;
        }
    }

    public void Unmount(string path) => Mounts.Remove(Absolute(path));
}
