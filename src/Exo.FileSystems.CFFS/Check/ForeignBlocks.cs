// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Check;

/// <summary>What the other file systems of a disk own. Their formats are known to XN alone: its recovery, run on their roots, tells.</summary>
internal static class ForeignBlocks
{
    /// <summary>Free is what neither XN nor one of these roots owns; null when the type catalogue cannot be loaded.</summary>
    public static DiskFreeMap? Find(BlockDevice device, in XnSuperblock xn, List<RootEntry> roots)
    {
        TemplateCatalogue templates = new(device, xn.TemplateStart, xn.TemplateSlots);
        try
        {
            templates.Load();
        }
        catch (IOException)
        {
            return null;
        }

        DiskFreeMap free = new(xn.BlockCount);
        new RecoveryPass(device, xn, templates, [.. roots.Where(root => templates.Find(root.Template) is not null)], null, null).Run(free, []);
        return free;
    }
}
