// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah;

/// <summary>
/// The bytes of a document that is not brought in whole: responses read it range by range, ahead of what their clients take (<see cref="CheetahServerOptions.DocumentWindowBytes"/>). It stands for one version of the document;
/// disposed once, when the document has left the cache and the last response.
/// </summary>
public interface IDocumentRanges : IDisposable
{
    /// <summary>
    /// Reads a range. Called on a reactor's thread, so work that would block must be awaited; several ranges may be asked for at a time, also by several threads. Ranges begin at multiples of 4096 and end at one or at the
    /// document's end; those that responses have in common are read once.
    /// </summary>
    /// <param name="offsetBytes">First byte wanted.</param>
    /// <param name="lengthBytes">Bytes wanted, 1 to 262144, inside the document.</param>
    /// <param name="cancellationToken">Cancelled when the server stops.</param>
    /// <returns>
    /// The range, whole. Null: the document is not any more what it was when it was found (it has been changed, or cut). Responses that have begun end with a reset, since what they have promised cannot be had any more; for
    /// others the document is looked up anew. An exception ends them in the same way, or is answered with 500.
    /// </returns>
    ValueTask<DocumentRange?> ReadAsync(long offsetBytes, int lengthBytes, CancellationToken cancellationToken);
}
