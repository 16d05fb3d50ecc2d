// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>Every conversation in <c>Scripts/</c>, one test each; the name of the file is the sentence it proves.</summary>
public class ScriptTests
{
    public static TheoryData<string> Names
    {
        get
        {
            var names = new TheoryData<string>();
            foreach (string path in Directory.EnumerateFiles(Folder(), "*.pkt", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
            {
                names.Add(Path.GetRelativePath(Folder(), path));
            }

            return names;
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Holds(string name) => PacketScript.Run(File.ReadAllText(Path.Combine(Folder(), name)));

    private static string Folder([CallerFilePath] string here = "") => Path.Combine(Path.GetDirectoryName(here)!, "Scripts");
}
