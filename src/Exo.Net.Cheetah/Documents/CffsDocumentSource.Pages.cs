// SPDX-License-Identifier: MIT
using System.Buffers;
using Exo.FileSystems.CFFS;
using Exo.FileSystems.CFFS.Inodes;
using Exo.Net.Cheetah.Pages;

namespace Exo.Net.Cheetah;

/// <content>
/// HTML-based grouping: with a page that comes from the disk comes what it includes, by one batch of requests, which is one request for what an import has placed together. It is brought into the file system's cache only, as
/// the same identity could see it; documents are made of it when somebody asks.
/// </content>
public sealed partial class CffsDocumentSource : IPageSource
{
    // Style sheets that include style sheets: each level is known only when the one before it has come.
    private const int LevelsMax = 4;

    /// <summary>Whether what a page includes is fetched with it. Measurements of what it gains turn it off.</summary>
    internal bool FetchesIncludes { get; init; } = true;

    /// <inheritdoc/>
    bool IPageSource.IsColdPage(DocumentContent content) => content.State is Held { IsColdPage: true };

    /// <inheritdoc/>
    async ValueTask IPageSource.FetchIncludesAsync(ReadOnlyMemory<byte> path, DocumentContent content, CancellationToken cancellationToken)
    {
        CffsFile page = ((Held)content.State!).File;
        List<(byte[] Path, CffsFile File)> opened = [];
        byte[] buffer = ArrayPool<byte>.Shared.Rent(PageIncludes.ScannedBytesMax);
        try
        {
            using CffsDirectory directory = await volume.OpenDirectoryAsync(_root, _identity, cancellationToken).ConfigureAwait(false);
            CffsIdentity guest = directory.Confine(_identity);
            int read = await page.ReadAsync(0, buffer.AsMemory(0, PageIncludes.ScannedBytesMax), cancellationToken).ConfigureAwait(false);
            PageIncludes includes = new(path.Span, buffer.AsSpan(0, read));
            int budget = volume.Core.Files.TogetherBlocksMax;
            int known = 0;
            for (int level = 0; level < LevelsMax && known < includes.Paths.Count; level++)
            {
                int first = opened.Count;
                for (; known < includes.Paths.Count; known++)
                {
                    if (await TryOpenAsync(includes.Paths[known], guest, cancellationToken).ConfigureAwait(false) is { } file)
                    {
                        opened.Add((includes.Paths[known], file));
                    }
                }

                await volume.Core.Files.FetchTogether([.. opened.Skip(first).Select(include => include.File.Node)], ref budget).ConfigureAwait(false);
                foreach ((byte[] sheet, CffsFile file) in opened.Skip(first).Where(include => PageIncludes.IsStyleSheet(include.Path)))
                {
                    read = await file.ReadAsync(0, buffer.AsMemory(0, PageIncludes.ScannedBytesMax), cancellationToken).ConfigureAwait(false);
                    includes.AddStyleSheet(sheet, buffer.AsSpan(0, read));
                }
            }

            volume.Core.Files.NoteTogether(page.Node, [.. opened.Select(include => include.File.Node)]);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
            opened.ForEach(include => include.File.Dispose());
        }
    }

    /// <summary>Null for what is not there, or not for everybody.</summary>
    private async ValueTask<CffsFile?> TryOpenAsync(byte[] path, CffsIdentity guest, CancellationToken cancellationToken)
    {
        try
        {
            return await volume.OpenFileAsync(path, CffsOpenMode.Read, 0, guest, cancellationToken).ConfigureAwait(false);
        }
        catch (CffsException)
        {
            return null;
        }
    }
}
