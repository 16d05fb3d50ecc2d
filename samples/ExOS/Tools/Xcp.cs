// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS;
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>
/// xcp SOURCE… TARGET: a copy of trees that knows the disk. It lists the tree first and goes through the files in the order of their blocks; each piece of a megabyte is lent from the file system's cache and written from
/// there by one vectored write: the bytes are in the source's frames all the time, and no buffer of this program's is between.
/// </summary>
internal static class Xcp
{
    private const int PieceBytes = 1 << 20;

    public static async ValueTask<int> MainAsync(Process self)
    {
        List<string> operands = Tool.Parse(self, "v").Operands;
        if (operands.Count < 2)
        {
            throw new UsageException("usage: xcp SOURCE… TARGET");
        }

        return await Tool.ForEachAsync(self, operands[..^1], async source =>
        {
            List<(ulong Block, string Source, string Target, FileStatus Status)> files = [];
            await CollectAsync(self, source, Tool.Destination(self, source, operands[^1]), files);
            foreach ((_, string from, string to, FileStatus status) in files.OrderBy(file => file.Block))
            {
                await self.CheckpointAsync();
                await CopyFileAsync(self, from, to, status.Permissions);
            }
        });
    }

    /// <summary>Makes the directories, and lists the files with where they lie.</summary>
    private static async ValueTask CollectAsync(Process self, string source, string target, List<(ulong, string, string, FileStatus)> files)
    {
        FileStatus status = self.Files.Stat(source, followLink: false);
        if (status.Kind == FileKind.SymbolicLink)
        {
            self.Files.SymbolicLink(self.Files.ReadLink(source), target);
        }
        else if (status.IsDirectory)
        {
            if ((self.Files.Absolute(target) + "/").StartsWith(self.Files.Absolute(source).TrimEnd('/') + "/", StringComparison.Ordinal))
            {
                throw new ExosException(Errno.Invalid);
            }

            if (self.Files.TryStat(target) is not { IsDirectory: true })
            {
                self.Files.MakeDirectory(target, status.Permissions);
            }

            foreach (string name in self.Files.List(source))
            {
                await CollectAsync(self, Tool.Join(source, name), Tool.Join(target, name), files);
            }
        }
        else
        {
            OpenFile file = await self.Files.OpenFileAsync(source, OpenFlags.Read);
            ulong block = file is DiskFile disk && disk.File.ReadExtents() is [{ Block: { } first }, ..] ? first.Value : 0;
            file.LetGo();
            files.Add((block, source, target, status));
        }
    }

    private static async ValueTask CopyFileAsync(Process self, string source, string target, int permissions)
    {
        OpenFile from = await self.Files.OpenFileAsync(source, OpenFlags.Read);
        try
        {
            OpenFile to = await self.Files.OpenFileAsync(target, OpenFlags.Write | OpenFlags.Create | OpenFlags.Truncate, permissions);
            try
            {
                if (from is DiskFile { File: var input } && to is DiskFile { File: var output })
                {
                    for (long offset = 0; offset < input.Length; offset += PieceBytes)
                    {
                        using CffsLease lease = await input.LeaseAsync(offset, PieceBytes);
                        await output.WriteAsync(offset, Pieces(self, lease));
                    }
                }
                else
                {
                    throw new ExosException(Errno.Invalid);
                }
            }
            finally
            {
                to.LetGo();
            }
        }
        finally
        {
            from.LetGo();
        }
    }

    /// <summary>The lent bytes, run of frames by run of frames.</summary>
    private static List<ReadOnlyMemory<byte>> Pieces(Process self, CffsLease lease)
    {
        List<ReadOnlyMemory<byte>> pieces = [];
        int skip = lease.FirstByteOffset;
        int left = lease.LengthBytes;
        foreach (CffsFrameRun run in lease.Runs)
        {
            ReadOnlyMemory<byte> bytes = self.System.Frames.Memory(run.First, run.Count)[skip..];
            bytes = bytes[..Math.Min(bytes.Length, left)];
            pieces.Add(bytes);
            left -= bytes.Length;
            skip = 0;
        }

        return pieces;
    }
}
