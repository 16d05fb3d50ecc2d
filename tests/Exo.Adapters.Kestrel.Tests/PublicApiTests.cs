// SPDX-License-Identifier: MIT
using Exo.Tests;
using PublicApiGenerator;

namespace Exo.Adapters.Kestrel.Tests;

/// <summary>A change of the public surface shows up in review as a change of a text file.</summary>
public sealed class PublicApiTests
{
    [Fact]
    public void The_public_surface_is_the_one_written_down() =>
        Snapshot.Verify(typeof(ExoTransportFactory).Assembly.GeneratePublicApi(new ApiGeneratorOptions { IncludeAssemblyAttributes = false }));
}
