// SPDX-License-Identifier: MIT
namespace Exo.Tests;

/// <summary>
/// Rights and programs that a test needs. Where one is missing the test is skipped with the reason; under
/// <c>EXO_REQUIRE_ALL=1</c>, as <c>.ci/run</c> sets it, it fails instead.
/// </summary>
internal static class Requires
{
    private static readonly bool All = Environment.GetEnvironmentVariable("EXO_REQUIRE_ALL") == "1";

    public static void That(bool present, string what)
    {
        if (present)
        {
            return;
        }

        if (All)
        {
            Assert.Fail($"EXO_REQUIRE_ALL=1, but {what}");
        }

        Assert.Skip(what);
    }

    public static void Root() => That(Environment.IsPrivilegedProcess, "this test needs root");

    public static void File(string path) => That(System.IO.File.Exists(path), $"{path} is not there");

    public static string Program(string name)
    {
        string? found = (Environment.GetEnvironmentVariable("PATH") ?? "")
            .Split(':', StringSplitOptions.RemoveEmptyEntries)
            .Append("/usr/sbin")
            .Select(folder => Path.Combine(folder, name))
            .FirstOrDefault(System.IO.File.Exists);
        That(found is not null, $"the program '{name}' is not installed");
        return found!;
    }
}
