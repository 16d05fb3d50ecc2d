// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Tests.Crashes.Promise;
using static Exo.FileSystems.CFFS.Tests.Crashes.Ace.AceOperation;

namespace Exo.FileSystems.CFFS.Tests.Crashes.Ace;

/// <summary>
/// The operations that workloads are made of, on four directories with two names in each, after ACE (OSDI 2018). At the start every <c>foo</c> is a file of another shape and no <c>bar</c> exists:
/// <code>
///   foo      100 bytes, in its directory entry       A/foo    9,000 bytes in one extent, with an attribute
///   B/foo    two blocks with a hole between: a tree  A/C/foo  1,500 bytes in a pack
/// </code>
/// </summary>
internal static class AceAlphabet
{
    private static readonly string[] s_foos = ["foo", "A/foo", "B/foo", "A/C/foo"];
    private static readonly string[] s_bars = ["bar", "A/bar", "B/bar", "A/C/bar"];
    private static readonly string[] s_files = [.. s_foos, .. s_bars];
    private static readonly string[] s_directories = ["A", "B", "A/C"];

    // Renames and exchanges of directories: beside, up, down, into each other.
    private static readonly (string From, string To)[] s_moves =
        [("A", "B/bar"), ("A", "bar"), ("A/C", "bar"), ("A/C", "B/bar"), ("A/C", "A/bar"), ("B", "A/bar"), ("B", "A/C/bar"), ("B", "bar"), ("A/bar", "A/C"), ("bar", "B")];

    // Two lists of which neither grants all that the other does, each with fewer bits for the owning group than the mask has.
    private static readonly PromisedAccess.Entry[] s_wide = PromisedAccess.Of(7, 7, 4, 5, 7, 1);
    private static readonly PromisedAccess.Entry[] s_narrow = PromisedAccess.Of(7, 4, 1, 6, 6, 0);

    // Ranges that files share: at the beginning, at the end of both, into a hole, behind the end, within one file.
    private static readonly AceOperation[] s_shares =
    [
        CloneRange("A/foo", 0, "B/foo", 0, 4096), CloneRange("A/foo", 4096, "B/foo", 20_480, 4904), CloneRange("B/foo", 0, "A/foo", 4096, 4096), CloneRange("A/foo", 0, "A/foo", 12_288, 8192),
        CloneRange("B/foo", 20_480, "B/foo", 8192, 4096),
    ];

    /// <summary>Everything, for single operations.</summary>
    public static AceOperation[] All { get; } =
    [
        .. s_bars.Select(Create), .. s_bars.Select(MakeDirectory), .. s_bars.Select(SymbolicLink), .. s_bars.Select(Unnamed),
        .. s_foos.Select(Unlink),
        .. from foo in s_foos from bar in s_bars select Link(foo, bar),
        .. from foo in s_foos from file in s_files where foo != file select Rename(foo, file),
        .. s_moves[..8].Select(move => Rename(move.From, move.To)),
        .. from one in s_foos from other in s_foos where string.CompareOrdinal(one, other) < 0 select Exchange(one, other),
        Exchange("A/C", "B"), Exchange("A", "B"), Exchange("A/C", "foo"), Exchange("B", "A/foo"),
        .. s_foos.Select(foo => SetAttribute(foo, 30)), .. s_foos.Select(foo => SetAttribute(foo, 600)), .. s_directories.Select(directory => SetAttribute(directory, 30)),
        RemoveAttribute("A/foo"),
        .. s_foos.Concat(s_directories).Select(ChangeMode), .. s_foos.Concat(s_directories).Select(SetTime),
        .. s_foos.SelectMany(Data),
        .. from foo in s_foos from bar in s_bars select CloneFile(foo, bar),
        .. s_shares,
        .. from isSnapshot in new[] { false, true } from move in s_moves[..4] select CopyTree(move.From, move.To, isSnapshot),
    ];

    /// <summary>For pairs: of places that are alike one.</summary>
    public static AceOperation[] Pairs { get; } =
    [
        Create("bar"), Create("A/bar"), Create("B/bar"), MakeDirectory("A/bar"), MakeDirectory("B/bar"), MakeDirectory("bar"), SymbolicLink("A/bar"), Unnamed("A/bar"),
        Unlink("foo"), Unlink("A/foo"), Unlink("B/foo"), Unlink("A/C/foo"), Unlink("A/bar"), RemoveDirectory("A/C"), RemoveDirectory("A/bar"), RemoveDirectory("B"),
        Link("A/foo", "A/bar"), Link("A/foo", "B/bar"), Link("foo", "A/bar"), Link("B/foo", "A/bar"), Link("A/bar", "B/bar"),
        Rename("A/foo", "A/bar"), Rename("A/bar", "A/foo"), Rename("A/foo", "B/bar"), Rename("A/foo", "B/foo"), Rename("foo", "A/foo"), Rename("B/foo", "A/foo"),
        Rename("A/bar", "B/bar"), Rename("B/bar", "A/bar"), Rename("A/C/foo", "A/foo"), Rename("foo", "bar"),
        .. new[] { 0, 2, 3, 5, 6, 8, 9 }.Select(move => Rename(s_moves[move].From, s_moves[move].To)),
        Exchange("A/foo", "B/foo"), Exchange("foo", "A/foo"), Exchange("A/foo", "A/bar"), Exchange("A/C", "B"), Exchange("A/bar", "B/bar"), Exchange("B", "A/foo"),
        SetAttribute("A/foo", 30), SetAttribute("A/bar", 30), SetAttribute("B/foo", 600), RemoveAttribute("A/foo"), ChangeMode("A/foo"), ChangeMode("A"), SetTime("A/foo"),
        .. Data("A/foo"),
        Truncate("foo", 60), Truncate("foo", 20_000), Write("foo", -1, 100), Write("foo", -1, 5000), Allocate("foo", 0, 9000, keepSize: true),
        CloneFile("A/foo", "A/bar"), CloneFile("B/foo", "B/bar"), .. s_shares, CopyTree("A", "B/bar", isSnapshot: false), CopyTree("A/C", "bar", isSnapshot: false),
        Truncate("B/foo", 0), Truncate("B/foo", 5000), Write("B/foo", 8192, 4096), Write("B/foo", 4000, 9000), Punch("B/foo", 20_480, 4096), Write("A/bar", -1, 100), Write("A/bar", -1, 9000),
        Create("A/C/bar"), Write("A/C/bar", -1, 1000), Write("A/C/foo", 0, 600), Write("A/C/foo", -1, 300), Write("A/C/foo", -1, 1000), Truncate("A/C/foo", 0), Truncate("A/C/foo", 700), Rename("A/C/foo", "A/C/bar"), Link("A/C/foo", "A/bar"),
    ];

    /// <summary>For triples: names.</summary>
    public static AceOperation[] Names { get; } =
    [
        Create("A/bar"), Create("A/foo"), MakeDirectory("A/bar"), SymbolicLink("A/bar"), Unnamed("A/foo"), Unlink("A/foo"), Unlink("A/bar"), Unlink("B/foo"), RemoveDirectory("A/bar"),
        Link("A/foo", "A/bar"), Link("A/foo", "B/bar"), Link("B/foo", "A/bar"), Rename("A/foo", "A/bar"), Rename("A/bar", "A/foo"), Rename("A/foo", "B/foo"), Rename("B/foo", "A/foo"),
        Rename("A/bar", "B/bar"), Rename("B/bar", "A/foo"), Exchange("A/foo", "B/foo"), Exchange("A/foo", "A/bar"), SetAttribute("A/foo", 30), Write("A/foo", -1, 100),
    ];

    /// <summary>For triples: contents.</summary>
    public static AceOperation[] Contents { get; } =
    [
        Truncate("A/foo", 0), Truncate("A/foo", 60), Truncate("A/foo", 4097), Truncate("A/foo", 20_000), Write("A/foo", -1, 100), Write("A/foo", -1, 5000), Write("A/foo", 4000, 300),
        Write("A/foo", 24_576, 100), Allocate("A/foo", 0, 16_384, keepSize: false), Allocate("A/foo", 8192, 16_384, keepSize: true), Punch("A/foo", 4096, 4096), Zero("A/foo", 100, 5000),
        Write("foo", -1, 100), Write("foo", -1, 5000), Truncate("foo", 0), Write("B/foo", 8192, 4096), Truncate("B/foo", 5000),
    ];

    /// <summary>For triples: directories in one another.</summary>
    public static AceOperation[] Nested { get; } =
    [
        MakeDirectory("bar"), MakeDirectory("A/bar"), MakeDirectory("B/bar"), RemoveDirectory("A/C"), RemoveDirectory("A/bar"), RemoveDirectory("bar"), Unlink("A/C/foo"), Create("A/C/bar"),
        .. s_moves.Select(move => Rename(move.From, move.To)), Rename("bar", "A/bar"), Rename("A/bar", "B/bar"), Rename("B/bar", "A/C"), Rename("A/C/foo", "B/foo"), Rename("B/foo", "A/C/bar"),
        Exchange("A/C", "B"), Exchange("A", "B"), Exchange("A/bar", "A/C"),
    ];

    /// <summary>For whiteouts: renames of every shape that leave one, and what is done with it, over it and where it was.</summary>
    public static AceOperation[] Whiteouts { get; } =
    [
        .. s_foos.Select(foo => Whiteout(foo, "A/bar")), Whiteout("A/foo", "B/foo"), Whiteout("A/foo", "B/bar"), Whiteout("B/foo", "A/foo"), Whiteout("A/bar", "A/foo"), Whiteout("A/bar", "B/bar"),
        Whiteout("A/C", "A/bar"), Whiteout("A/C", "B/bar"), Whiteout("A", "B/bar"), Whiteout("B", "A/bar"), Whiteout("A/C", "B"),
        Unlink("A/foo"), Unlink("B/foo"), Unlink("A/C"), Unlink("A/bar"), Create("A/foo"), MakeDirectory("A/foo"), MakeDirectory("A/C"), SymbolicLink("A/foo"), RemoveDirectory("B"),
        Link("A/foo", "B/bar"), Link("A/foo", "A/C/bar"), Link("B/foo", "A/bar"), Link("A/C", "bar"),
        Rename("A/foo", "B/bar"), Rename("A/foo", "A/C/bar"), Rename("B/foo", "A/foo"), Rename("A/bar", "A/foo"), Rename("B/bar", "A/foo"), Rename("foo", "A/foo"), Rename("A/C", "bar"), Rename("A", "bar"),
        Exchange("A/foo", "A/bar"), Exchange("A/foo", "B/foo"), Exchange("A/foo", "foo"), Exchange("A/C", "A/bar"), ChangeMode("A/foo"), Write("A/bar", -1, 5000),
    ];

    /// <summary>For access control lists: what is made where a default list is, the lists of each shape of file, and what moves or copies inodes that have some.</summary>
    public static AceOperation[] Access { get; } =
    [
        Create("A/bar"), MakeDirectory("A/bar"), Unnamed("A/bar"), SymbolicLink("A/bar"), CloneFile("A/foo", "A/bar"), CloneFile("B/foo", "A/bar"), Create("A/bar/new"), MakeDirectory("A/bar/new"),
        Create("A/C/bar"), MakeDirectory("A/C/bar"), Unnamed("A/C/bar"), Create("B/bar"),
        .. s_foos.SelectMany(foo => new[] { SetAccess(foo, s_wide), SetAccess(foo, s_narrow) }), SetAccess("A/foo", PromisedAccess.Of(6, 0, 0)), SetAccess("B/foo", PromisedAccess.Of(6, 0, 0)),
        SetAccess("A/bar", s_wide), SetAccess("A", s_narrow), SetAccess("B", s_wide),
        SetDefault("A", s_narrow), SetDefault("A", []), SetDefault("A/C", s_wide), SetDefault("", s_narrow),
        ChangeMode("A/foo", 0x1A0), ChangeMode("B/foo", 0x180), ChangeMode("B/foo", 0x1B6), ChangeMode("A/bar", 0x180), ChangeMode("A", 0x1C0), ChangeMode("A/C/foo", 0x180),
        SetAttribute("B/foo", 30), SetAttribute("A/bar", 600), SetAttribute("A", 30), RemoveAttribute("A/foo"),
        Rename("B/foo", "A/bar"), Rename("A/bar", "B/bar"), Rename("A/bar", "A/foo"), Rename("A/C", "B/bar"), Exchange("A/foo", "B/foo"), Exchange("A/C", "B"), Link("B/foo", "A/bar"), Link("A/bar", "B/bar"),
        Unlink("A/bar"), Unlink("B/foo"), RemoveDirectory("A/bar"), Write("A/bar", -1, 100), Write("A/bar", -1, 5000), Write("A/C/foo", -1, 300),
        CopyTree("A", "B/bar", isSnapshot: false), CopyTree("A", "bar", isSnapshot: true),
    ];

    /// <summary>The tree at the start: each <c>foo</c> of another shape.</summary>
    public static AceOperation[] Start { get; } =
    [
        MakeDirectory("A"), MakeDirectory("B"), MakeDirectory("A/C"), .. s_foos.Select(Create),
        Write("foo", 0, 100), Write("A/foo", 0, 9000), SetAttribute("A/foo", 30), Write("B/foo", 0, 4096), Write("B/foo", 20_480, 4096), Write("A/C/foo", 0, 1500),
    ];

    /// <summary>The same, with lists: <c>A</c> and <c>A/C</c> have default lists, files of each shape access lists.</summary>
    public static AceOperation[] AccessStart { get; } =
    [
        .. Start, SetDefault("A", s_wide), SetDefault("A/C", s_narrow), SetAccess("A/C", s_wide), SetAccess("B/foo", s_wide), SetAccess("A/C/foo", s_narrow), SetAccess("foo", s_narrow),
    ];

    /// <summary>What changes a file's contents: within a block, across, beyond the end, into a hole; from the entry to blocks, from one extent to a tree and back.</summary>
    private static AceOperation[] Data(string path) =>
    [
        Truncate(path, 0), Truncate(path, 60), Truncate(path, 4097), Truncate(path, 20_000),
        Write(path, 0, 10), Write(path, -1, 100), Write(path, -1, 5000), Write(path, 4000, 300), Write(path, 24_576, 100), Write(path, 8192, 4096),
        Allocate(path, 0, 16_384, keepSize: false), Allocate(path, 8192, 16_384, keepSize: true), Punch(path, 4096, 4096), Punch(path, 10, 50), Zero(path, 100, 5000),
    ];
}
