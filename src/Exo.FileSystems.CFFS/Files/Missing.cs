// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Files;

/// <summary>
/// What is to be brought into core for an operation on a file. It is collected under the inode's lock and can be read without it: each request is proved when it is carried out, so that what has
/// changed meanwhile is refused and not believed.
/// </summary>
/// <param name="Requests">The blocks, those of the file and, with a small one, of its group.</param>
/// <param name="Own">The file's own, when others' are among the requests.</param>
/// <param name="Held">The slot blocks that prove others' blocks: kept in core until the read is over.</param>
internal readonly record struct Missing(List<XnReadRequest> Requests, XnReadRequest? Own, List<FrameNumber>? Held);
