// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Tests.Crashes.Promise;

namespace Exo.FileSystems.CFFS.Tests.Crashes.Ace;

/// <summary>A way to make things durable, as a step of a workload.</summary>
internal enum AcePersistence
{
    None,

    /// <summary><c>fsync</c> of what the last operation was about.</summary>
    Path,

    /// <summary><c>fsync</c> of what the first operation was about.</summary>
    FirstPath,

    /// <summary><c>fsync</c> of the directory of what the last operation was about.</summary>
    Directory,

    Sync,

    /// <summary>The volume is closed, which makes everything durable on its way.</summary>
    Close,
}

/// <summary>A class of workloads: sequences of so many operations of one alphabet, each with every choice of persistence between and at the end.</summary>
/// <param name="Name">As it is printed.</param>
/// <param name="Length">Operations.</param>
/// <param name="Alphabet">What they are drawn from.</param>
/// <param name="Between">What may follow each operation but the last.</param>
/// <param name="AtTheEnd">What may follow the last.</param>
internal sealed record AceClass(string Name, int Length, AceOperation[] Alphabet, AcePersistence[] Between, AcePersistence[] AtTheEnd)
{
    private static readonly AcePersistence[] s_end = [AcePersistence.Path, AcePersistence.FirstPath, AcePersistence.Directory, AcePersistence.Sync, AcePersistence.Close];

    public static AceClass[] All { get; } =
    [
        new("seq-1", 1, AceAlphabet.All, [], s_end),
        new("seq-2", 2, AceAlphabet.Pairs, [AcePersistence.None, AcePersistence.Path, AcePersistence.Directory, AcePersistence.Sync], s_end),
        new("seq-3-names", 3, AceAlphabet.Names, [AcePersistence.None, AcePersistence.Path], [AcePersistence.Path, AcePersistence.Directory, AcePersistence.Close]),
        new("seq-3-contents", 3, AceAlphabet.Contents, [AcePersistence.None, AcePersistence.Path], [AcePersistence.Path, AcePersistence.Close]),
        new("seq-3-nested", 3, AceAlphabet.Nested, [AcePersistence.None, AcePersistence.Sync], [AcePersistence.Path, AcePersistence.Directory, AcePersistence.Close]),
        new("seq-1-whiteout", 1, AceAlphabet.Whiteouts, [], s_end),
        new("seq-2-whiteout", 2, AceAlphabet.Whiteouts, [AcePersistence.None, AcePersistence.Path, AcePersistence.Sync], s_end),
        new("seq-3-whiteout", 3, AceAlphabet.Whiteouts, [AcePersistence.None], [AcePersistence.Directory, AcePersistence.Sync]),
        new("seq-1-access", 1, AceAlphabet.Access, [], s_end) { Start = AceAlphabet.AccessStart },
        new("seq-2-access", 2, AceAlphabet.Access, [AcePersistence.None, AcePersistence.Path, AcePersistence.Sync], s_end) { Start = AceAlphabet.AccessStart },
    ];

    /// <summary>What makes the tree that they start from.</summary>
    public AceOperation[] Start { get; init; } = AceAlphabet.Start;

    /// <summary>How many there are, those among them whose operations fail.</summary>
    public int Count => checked((int)(Math.Pow(Alphabet.Length, Length) * Math.Pow(Between.Length, Length - 1) * AtTheEnd.Length));

    /// <summary>The workload of an index. Neighbours begin alike, so that what one has shown need not be looked at again.</summary>
    public AceWorkload this[int index]
    {
        get
        {
            AceOperation[] operations = new AceOperation[Length];
            AcePersistence[] after = new AcePersistence[Length];
            int rest = index;
            for (int i = Length - 1; i >= 0; i--)
            {
                AcePersistence[] choices = i == Length - 1 ? AtTheEnd : Between;
                after[i] = choices[rest % choices.Length];
                rest /= choices.Length;
                operations[i] = Alphabet[rest % Alphabet.Length];
                rest /= Alphabet.Length;
            }

            return new AceWorkload(this, index, operations, after);
        }
    }
}

/// <summary>Operations, and what is made durable after each.</summary>
internal sealed record AceWorkload(AceClass Class, int Index, AceOperation[] Operations, AcePersistence[] After)
{
    public override string ToString() =>
        $"{Class.Name} {Index}: {string.Join("; ", Operations.Select((operation, i) => After[i] == AcePersistence.None ? $"{operation}" : $"{operation}; {Text(i)}"))}";

    /// <summary>The path that a persistence step names.</summary>
    public string? PathOf(int step) => After[step] switch
    {
        AcePersistence.Path => Operations[step].Path,
        AcePersistence.FirstPath => Operations[0].Path,
        AcePersistence.Directory => Operations[step].Path.LastIndexOf('/') is var cut and >= 0 ? Operations[step].Path[..cut] : "",
        _ => null,
    };

    /// <summary>The trees after each operation; null where an operation fails, or something is made durable that is not there: such a workload says nothing that another does not.</summary>
    public PromisedTree[]? Trees(PromisedTree start)
    {
        PromisedTree[] trees = new PromisedTree[Operations.Length];
        PromisedTree? tree = start;
        for (int i = 0; i < trees.Length; i++)
        {
            tree = Operations[i].Model(tree, i);
            if (tree is null || (PathOf(i) is { } path && (tree.Find(path) is not { } node || tree.Node(node)!.Kind == CffsKind.SymbolicLink))
                || (After[i] == AcePersistence.FirstPath && Operations[0].Path == Operations[i].Path))
            {
                return null;
            }

            trees[i] = tree;
        }

        return trees;
    }

    private string Text(int step) => PathOf(step) is { } path ? $"fsync {(path.Length == 0 ? "/" : path)}" : After[step] == AcePersistence.Sync ? "sync" : "close";
}
