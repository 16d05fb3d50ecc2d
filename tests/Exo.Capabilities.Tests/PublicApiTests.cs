// SPDX-License-Identifier: MIT
using Exo.Tests;
using PublicApiGenerator;

namespace Exo.Capabilities.Tests;

/// <summary>The public surface as text: a change of it is a change of a file.</summary>
public sealed class PublicApiTests
{
    [Fact]
    public void Surface() => Snapshot.Verify(typeof(Capability).Assembly.GeneratePublicApi(new ApiGeneratorOptions { IncludeAssemblyAttributes = false }));
}
