// SPDX-License-Identifier: MIT
using Exo.Tests;
using PublicApiGenerator;

namespace Exo.Host.Tests;

/// <summary>A change of the public surface shows up in review as a change of a text file.</summary>
public sealed class PublicApiTests
{
    [Fact]
    public void The_public_surface_is_the_one_written_down() =>
        Snapshot.Verify(typeof(HostServer).Assembly.GeneratePublicApi(new ApiGeneratorOptions { IncludeAssemblyAttributes = false }));
}
