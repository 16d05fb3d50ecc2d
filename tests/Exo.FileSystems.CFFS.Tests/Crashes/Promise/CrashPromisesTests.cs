// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Tests.Crashes.Ace;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Crashes.Promise;

/// <summary>The judge judged: what was not made durable may be missing, what was may not, and what nobody did may not be there.</summary>
public sealed class CrashPromisesTests : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
    private readonly AceRun.Base _start;
    private readonly SimulatedBlockDevice _disk;
    private readonly CffsVolume _volume;

    public CrashPromisesTests()
    {
        _start = AceRun.Base.Make(_frames, logBlocks: 0);
        _disk = new SimulatedBlockDevice(_frames, _start.Contents);
        _volume = CffsVolume.Open(_disk);
    }

    public void Dispose()
    {
        _volume.Dispose();
        _disk.Dispose();
        _frames.Dispose();
    }

    [Fact]
    public void What_was_lost_is_noticed_if_it_was_durable_and_only_then()
    {
        FoundTree found = FoundTree.Of(_volume);
        int noticed = 0;
        foreach (AceOperation operation in AceAlphabet.All)
        {
            // The volume never saw the operation.
            if (operation.Model(_start.Tree, 0) is not { } tree)
            {
                continue;
            }

            CrashPromises promises = Promises();
            promises.Add(tree);
            Assert.Null(promises.Violation(found, begun: 1, returned: 0));
            promises.Persist(PersistenceScope.All, PromisedTree.Root);
            Assert.Null(promises.Violation(found, begun: 1, returned: 0));

            // Some do nothing that is to be seen, such as zeros over zeros.
            bool changes = operation.Text.StartsWith("utimens", StringComparison.Ordinal) || found.Text() != After(operation).Text();
            Assert.True(!changes || promises.Violation(found, begun: 1, returned: 1) is not null, $"{operation} was lost");
            noticed += changes ? 1 : 0;
        }

        Assert.True(noticed > 120, $"{noticed} operations");
    }

    [Fact]
    public void What_nobody_did_is_noticed()
    {
        // The volume saw an operation that the judge has not been told of.
        string before = FoundTree.Of(_volume).Text();
        int noticed = 0;
        foreach (AceOperation operation in AceAlphabet.All.Where(operation => operation.Model(_start.Tree, 0) is not null))
        {
            FoundTree found = After(operation);
            if (found.Text() != before)
            {
                noticed++;
                Assert.True(Promises().Violation(found, begun: 0, returned: 0) is not null, $"{operation} was not noticed");
            }
        }

        Assert.True(noticed > 100, $"{noticed} operations");
    }

    [Theory]
    [InlineData("/A/foo", "/B/foo")]
    [InlineData("/A/foo", "/A/C/foo")]
    [InlineData("/A/C", "/B")]
    [InlineData("/B", "/A/foo")]
    public void Half_an_exchange_is_noticed(string path, string other)
    {
        CrashPromises promises = Promises();
        promises.Add(AceOperation.Exchange(path[1..], other[1..]).Model(_start.Tree, 0)!);
        Assert.Null(promises.Violation(FoundTree.Of(_volume), begun: 1, returned: 0));
        _volume.Rename(path, "/aside");
        Assert.NotNull(promises.Violation(FoundTree.Of(_volume), begun: 1, returned: 0));
        _volume.Rename(other, path);
        Assert.NotNull(promises.Violation(FoundTree.Of(_volume), begun: 1, returned: 0));
        _volume.Rename("/aside", other);
        Assert.Null(promises.Violation(FoundTree.Of(_volume), begun: 1, returned: 0));
    }

    [Fact]
    public void A_list_beside_the_bits_of_another_is_noticed_and_so_is_what_has_not_inherited()
    {
        PromisedAccess.Entry[] list = PromisedAccess.Of(6, 6, 0, 4, 6, 0);
        CrashPromises promises = Promises();
        promises.Add(AceOperation.SetAccess("A/foo", list).Model(_start.Tree, 0)!);
        promises.Add(AceOperation.ChangeMode("A/foo", 0x180).Model(promises.Last, 0)!);
        promises.Add(AceOperation.SetDefault("A", list).Model(promises.Last, 0)!);
        int made = promises.Last.NodeCount;
        promises.Add(AceOperation.MakeDirectory("A/bar").Model(promises.Last, 0)!);
        Assert.Null(promises.Violation(FoundTree.Of(_volume), begun: 4, returned: 0));
        _volume.SetExtendedAttribute("/A/foo", PromisedAccess.Access, PromisedAccess.Bytes(list));
        Assert.Null(promises.Violation(FoundTree.Of(_volume), begun: 4, returned: 0));

        // The list as it was set, and the bits of chmod: each was so at some time.
        _volume.SetAttributes("/A/foo", new CffsAttributeChange { Permissions = 0x180 });
        Assert.Null(promises.Violation(FoundTree.Of(_volume), begun: 4, returned: 0));
        _volume.RemoveExtendedAttribute("/A/foo", PromisedAccess.Access);
        Assert.StartsWith("rule 4", promises.Violation(FoundTree.Of(_volume), begun: 4, returned: 0), StringComparison.Ordinal);
        _volume.SetExtendedAttribute("/A/foo", PromisedAccess.Access, PromisedAccess.Bytes(list));

        _volume.CreateDirectory("/A/bar", 0x1E8);
        promises.Identify(made, _volume.Stat("/A/bar").Inode);
        Assert.StartsWith("rule 4", promises.Violation(FoundTree.Of(_volume), begun: 4, returned: 0), StringComparison.Ordinal);
        _volume.RemoveDirectory("/A/bar");
        _volume.SetExtendedAttribute("/A", PromisedAccess.Default, PromisedAccess.Bytes(list));
        _volume.CreateDirectory("/A/bar");
        promises.Identify(made, _volume.Stat("/A/bar").Inode);
        Assert.Null(promises.Violation(FoundTree.Of(_volume), begun: 4, returned: 0));
    }

    [Theory]
    [InlineData("/A/foo", "/B/foo", "rule 5")]
    [InlineData("/foo", "/A/C/foo", "rule 5")]
    public void Bytes_of_another_file_are_noticed(string path, string other, string rule)
    {
        CrashPromises promises = Promises();
        AceOperation append = AceOperation.Write(path[1..], -1, 300);
        promises.Add(append.Model(_start.Tree, 0)!);
        append.Run(new AceVolume(_volume), 0);
        Assert.Null(promises.Violation(FoundTree.Of(_volume), begun: 1, returned: 0));
        using (CffsFile file = _volume.OpenFile(path, CffsOpenMode.Write))
        {
            file.Write(file.Length - 40, _volume.ReadAllBytes(other).AsSpan(0, 40));
        }

        Assert.StartsWith(rule, promises.Violation(FoundTree.Of(_volume), begun: 1, returned: 0), StringComparison.Ordinal);
    }

    private FoundTree After(AceOperation operation)
    {
        using SimulatedBlockDevice disk = new(_frames, _start.Contents);
        using CffsVolume volume = CffsVolume.Open(disk);
        operation.Run(new AceVolume(volume), 0);
        return FoundTree.Of(volume);
    }

    private CrashPromises Promises()
    {
        CrashPromises promises = new(_start.Tree);
        foreach ((int node, ulong inode) in _start.Inodes)
        {
            promises.Identify(node, inode);
        }

        return promises;
    }
}
