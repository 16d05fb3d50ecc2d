// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Pages;

/// <summary>A source that can fetch what a page includes before anybody asks for it.</summary>
public interface IPageSource
{
    /// <summary>Whether a document is a page that had to be brought in: then what it includes has to be, too.</summary>
    bool IsColdPage(DocumentContent content);

    /// <summary>Fetches what a cold page includes, as far as there is room; what cannot be fetched is left to whoever asks for it. The page is in use meanwhile.</summary>
    /// <param name="path">The page's path, as in <see cref="IDocumentSource.FindAsync"/>.</param>
    /// <param name="content">The page.</param>
    /// <param name="cancellationToken">Cancelled when the server stops.</param>
    ValueTask FetchIncludesAsync(ReadOnlyMemory<byte> path, DocumentContent content, CancellationToken cancellationToken);
}
