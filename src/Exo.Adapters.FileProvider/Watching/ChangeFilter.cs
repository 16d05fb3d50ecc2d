// SPDX-License-Identifier: MIT
using System.IO.Enumeration;
using Exo.FileSystems.CFFS;
using Microsoft.Extensions.FileSystemGlobbing;

namespace Exo.Adapters.FileProvider.Watching;

/// <summary>
/// Which changes concern a path or a pattern. It may say yes once too often, and never no once too often: a directory that comes, goes or gets another name concerns whatever might be in it, and so does a
/// link that may lead to one.
/// </summary>
internal sealed class ChangeFilter
{
    private readonly string path;
    private readonly string[] names;
    private readonly Matcher? matcher;

    /// <param name="path">A path in the form of <see cref="ProvidedTree.Normalize"/>.</param>
    /// <param name="isTree">Everything below the path.</param>
    public ChangeFilter(string path, bool isTree)
    {
        this.path = isTree ? (path.Length == 0 ? "**" : path + "/**") : path;
        names = this.path.Split('/');
        if (this.path.Contains('*', StringComparison.Ordinal))
        {
            matcher = new Matcher(StringComparison.Ordinal);
            matcher.AddInclude(this.path);
        }
    }

    public bool Concerns(in CffsChange change)
    {
        if (change.Kind == CffsChangeKind.Overflow || change.Path.IsEmpty)
        {
            return true;   // nobody knows which file
        }

        bool isTree = change.InodeKind is CffsKind.Directory or CffsKind.SymbolicLink;
        return Concerns(change.PathString, isTree) || (change.Kind == CffsChangeKind.Renamed && Concerns(change.OldPathString, isTree));
    }

    private bool Concerns(string changed, bool isTree) => Names(changed) || (isTree && MayBeBelow(changed));

    private bool Names(string changed) => matcher is null ? changed == path : matcher.Match(changed).HasMatches;

    // Name by name; what Matcher would not take for a wildcard only makes this say yes more often.
    private bool MayBeBelow(string directory)
    {
        string[] parents = directory.Split('/');
        for (int i = 0; i < parents.Length; i++)
        {
            if (i >= names.Length)
            {
                return false;
            }

            if (names[i] == "**")
            {
                return true;
            }

            if (!FileSystemName.MatchesSimpleExpression(names[i], parents[i], ignoreCase: false))
            {
                return false;
            }
        }

        return names.Length > parents.Length;
    }
}
