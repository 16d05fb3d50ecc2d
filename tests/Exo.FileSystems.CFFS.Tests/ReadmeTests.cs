// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;

namespace Exo.FileSystems.CFFS.Tests;

/// <summary>The package page's sample is this method's text, and it runs.</summary>
public sealed class ReadmeTests : IDisposable
{
    private readonly string _image = Path.Combine(Path.GetTempPath(), $"exo-cffs-{Guid.NewGuid():N}.img");

    public void Dispose() => File.Delete(_image);

    [Fact]
    public void The_sample_does_what_it_says() => Assert.Equal("Hello again!", Sample(_image));

    [Fact]
    public void The_sample_on_the_page_is_the_one_that_runs()
    {
        string here = ThisFile();
        string page = File.ReadAllText(Path.Combine(Path.GetDirectoryName(here)!, "../../src/Exo.FileSystems.CFFS/README.md"));
        string sample = Regex.Match(page, "```csharp\n(.*?)```", RegexOptions.Singleline).Groups[1].Value
            .Replace("\"disk.img\"", "image", StringComparison.Ordinal)
            .Replace("Console.WriteLine(reader.ReadToEnd());", "return reader.ReadToEnd();", StringComparison.Ordinal);
        string method = Regex.Match(File.ReadAllText(here), "// sample\n(.*?)// end", RegexOptions.Singleline).Groups[1].Value;
        Assert.Equal(Lines(sample), Lines(method));
    }

    private static string Sample(string image)
    {
        // sample
        using (CffsVolume volume = CffsVolume.Create(image, new CffsCreateOptions { SizeBytes = 64 << 20 }))
        {
            volume.CreateDirectory("notes");
            volume.WriteAllBytes("notes/hello.txt", "Hello, exokernel!"u8.ToArray());
            volume.ReplaceAllBytes("notes/hello.txt", "Hello again!"u8.ToArray());   // a crash leaves the old contents or the new ones
            volume.Sync();                                                          // from here on it is there, whatever happens
        }

        using (CffsVolume volume = CffsVolume.Open(image))
        {
            using Stream stream = volume.OpenFile("notes/hello.txt").AsStream();
            using StreamReader reader = new(stream);
            return reader.ReadToEnd();
        }

        // end
    }

    private static string[] Lines(string text) => [.. text.Split('\n').Select(line => line.Trim()).Where(line => line.Length > 0)];

    private static string ThisFile([CallerFilePath] string path = "") => path;
}
