// SPDX-License-Identifier: MIT
using System.Collections;
using Microsoft.Extensions.FileProviders;

namespace Exo.Adapters.FileProvider;

/// <summary>The entries of a directory, read anew by each enumeration.</summary>
internal sealed class CffsDirectoryContents(ProvidedTree tree, string path) : IDirectoryContents
{
    public bool Exists => true;

    public IEnumerator<IFileInfo> GetEnumerator() => tree.List(path).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
