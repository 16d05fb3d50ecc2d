// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Xml.Linq;

namespace Exo.EndToEnd.Tests;

/// <summary>References run only downwards: a project refers only to projects on floors below its own.</summary>
public sealed class LayeringTests
{
    private static readonly Dictionary<string, int> Floors = new()
    {
        ["Exo.Capabilities"] = 1,
        ["Exo.Core"] = 2,
        ["Exo.Storage.XN"] = 3,
        ["Exo.FileSystems.CFFS"] = 4,
        ["Exo.Host"] = 4,
        ["Exo.Net.Cheetah"] = 4,
        ["Exo.Simulation"] = 5,
        ["Exo.Adapters.Fuse"] = 5,
        ["Exo.Adapters.FileProvider"] = 5,
        ["Exo.Adapters.Kestrel"] = 5,

        // The command composes all of them.
        ["Exo.Cli"] = 6,
    };

    // Cheetah's adapter for C-FFS files is the one reference between rooms of the same floor; the second test keeps it in its folder.
    private static readonly (string From, string To)[] SameFloor = [("Exo.Net.Cheetah", "Exo.FileSystems.CFFS")];

    [Fact]
    public void Projects_refer_only_to_floors_below()
    {
        string[] projects = Directory.GetFiles(Path.Combine(RepositoryFolder(), "src"), "*.csproj", SearchOption.AllDirectories);
        Assert.NotEmpty(projects);
        foreach (string project in projects)
        {
            string name = Path.GetFileNameWithoutExtension(project);
            Assert.True(Floors.ContainsKey(name), $"{name} has no floor: DESIGN section 3 and this test must name one");
            foreach (string reference in References(project))
            {
                bool isBelow = Floors[reference] < Floors[name] || SameFloor.Contains((name, reference));
                Assert.True(isBelow, $"{name} (floor {Floors[name]}) refers to {reference} (floor {Floors[reference]})");
            }
        }
    }

    [Fact]
    public void Cheetah_knows_the_file_system_only_in_its_documents()
    {
        string cheetah = Path.Combine(RepositoryFolder(), "src", "Exo.Net.Cheetah");
        string documents = Path.Combine(cheetah, "Documents") + Path.DirectorySeparatorChar;
        string[] offenders = [.. Directory.GetFiles(cheetah, "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.StartsWith(documents, StringComparison.Ordinal) && !file.Contains("/obj/", StringComparison.Ordinal))
            .Where(file => File.ReadAllText(file).Contains("Exo.FileSystems", StringComparison.Ordinal))];
        Assert.Empty(offenders);
    }

    [Fact]
    public void The_verifier_of_images_knows_nothing_of_the_product()
    {
        string folder = Path.Combine(RepositoryFolder(), "tests", "Exo.FileSystems.CFFS.Verification");
        Assert.Empty(References(Path.Combine(folder, "Exo.FileSystems.CFFS.Verification.csproj")));
        Assert.DoesNotContain(
            Directory.GetFiles(folder, "*.cs"), file => File.ReadAllText(file) is var text && (text.Contains("using Exo", StringComparison.Ordinal) || text.Contains("src/", StringComparison.Ordinal)));
    }

    [Fact]
    public void System_calls_are_made_in_one_folder()
    {
        string source = Path.Combine(RepositoryFolder(), "src");
        string linux = Path.Combine(source, "Exo.Core", "Linux") + Path.DirectorySeparatorChar;
        string[] offenders = [.. Directory.GetFiles(source, "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.StartsWith(linux, StringComparison.Ordinal) && !file.Contains("/obj/", StringComparison.Ordinal))
            .Where(file => File.ReadAllText(file) is var text
                && (text.Contains("[LibraryImport", StringComparison.Ordinal) || text.Contains("[DllImport", StringComparison.Ordinal)))];
        Assert.Empty(offenders);
    }

    internal static string RepositoryFolder([CallerFilePath] string thisFile = "") =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(thisFile)!, "..", ".."));

    private static IEnumerable<string> References(string project) => XDocument.Load(project)
        .Descendants("ProjectReference")
        .Select(reference => Path.GetFileNameWithoutExtension(reference.Attribute("Include")!.Value.Replace('\\', '/')));
}
