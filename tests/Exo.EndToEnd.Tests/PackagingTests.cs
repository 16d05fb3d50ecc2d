// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.IO.Compression;
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary>The packages as a stranger gets them: packed to a folder, installed from there into a fresh console project.</summary>
public sealed class PackagingTests
{
    private static readonly string[] Libraries =
        ["Exo.Capabilities", "Exo.Core", "Exo.Storage.XN", "Exo.FileSystems.CFFS", "Exo.Net.Cheetah", "Exo.Cli"];

    [Fact]
    public void Packages_install_from_a_folder_and_store_a_file()
    {
        using TempFolder folder = new();
        string repository = LayeringTests.RepositoryFolder();
        Requires.That(Directory.Exists(Path.Combine(repository, "src")), "the sources that the tests were built from are not there");

        // A version of its own, and build output of its own: neither a cache nor another build can lend a stale package.
        string version = $"0.1.0-test.{Environment.ProcessId}";
        foreach (string library in Libraries)
        {
            (int packed, string packLog) = Dotnet(
                repository, "pack", $"src/{library}", "-c", "Release", "-o", folder["feed"], "--artifacts-path", folder["build"], "-v", "q", "-nologo",
                $"-p:Version={version}", "-p:NuGetAudit=false");
            Assert.True(packed == 0, packLog);
            CheckPackage(folder[$"feed/{library}.{version}.nupkg"]);
            Assert.True(File.Exists(folder[$"feed/{library}.{version}.snupkg"]), $"{library} has no symbols");
        }

        WriteConsumer(folder, version);
        (int restored, string restoreLog) = Dotnet(folder["app"], "restore", "-v", "q", "-nologo");
        bool isOnlyOffline = restoreLog.Contains("NU1101", StringComparison.Ordinal) && !restoreLog.Contains("Unable to find package Exo.", StringComparison.Ordinal);
        Requires.That(restored == 0 || !isOnlyOffline, "a dependency of the packages is not in the local NuGet cache");
        Assert.True(restored == 0, restoreLog);
        (int ran, string output) = Dotnet(folder["app"], "run", "--no-restore", "--", folder["disk.img"]);
        Assert.True(ran == 0, output);
        Assert.Contains("read back: Hello, disk.", output, StringComparison.Ordinal);
        ExoProcess.Exo("fsck", folder["disk.img"]).Succeeded();
        Assert.Equal("Hello, disk.", ExoProcess.Exo("cat", folder["disk.img"], "/hello.txt").Succeeded().Output);
    }

    private static void CheckPackage(string path)
    {
        using ZipArchive package = ZipFile.OpenRead(path);
        string[] names = [.. package.Entries.Select(entry => entry.FullName)];
        Assert.Contains("README.md", names);
        Assert.Contains("LICENSE", names);
        string nuspec = new StreamReader(package.Entries.Single(entry => entry.FullName.EndsWith(".nuspec", StringComparison.Ordinal)).Open()).ReadToEnd();
        Assert.Contains("<license type=\"expression\">MIT</license>", nuspec, StringComparison.Ordinal);
        Assert.Contains("<readme>README.md</readme>", nuspec, StringComparison.Ordinal);
    }

    private static void WriteConsumer(TempFolder folder, string version)
    {
        string cache = Environment.GetEnvironmentVariable("NUGET_PACKAGES")
            ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        Directory.CreateDirectory(cache);
        Directory.CreateDirectory(folder["app"]);
        File.WriteAllText(folder["app/nuget.config"], $"""
            <configuration>
              <packageSources><clear /><add key="feed" value="{folder["feed"]}" /></packageSources>
              <fallbackPackageFolders><clear /><add key="cache" value="{cache}" /></fallbackPackageFolders>
            </configuration>
            """);
        File.WriteAllText(folder["app/app.csproj"], $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <RestorePackagesPath>{folder["packages"]}</RestorePackagesPath>
                <NuGetAudit>false</NuGetAudit>
              </PropertyGroup>
              <ItemGroup>
                <PackageReference Include="Exo.FileSystems.CFFS" Version="{version}" />
              </ItemGroup>
            </Project>
            """);
        File.WriteAllText(folder["app/Program.cs"], """
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

    private static (int ExitCode, string Output) Dotnet(string folder, params string[] args)
    {
        ProcessStartInfo start = new("dotnet", args) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["DOTNET_CLI_USE_MSBUILD_SERVER"] = "0";
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + error.GetAwaiter().GetResult());
    }
}
