// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Exo.FileSystems.CFFS;
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>
/// xcp [-v] SOURCE… TARGET: copies of trees by the file system, which knows its disk (<see cref="CffsVolume.CopyTree(string, string, CffsVolume?, bool, CffsIdentity?, CffsIdentity?, IProgress{CffsCopyReport}?, CancellationToken)"/>):
/// read in the order of the disk, large files by sharing blocks, and there as a whole or, after a crash or ^C, not at all. What is no directory goes as by cp; what is mounted in the tree is not part of it.
/// </summary>
internal static class Xcp
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        (Dictionary<char, string> options, List<string> operands) = Tool.Parse(self, "v");
        if (operands.Count < 2)
        {
            throw new UsageException("usage: xcp [-v] SOURCE… TARGET");
        }

        return await Tool.ForEachAsync(self, operands[..^1], async source =>
        {
            string target = Tool.Destination(self, source, operands[^1]);
            if (!self.Files.Stat(source, followLink: false).IsDirectory)
            {
                await Cp.CopyAsync(self, source, target, isDeep: true);
                return;
            }

            CffsCopyReport report = await self.Files.CopyTreeAsync(source, target);
            if (options.ContainsKey('v'))
            {
                string line = string.Create(
                    CultureInfo.InvariantCulture,
                    $"{source} -> {target}: {report.Files} files, {report.Directories} directories, {report.Others} others, {report.Links} links; {report.Bytes} bytes copied, {report.SharedBytes} shared\n");
                await self.Files.WriteAsync(1, Encoding.UTF8.GetBytes(line));
            }
        });
    }
}
