// SPDX-License-Identifier: MIT
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary>The packages as a stranger gets them: packed to a folder, installed from there into a fresh console project.</summary>
[Collection("packages")]
public sealed class PackagingTests(PackageFeed feed)
{
    private static readonly string[] Libraries =
    [
        "Exo.Capabilities", "Exo.Core", "Exo.Storage.XN", "Exo.FileSystems.CFFS", "Exo.Net.Cheetah", "Exo.Host", "Exo.Adapters.FileProvider", "Exo.Adapters.Kestrel", "Exo.Cli",
    ];

    [Fact]
    public void Packages_install_from_a_folder_and_store_a_file()
    {
        using TempFolder folder = new();
        feed.Pack(Libraries.Select(library => $"src/{library}"));
        Assert.All(Libraries, library => Assert.True(File.Exists(Path.Combine(feed.Folder, $"{library}.{feed.Version}.snupkg")), $"{library} has no symbols"));
        WriteConsumer(folder["app"]);
        PackageFeed.Restore(folder["app"]);
        (int ran, string output) = PackageFeed.Dotnet(folder["app"], "run", "--no-restore", "--", folder["disk.img"]);
        Assert.True(ran == 0, output);
        Assert.Contains("read back: Hello, disk.", output, StringComparison.Ordinal);
        ExoProcess.Exo("fsck", folder["disk.img"]).Succeeded();
        Assert.Equal("Hello, disk.", ExoProcess.Exo("cat", folder["disk.img"], "/hello.txt").Succeeded().Output);
    }

    private void WriteConsumer(string app)
    {
        feed.Configure(app);
        File.WriteAllText(Path.Combine(app, "app.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
              </PropertyGroup>
              <ItemGroup>
                <PackageReference Include="Exo.FileSystems.CFFS" Version="{feed.Version}" />
              </ItemGroup>
            </Project>
            """);
        File.WriteAllText(Path.Combine(app, "Program.cs"), """
            using Exo.FileSystems.CFFS;

            using (CffsVolume volume = CffsVolume.Create(args[0], new CffsCreateOptions { SizeBytes = 64 << 20 }))
            {
                volume.WriteAllBytes("/hello.txt", "Hello, disk."u8.ToArray());
                volume.Sync();
            }

            using CffsVolume again = CffsVolume.Open(args[0]);
            Console.WriteLine("read back: " + System.Text.Encoding.UTF8.GetString(again.ReadAllBytes("/hello.txt")));
            """);
    }
}
