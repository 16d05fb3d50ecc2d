// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.IO.Compression;
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary>
/// The packages, packed into a folder when a test first asks for one, and what a stranger's project needs to take them from there. The version and the build output are its own: neither a cache nor another build can
/// lend a stale package.
/// </summary>
public sealed class PackageFeed : IDisposable
{
    private readonly TempFolder folder = new();
    private readonly HashSet<string> packed = [];
    private readonly Lock gate = new();

    public string Version { get; } = $"0.1.0-test.{Environment.ProcessId}";

    public string Folder => folder["feed"];

    /// <summary>Packs projects of the repository, by their folders; each once.</summary>
    public void Pack(params IEnumerable<string> projects)
    {
        string repository = LayeringTests.RepositoryFolder();
        Requires.That(Directory.Exists(Path.Combine(repository, "src")), "the sources that the tests were built from are not there");
        lock (gate)
        {
            foreach (string project in projects.Where(packed.Add))
            {
                (int exitCode, string log) = Dotnet(
                    repository, "pack", project, "-c", "Release", "-o", Folder, "--artifacts-path", folder["build"], "-v", "q", "-nologo", $"-p:Version={Version}", "-p:NuGetAudit=false");
                Assert.True(exitCode == 0, log);
                CheckPackage(Path.Combine(Folder, $"{Path.GetFileName(project)}.{Version}.nupkg"));
            }
        }
    }

    /// <summary>Makes a folder whose projects find these packages, and of others only what is in the local cache.</summary>
    public void Configure(string projects)
    {
        string cache = Environment.GetEnvironmentVariable("NUGET_PACKAGES")
            ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        Directory.CreateDirectory(cache);
        Directory.CreateDirectory(projects);
        File.WriteAllText(Path.Combine(projects, "nuget.config"), $"""
            <configuration>
              <config><add key="globalPackagesFolder" value="{folder["packages"]}" /></config>
              <packageSources><clear /><add key="feed" value="{Folder}" /></packageSources>
              <fallbackPackageFolders><clear /><add key="cache" value="{cache}" /></fallbackPackageFolders>
            </configuration>
            """);
    }

    /// <summary>Restores a project; skips when only the local cache lacks something.</summary>
    public static void Restore(string project)
    {
        (int exitCode, string log) = Dotnet(project, "restore", "-v", "q", "-nologo", "-p:NuGetAudit=false");
        bool isOnlyOffline = log.Contains("NU1101", StringComparison.Ordinal) && !log.Contains("Unable to find package Exo.", StringComparison.Ordinal);
        Requires.That(exitCode == 0 || !isOnlyOffline, "a dependency of the packages is not in the local NuGet cache");
        Assert.True(exitCode == 0, log);
    }

    public static (int ExitCode, string Output) Dotnet(string folder, params string[] args)
    {
        ProcessStartInfo start = new("dotnet", args) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["DOTNET_CLI_USE_MSBUILD_SERVER"] = "0";
        start.Environment["DOTNET_NOLOGO"] = "1";
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + error.GetAwaiter().GetResult());
    }

    public void Dispose() => folder.Dispose();

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
}

/// <summary>Tests that share the packages, one after the other.</summary>
[CollectionDefinition("packages")]
public sealed class PackageCollection : ICollectionFixture<PackageFeed>;
