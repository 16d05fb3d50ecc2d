// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;

namespace Exo.Capabilities.Tests;

/// <summary>The sample on the package page runs, and the page shows what runs.</summary>
public sealed class ReadmeTests
{
    [Fact]
    public void Sample()
    {
        // sample
        CapabilityAuthority machine = CapabilityAuthority.Create();
        Capability alice = machine.Root.Forge(UnixNames.User(1000), Rights.All);

        // A resource of Alice's that the world may read.
        var acl = new AccessControlList(alice.Name, authority: machine);
        acl.TryModify(Credential.Of(alice), 1, new AclEntry(UnixNames.World, Rights.Read), out _);

        // Alice hands a write-only helper less than she has, and takes it back.
        Capability helper = alice.Forge(alice.Name, Rights.Write);
        Credential asHelper = Credential.Of(helper);
        AccessRefusal before = acl.Check(asHelper, Rights.Write);     // None
        AccessRefusal more = acl.Check(asHelper, Rights.ModifyAcl);   // RightNotHeld
        helper.Revoke(Credential.Of(alice));
        AccessRefusal after = acl.Check(asHelper, Rights.Write);      // NoValidCapability
        // end of sample

        Assert.Equal((AccessRefusal.None, AccessRefusal.RightNotHeld, AccessRefusal.NoValidCapability), (before, more, after));
        Credential anybody = Credential.Of(machine.Root.Forge(UnixNames.World, Rights.Read));
        Assert.Equal((AccessRefusal.None, AccessRefusal.RightNotHeld), (acl.Check(anybody, Rights.Read), acl.Check(anybody, Rights.Write)));
    }

    [Fact]
    public void The_page_shows_the_sample()
    {
        string here = Path.GetDirectoryName(ThisFile())!;
        string[] source = File.ReadAllLines(ThisFile());
        int first = Array.FindIndex(source, line => line.Trim() == "// sample") + 1;
        int end = Array.FindIndex(source, line => line.Trim() == "// end of sample");
        string sample = string.Join('\n', source[first..end].Select(line => line.Length > 8 ? line[8..] : ""));
        Assert.Contains(sample, File.ReadAllText(Path.Combine(here, "../../src/Exo.Capabilities/README.md")));
    }

    private static string ThisFile([CallerFilePath] string path = "") => path;
}
