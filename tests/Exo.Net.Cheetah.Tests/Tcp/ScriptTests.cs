// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>Every conversation in <c>Scripts/</c>, one test for each version of IP; the name of the file is the sentence it proves.</summary>
public partial class ScriptTests
{
    public static TheoryData<string, bool> Names
    {
        get
        {
            var names = new TheoryData<string, bool>();
            foreach (string name in Scripts())
            {
                foreach (bool isV6 in (bool[])[false, true])
                {
                    if (PacketScript.IsFor(Text(name), isV6))
                    {
                        names.Add(name, isV6);
                    }
                }
            }

            return names;
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Holds(string name, bool isV6) => PacketScript.Run(Text(name), isV6);

    [Fact]
    public void The_table_of_transitions_names_every_script_and_only_scripts_that_are_there()
    {
        string table = File.ReadAllText(Path.Combine(Folder(), "../../../../docs/tcp-states.md"));
        string[] named = [.. NamePattern.Matches(table).Select(match => match.Groups[1].Value).Distinct().Order(StringComparer.Ordinal)];
        Assert.Equal(Scripts().Select(name => name[..^4]), named);
    }

    [GeneratedRegex(@"`([a-z]+/[A-Za-z0-9-]+)`")]
    private static partial Regex NamePattern { get; }

    private static string[] Scripts() =>
        [.. Directory.EnumerateFiles(Folder(), "*.pkt", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(Folder(), path)).OrderBy(name => name[..^4], StringComparer.Ordinal)];

    private static string Text(string name) => File.ReadAllText(Path.Combine(Folder(), name));

    private static string Folder([CallerFilePath] string here = "") => Path.Combine(Path.GetDirectoryName(here)!, "Scripts");
}
