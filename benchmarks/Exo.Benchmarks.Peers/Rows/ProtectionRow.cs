// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>What XN's checks cost: the same program, and one built with XN believing every transaction (<c>-p:XnUnchecked=true</c>).</summary>
internal sealed class ProtectionRow : IPeerRow
{
    private WorkFolder _folder = null!;
    private string _unchecked = "";

    public string Name => "protection";

    public string Work => $"{CreateDelete.Count} files of {CreateDelete.LengthBytes} bytes made and removed in C-FFS, durably";

    public string Peer => "the same without XN's checks";

    public string Unit => "s";

    public bool MoreIsBetter => false;

    public string? Missing() => Project() is null ? "needs the sources" : null;

    public void Prepare(WorkFolder folder)
    {
        _folder = folder;
        string artifacts = folder["unchecked"];
        Tool.Run("dotnet", "build", "-c", "Release", "-p:XnUnchecked=true", "--artifacts-path", artifacts, "-v", "quiet", Project()!);
        _unchecked = Path.Combine(artifacts, "bin", "Exo.Benchmarks.Peers", "release", "Exo.Benchmarks.Peers.dll");
    }

    public double RunExo() => Run(Path.Combine(AppContext.BaseDirectory, "Exo.Benchmarks.Peers.dll"));

    public double RunPeer() => Run(_unchecked);

    public void Dispose()
    {
    }

    private double Run(string program) =>
        double.Parse(Tool.Run("dotnet", program, "create-delete", _folder["protection.img"]), CultureInfo.InvariantCulture);

    private static string? Project()
    {
        for (DirectoryInfo? at = new(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            string project = Path.Combine(at.FullName, "benchmarks", "Exo.Benchmarks.Peers", "Exo.Benchmarks.Peers.csproj");
            if (File.Exists(project))
            {
                return project;
            }
        }

        return null;
    }
}
