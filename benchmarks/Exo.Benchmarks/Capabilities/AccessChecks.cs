// SPDX-License-Identifier: MIT
using BenchmarkDotNet.Attributes;
using Exo.Capabilities;

namespace Exo.Benchmarks.Capabilities;

/// <summary>What a guarded call pays: a credential against a list of eight entries, the last of which lets it in, and one that is refused.</summary>
public class AccessChecks
{
    private AccessControlList _list = null!;
    private Credential _last = null!;
    private Credential _stranger = null!;

    [GlobalSetup]
    public void Setup()
    {
        CapabilityAuthority machine = CapabilityAuthority.Create();
        Credential root = Credential.Of(machine.Root);
        _list = new AccessControlList(UnixNames.User(0), authority: machine);
        for (uint i = 1; i < 8; i++)
        {
            if (!_list.TryModify(root, (int)i, new AclEntry(UnixNames.User(i), Rights.All), out _))
            {
                throw new InvalidOperationException();
            }
        }

        _last = Credential.Of(machine.Root.Forge(UnixNames.User(7), Rights.All));
        _stranger = Credential.Of(machine.Root.Forge(UnixNames.User(99), Rights.All));
    }

    [Benchmark]
    public AccessRefusal Granted_by_the_last_of_eight() => _list.Check(_last, Rights.Write);

    [Benchmark]
    public AccessRefusal Refused_by_eight() => _list.Check(_stranger, Rights.Write);
}
