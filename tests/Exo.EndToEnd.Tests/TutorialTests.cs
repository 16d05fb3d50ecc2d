// SPDX-License-Identifier: MIT
using System.Text.RegularExpressions;
using System.Xml.Linq;
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary>
/// The tutorial, done as a reader would: commands are run, code goes into the file that its first line names, and what a page of output shows is what came since the one before.
/// </summary>
[Collection("packages")]
public sealed partial class TutorialTests(PackageFeed feed)
{
    [Fact]
    public void Every_block_of_the_tutorial_does_what_it_says()
    {
        feed.Pack("src/Exo.Capabilities", "src/Exo.Core", "src/Exo.Storage.XN", "templates/Exo.Templates");
        using TempFolder folder = new();
        feed.Configure(folder.Path);
        string at = folder.Path, output = "";
        string page = File.ReadAllText(Path.Combine(LayeringTests.RepositoryFolder(), "docs", "tutorial.md"));
        int outputs = 0;
        foreach (Match block in Block().Matches(page))
        {
            string text = block.Groups["text"].Value;
            switch (block.Groups["kind"].Value)
            {
                case "sh":
                    foreach (string command in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
                    {
                        output += Run(command, folder["hive"], ref at);
                    }

                    break;
                case "csharp":
                    string name = FileName().Match(text).Groups[1].Value;
                    Assert.NotEqual("", name);
                    File.WriteAllText(Path.Combine(at, name), text);
                    break;
                case "text":
                    Assert.Equal(text, output);
                    output = "";
                    outputs++;
                    break;
                default:
                    Assert.Fail($"a block of a kind that nobody runs: {block.Value}");
                    break;
            }
        }

        Assert.Equal("", output);
        Assert.True(outputs >= 4);
    }

    [Fact]
    public void A_new_project_takes_the_packages_of_this_version()
    {
        string repository = LayeringTests.RepositoryFolder();
        string version = XDocument.Load(Path.Combine(repository, "Directory.Build.props")).Descendants("Version").Single().Value;
        string template = File.ReadAllText(Path.Combine(repository, "templates/Exo.Templates/content/exo-libos/.template.config/template.json"));
        Assert.Contains($"\"defaultValue\": \"{version}\"", template, StringComparison.Ordinal);
    }

    // The templates are installed where nobody else looks, from the packages, and in their version.
    private string Run(string command, string hive, ref string at)
    {
        string[] words = [.. Word().Matches(command).Select(word => word.Value.Trim('"'))];
        if (words is ["cd", var below])
        {
            at = Path.Combine(at, below);
            return "";
        }

        Assert.Equal("dotnet", words[0]);
        string[] args = words[1..] switch
        {
            ["new", "install", var package] => ["new", "install", Path.Combine(feed.Folder, $"{package}.{feed.Version}.nupkg"), "--debug:custom-hive", hive],
            ["new", .. var rest] => ["new", .. rest, "--exo-version", feed.Version, "--debug:custom-hive", hive],
            var other => other,
        };
        (int exitCode, string output) = PackageFeed.Dotnet(at, args);
        Assert.True(exitCode == 0, $"{command}: {output}");
        if (args[0] == "new" && args[1] != "install")
        {
            PackageFeed.Restore(Path.Combine(at, args[Array.IndexOf(args, "-o") + 1]));
        }

        return args[0] == "new" ? "" : output;
    }

    [GeneratedRegex("^```(?<kind>[a-z]+)\n(?<text>.*?)^```$", RegexOptions.Singleline | RegexOptions.Multiline)]
    private static partial Regex Block();

    [GeneratedRegex("^// ([A-Za-z.]+\\.cs)\n")]
    private static partial Regex FileName();

    [GeneratedRegex("\"[^\"]*\"|[^ ]+")]
    private static partial Regex Word();
}
