// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah;

/// <summary>
/// Where documents come from: a file system, a dictionary, a program. The server asks once, keeps what it got in its
/// cache, and before each use asks cheaply whether it still holds.
/// </summary>
public interface IDocumentSource
{
    /// <summary>
    /// Looks a document up. Called on a reactor's thread, so work that would block must be awaited; the rest of the lookup may
    /// run anywhere, and the reactor serves others meanwhile. Exceptions are answered with 500.
    /// </summary>
    /// <param name="path">
    /// The decoded path as bytes: it begins with "/", has no empty, "." or ".." segment and no NUL, and never ends with "/"
    /// but for the root (a request for a folder asks for the folder's <c>index.html</c>). Valid for as long as the caller likes.
    /// </param>
    /// <param name="cancellationToken">Cancelled when the server stops.</param>
    ValueTask<DocumentLookup> FindAsync(ReadOnlyMemory<byte> path, CancellationToken cancellationToken);

    /// <summary>
    /// True while <paramref name="content"/>, given earlier for some path, is what that path would give now. Called for every
    /// request, on a reactor's thread: no waiting, no allocation.
    /// </summary>
    bool IsCurrent(DocumentContent content);

    /// <summary>
    /// Whether <see cref="IsCurrent"/> becomes false for what was given for a path also when something comes to be found, or may be found by the server as it was not before, at that path with
    /// <c>.br</c>, <c>.zst</c> or <c>.gz</c> behind it. Only then does the server look there for variants of documents (<see cref="CheetahServerOptions.Precompressed"/>): it would not see those that come later.
    /// Asked once. Default false.
    /// </summary>
    bool TellsOfVariants => false;
}

/// <summary>How a lookup ended.</summary>
public enum DocumentLookupStatus : byte
{
    /// <summary>Nothing there, or not for everyone: 404.</summary>
    NotFound,

    /// <summary>A document.</summary>
    Found,

    /// <summary>A folder, asked for without its slash: the client is sent to the path with a slash.</summary>
    Folder,

    /// <summary>Not now, for want of frames or time: 503.</summary>
    Unavailable,
}

/// <summary>The answer of <see cref="IDocumentSource.FindAsync"/>.</summary>
/// <param name="Status">How the lookup ended.</param>
/// <param name="Content">The document, exactly when <paramref name="Status"/> is <see cref="DocumentLookupStatus.Found"/>; the receiver disposes it.</param>
public readonly record struct DocumentLookup(DocumentLookupStatus Status, DocumentContent? Content = null)
{
    /// <summary>A document was found; whoever receives this value disposes it.</summary>
    public static DocumentLookup Found(DocumentContent content)
    {
        ArgumentNullException.ThrowIfNull(content);
        return new DocumentLookup(DocumentLookupStatus.Found, content);
    }

    /// <summary>Bytes for which a source found no frames in the pool; the cache makes room if it can, and asks again. If it cannot, the document that may be here is taken.</summary>
    internal long WantedBytes { get; private init; }

    /// <summary>For want of frames it is not given in the way it should be: it is served and not kept.</summary>
    internal bool IsMakeshift { get; init; }

    internal static DocumentLookup OutOfFrames(long lengthBytes, DocumentContent? otherwise = null) =>
        new(otherwise is null ? DocumentLookupStatus.Unavailable : DocumentLookupStatus.Found, otherwise) { WantedBytes = lengthBytes, IsMakeshift = true };
}
