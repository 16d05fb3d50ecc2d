// SPDX-License-Identifier: MIT
using Exo.Tests;
using PublicApiGenerator;

namespace Exo.Net.Cheetah.Tests;

public class PublicApiTests
{
    [Fact]
    public void The_public_surface_changes_only_on_purpose() =>
        Snapshot.Verify(typeof(CheetahServer).Assembly.GeneratePublicApi(new ApiGeneratorOptions { IncludeAssemblyAttributes = false }));
}
