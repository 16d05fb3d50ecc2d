// SPDX-License-Identifier: MIT
using System.Text.RegularExpressions;
using System.Xml.Linq;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;
using Exo.Storage.XN.Tests.Holes;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Statuses;

/// <summary>Every refusal that the documentation of an operation names is provoked, and the documentation names every one that is.</summary>
public sealed partial class StatusTests
{
    private static readonly Dictionary<(string Operation, XnStatus Status), Func<Scene, XnStatus>> s_provocations = new()
    {
        [("Apply", XnStatus.ReadOnly)] = scene => scene.ReadOnly().Apply(scene.Key, scene.Writing(scene.A.Block)),
        [("Apply", XnStatus.BadBlock)] = scene => scene.Disk.Apply(scene.Key, scene.Allocating(new BlockExtent(new(1), 1))),
        [("Apply", XnStatus.NotFree)] = scene => scene.Disk.Apply(scene.Key, scene.Allocating(scene.Data.Extent)),
        [("Apply", XnStatus.BadFrames)] = scene => scene.Disk.Apply(scene.Key, scene.Allocating(scene.Tree.FindFree(300, 2)!.Value, frames: 1)),
        [("Apply", XnStatus.NotRegistered)] = scene => scene.Disk.Apply(scene.Key, scene.Writing(Scene.Nowhere)),
        [("Apply", XnStatus.NotInCore)] = scene =>
        {
            scene.OnlyEnterData();
            return scene.Disk.Apply(scene.Key, scene.Writing(scene.Data.Block));
        },
        [("Apply", XnStatus.BadRange)] = scene =>
        {
            XnTransaction transaction = scene.Transaction;
            transaction.Write(scene.A.Block, 4096, [1]);
            return scene.Disk.Apply(scene.Key, transaction);
        },
        [("Apply", XnStatus.AccessDenied)] = scene => scene.Disk.Apply(scene.Stranger, scene.Writing(scene.A.Block)),
        [("Apply", XnStatus.TypeError)] = scene =>
        {
            XnTransaction transaction = scene.Transaction;
            transaction.Write(scene.A.Block, StampedFormat.OffsetOf(5), new byte[StampedFormat.EntryBytes]);
            return scene.Disk.Apply(scene.Key, transaction);
        },
        [("Apply", XnStatus.HasPointers)] = scene =>
        {
            XnTransaction transaction = scene.Transaction;
            transaction.Write(scene.Tree.Root.Block, StampedFormat.OffsetOf(scene.A.Entry), new byte[StampedFormat.EntryBytes]);
            transaction.ClaimFree(scene.A.Extent, scene.Tree.NodeTemplate, scene.Tree.Root.Block, scene.A.Entry);
            return scene.Disk.Apply(scene.Key, transaction);
        },
        [("Apply", XnStatus.Cycle)] = scene => scene.Tree.Move(scene.A, scene.Stamped.AddNode(1, scene.A), 1),
        [("Apply", XnStatus.SplitSectorMove)] = scene => scene.Tree.Move(scene.Data, scene.A, 5 + StampedFormat.EntriesPerSector),
        [("Apply", XnStatus.OrderCycle)] = scene =>
        {
            Assert.Equal(XnStatus.Ok, scene.Tree.Move(scene.Data, scene.B, 5));
            return scene.Tree.Move(scene.Data, scene.A, 5);
        },
        [("Apply", XnStatus.Shared)] = scene =>
        {
            scene.ShareData();
            return scene.Disk.Apply(scene.Key, scene.Writing(scene.Data.Block));
        },
        [("Apply", XnStatus.WrongTemplate)] = scene => scene.Tree.Share(scene.A, scene.B, 6, out _),
        [("Apply", XnStatus.NotOwned)] = scene =>
        {
            XnTransaction transaction = scene.Transaction;
            transaction.Write(scene.B.Block, StampedFormat.OffsetOf(6), StampedFormat.Entry(scene.Data.Extent, StampedFormat.Data, 99));
            transaction.ClaimShare(scene.Data.Extent, scene.Tree.DataTemplate, scene.A.Block, 4, scene.B.Block, 6);
            return scene.Disk.Apply(scene.Key, transaction);
        },
        [("Apply", XnStatus.Disapproved)] = scene => scene.Judged().Begin().Write(100, 1).Apply(),
        [("Apply", XnStatus.NotDurable)] = scene => scene.Tree.Share(scene.Stamped.AddData(scene.A, 7), scene.B, 6, out _),

        [("Order", XnStatus.ReadOnly)] = scene => scene.ReadOnly().Order(scene.Key, scene.A.Block, scene.B.Block),
        [("Order", XnStatus.NotRegistered)] = scene => scene.Disk.Order(scene.Key, Scene.Nowhere, scene.B.Block),
        [("Order", XnStatus.AccessDenied)] = scene => scene.Disk.Order(scene.Stranger, scene.A.Block, scene.B.Block),
        [("Order", XnStatus.NotInCore)] = scene =>
        {
            OneBlock volume = scene.WithoutGuard();
            return volume.Disk.Order(volume.Key, volume.Root, new BlockNumber(301));
        },
        [("Order", XnStatus.WrongTemplate)] = scene => scene.Disk.Order(scene.Key, scene.A.Block, scene.Data.Block),
        [("Order", XnStatus.OrderCycle)] = scene =>
        {
            Assert.Equal(XnStatus.Ok, scene.Disk.Apply(scene.Key, scene.Writing(scene.A.Block)));
            Assert.Equal(XnStatus.Ok, scene.Disk.Apply(scene.Key, scene.Writing(scene.B.Block)));
            Assert.Equal(XnStatus.Ok, scene.Disk.Order(scene.Key, scene.A.Block, scene.B.Block));
            return scene.Disk.Order(scene.Key, scene.B.Block, scene.A.Block);
        },

        [("Bind", XnStatus.ReadOnly)] = scene => scene.ReadOnly().Bind(scene.Key, scene.Data.Block, [scene.Frame()], BindMode.Zero),
        [("Bind", XnStatus.NotRegistered)] = scene => scene.Disk.Bind(scene.Key, Scene.Nowhere, [scene.Frame()], BindMode.Zero),
        [("Bind", XnStatus.InCore)] = scene => scene.Disk.Bind(scene.Key, scene.Data.Block, [scene.Frame()], BindMode.Zero),
        [("Bind", XnStatus.NotOwned)] = scene =>
        {
            scene.OnlyEnterData();
            return scene.Disk.Bind(scene.Key, scene.Data.Block, [scene.Frame()], BindMode.Zero);
        },
        [("Bind", XnStatus.WrongTemplate)] = scene =>
        {
            BlockExtent extent = scene.Tree.FindFree(300, 1)!.Value;
            XnTransaction transaction = scene.Transaction;
            transaction.Write(scene.A.Block, StampedFormat.OffsetOf(9), StampedFormat.Entry(extent, StampedFormat.Node, 99));
            transaction.ClaimAllocate(extent, scene.Tree.NodeTemplate, scene.A.Block, 9);
            Assert.Equal(XnStatus.Ok, scene.Disk.Apply(scene.Key, transaction));
            return scene.Disk.Bind(scene.Key, extent.First, [scene.Frame()], BindMode.Contents);
        },
        [("Bind", XnStatus.AccessDenied)] = scene =>
        {
            BlockExtent extent = scene.Tree.FindFree(300, 1)!.Value;
            Assert.Equal(XnStatus.Ok, scene.Disk.Apply(scene.Key, scene.Allocating(extent)));
            return scene.Disk.Bind(scene.Stranger, extent.First, [scene.Frame()], BindMode.Zero);
        },
        [("Bind", XnStatus.NotInCore)] = scene =>
        {
            OneBlock volume = scene.WithoutGuard(withData: false);
            return volume.Disk.Bind(volume.Key, new BlockNumber(302), [volume.Frame()], BindMode.Zero);
        },

        [("BindOverwrite", XnStatus.ReadOnly)] = scene => scene.ReadOnly().BindOverwrite(scene.Key, scene.DataRequest, scene.FrameArray(3)),
        [("BindOverwrite", XnStatus.NotRegistered)] = scene => scene.Disk.BindOverwrite(scene.Key, scene.DataRequest with { Parent = Scene.Nowhere }, scene.FrameArray(3)),
        [("BindOverwrite", XnStatus.NotInCore)] = scene =>
        {
            scene.OnlyEnterData();
            return scene.Disk.BindOverwrite(scene.Key, new XnReadRequest(scene.Data.Block, 0, new BlockExtent(new(400), 1)), scene.FrameArray(1));
        },
        [("BindOverwrite", XnStatus.BadRange)] = scene => scene.Disk.BindOverwrite(scene.Key, scene.DataRequest with { Partition = 112 }, scene.FrameArray(3)),
        [("BindOverwrite", XnStatus.NotOwned)] = scene => scene.Disk.BindOverwrite(scene.Key, scene.DataRequest with { Partition = 4 }, scene.FrameArray(3)),
        [("BindOverwrite", XnStatus.AccessDenied)] = scene => scene.Disk.BindOverwrite(scene.Stranger, scene.DataRequest, scene.FrameArray(3)),
        [("BindOverwrite", XnStatus.TypeError)] = scene =>
        {
            (XnVolume volume, BlockNumber root, Capabilities.Credential key, FramePool frames) = scene.Damaged();
            Assert.True(frames.TryAllocate(key, out FrameNumber frame));
            return volume.BindOverwrite(key, new XnReadRequest(root, 0, new BlockExtent(new(300), 1)), [frame]);
        },
        [("BindOverwrite", XnStatus.WrongTemplate)] = scene =>
            scene.Disk.BindOverwrite(scene.Key, new XnReadRequest(scene.Tree.Root.Block, scene.A.Entry, scene.A.Extent), scene.FrameArray(1)),
        [("BindOverwrite", XnStatus.InCore)] = scene => scene.Disk.BindOverwrite(scene.Key, scene.DataRequest, scene.FrameArray(3)),
        [("BindOverwrite", XnStatus.Shared)] = scene =>
        {
            scene.ShareData();
            scene.Tree.Sync();
            scene.EvictData();
            return scene.Disk.BindOverwrite(scene.Key, scene.DataRequest, scene.FrameArray(3));
        },
        [("BindOverwrite", XnStatus.BadFrames)] = scene => scene.Disk.BindOverwrite(scene.Key, scene.DataRequest, scene.FrameArray(2)),

        [("Insert", XnStatus.NotRegistered)] = scene => scene.Disk.Insert(scene.Key, scene.DataRequest with { Parent = Scene.Nowhere }),
        [("Insert", XnStatus.NotInCore)] = scene =>
        {
            scene.OnlyEnterData();
            return scene.Disk.Insert(scene.Key, new XnReadRequest(scene.Data.Block, 0, new BlockExtent(new(400), 1)));
        },
        [("Insert", XnStatus.BadRange)] = scene => scene.Disk.Insert(scene.Key, scene.DataRequest with { Partition = -1 }),
        [("Insert", XnStatus.AccessDenied)] = scene => scene.Disk.Insert(scene.Stranger, scene.DataRequest),
        [("Insert", XnStatus.TypeError)] = scene =>
        {
            (XnVolume volume, BlockNumber root, Capabilities.Credential key, _) = scene.Damaged();
            return volume.Insert(key, new XnReadRequest(root, 0, new BlockExtent(new(300), 1)));
        },
        [("Insert", XnStatus.NotOwned)] = scene => scene.Disk.Insert(scene.Key, scene.DataRequest with { Partition = 4 }),

        [("MarkDirty", XnStatus.ReadOnly)] = scene => scene.ReadOnly().MarkDirty(scene.Key, scene.Data.Block, 1),
        [("MarkDirty", XnStatus.NotInCore)] = scene => scene.Disk.MarkDirty(scene.Key, Scene.Nowhere, 1),
        [("MarkDirty", XnStatus.AccessDenied)] = scene => scene.Disk.MarkDirty(scene.Stranger, scene.Data.Block, 1),
        [("MarkDirty", XnStatus.Shared)] = scene =>
        {
            scene.ShareData();
            return scene.Disk.MarkDirty(scene.Key, scene.Data.Block, 1);
        },
        [("MarkDirty", XnStatus.WrongTemplate)] = scene => scene.Disk.MarkDirty(scene.Key, scene.A.Block, 1),

        [("Rebind", XnStatus.ReadOnly)] = scene => scene.ReadOnly().Rebind(scene.Key, scene.Data.Block, scene.Frame()),
        [("Rebind", XnStatus.NotInCore)] = scene => scene.Disk.Rebind(scene.Key, Scene.Nowhere, scene.Frame()),
        [("Rebind", XnStatus.AccessDenied)] = scene => scene.Disk.Rebind(scene.Stranger, scene.Data.Block, scene.Frame()),
        [("Rebind", XnStatus.Shared)] = scene =>
        {
            scene.ShareData();
            return scene.Disk.Rebind(scene.Key, scene.Data.Block, scene.Frame());
        },
        [("Rebind", XnStatus.WrongTemplate)] = scene => scene.Disk.Rebind(scene.Key, scene.A.Block, scene.Frame()),

        [("Unbind", XnStatus.NotRegistered)] = scene => scene.Disk.Unbind(scene.Key, Scene.Nowhere),
        [("Unbind", XnStatus.AccessDenied)] = scene => scene.Disk.Unbind(scene.Stranger, scene.Data.Block),
        [("Unbind", XnStatus.Dirty)] = scene => scene.Disk.Unbind(scene.Key, scene.Stamped.AddData(scene.A, 7).Block),
        [("Unbind", XnStatus.Busy)] = scene => WhileReading(scene, volume => volume.Unbind(scene.Key, scene.Data.Block)),
        [("Unbind", XnStatus.NotDurable)] = scene =>
        {
            StampedTree.Item data = scene.Stamped.AddData(scene.A, 7);
            Assert.Equal(XnStatus.Ok, scene.Disk.WriteBack(scene.Key, [data.Block]));
            return scene.Disk.Unbind(scene.Key, data.Block);
        },

        [("Read", XnStatus.NotRegistered)] = scene => Thrown(() => scene.Disk.Read(scene.Key, [scene.DataRequest with { Parent = Scene.Nowhere }], scene.FrameArray(3), out _)),
        [("Read", XnStatus.NotInCore)] = scene => Thrown(() =>
        {
            scene.OnlyEnterData();
            scene.Disk.Read(scene.Key, [new XnReadRequest(scene.Data.Block, 0, new BlockExtent(new(400), 1))], scene.FrameArray(1), out _);
        }),
        [("Read", XnStatus.BadRange)] = scene => Thrown(() => scene.Disk.Read(scene.Key, [scene.DataRequest with { Partition = 112 }], scene.FrameArray(3), out _)),
        [("Read", XnStatus.AccessDenied)] = scene => Thrown(() => scene.Disk.Read(scene.Stranger, [scene.DataRequest], scene.FrameArray(3), out _)),
        [("Read", XnStatus.TypeError)] = scene => Thrown(() =>
        {
            (XnVolume volume, BlockNumber root, Capabilities.Credential key, FramePool frames) = scene.Damaged();
            Assert.True(frames.TryAllocate(key, out FrameNumber frame));
            volume.Read(key, [new XnReadRequest(root, 0, new BlockExtent(new(300), 1))], [frame], out _);
        }),
        [("Read", XnStatus.NotOwned)] = scene => Thrown(() => scene.Disk.Read(scene.Key, [scene.DataRequest with { Partition = 4 }], scene.FrameArray(3), out _)),
        [("Read", XnStatus.BadFrames)] = scene => Thrown(() =>
        {
            scene.EvictData();
            scene.Disk.Read(scene.Key, [scene.DataRequest], scene.FrameArray(2), out _);
        }),
        [("Read", XnStatus.NotDurable)] = scene => Thrown(() =>
        {
            BlockExtent extent = scene.Tree.FindFree(300, 1)!.Value;
            Assert.Equal(XnStatus.Ok, scene.Disk.Apply(scene.Key, scene.Allocating(extent)));
            scene.Disk.Read(scene.Key, [new XnReadRequest(scene.A.Block, 9, extent)], scene.FrameArray(1), out _);
        }),

        [("WriteBack", XnStatus.ReadOnly)] = scene => scene.ReadOnly().WriteBack(scene.Key, [scene.A.Block]),
        [("WriteBack", XnStatus.NotRegistered)] = scene => scene.Disk.WriteBack(scene.Key, [Scene.Nowhere]),
        [("WriteBack", XnStatus.Busy)] = scene =>
        {
            (XnVolume volume, GateBlockDevice gate) = scene.Gated();
            Assert.Equal(XnStatus.Ok, volume.Apply(scene.Key, scene.Writing(scene.A.Block)));
            gate.Shut();
            ValueTask<XnStatus> writing = volume.WriteBackAsync(scene.Key, new[] { scene.A.Block });
            Assert.Equal(XnStatus.Ok, volume.Apply(scene.Key, scene.Writing(scene.A.Block)));
            XnStatus status = volume.WriteBack(scene.Key, [scene.A.Block]);
            gate.Open();
            Assert.Equal(XnStatus.Ok, writing.AsTask().GetAwaiter().GetResult());
            return status;
        },
        [("WriteBack", XnStatus.Tainted)] = scene =>
        {
            _ = scene.Stamped.AddData(scene.A, 7);
            return scene.Disk.WriteBack(scene.Key, [scene.A.Block]);
        },

        [("Unmount", XnStatus.Dirty)] = scene =>
        {
            _ = scene.Stamped.AddData(scene.A, 7);
            return scene.Disk.Unmount();
        },

        [("InstallTemplates", XnStatus.AccessDenied)] = scene => Thrown(() => scene.Disk.InstallTemplates(scene.Stranger, StampedFormat.Templates)),
        [("InstallTemplates", XnStatus.ReadOnly)] = scene => Thrown(() => scene.ReadOnly().InstallTemplates(scene.Key, StampedFormat.Templates)),
        [("InstallTemplates", XnStatus.WrongTemplate)] = scene => Thrown(() => scene.Disk.InstallTemplates(scene.Key, [OneBlock.Data("")])),
        [("InstallTemplates", XnStatus.NotFound)] = scene => Thrown(() => scene.Disk.InstallTemplates(scene.Key, [OneBlock.Plain("orphan", "nobody")])),
        [("InstallTemplates", XnStatus.CatalogueFull)] = scene =>
            Thrown(() => scene.Disk.InstallTemplates(scene.Key, [.. Enumerable.Range(0, 62).Select(i => OneBlock.Data($"template {i}"))])),

        [("CreateRoot", XnStatus.AccessDenied)] = scene => Thrown(() => scene.Disk.CreateRoot(scene.Stranger, scene.Tree.RootTemplate, default, default)),
        [("CreateRoot", XnStatus.ReadOnly)] = scene => Thrown(() => scene.ReadOnly().CreateRoot(scene.Key, scene.Tree.RootTemplate, default, default)),
        [("CreateRoot", XnStatus.WrongTemplate)] = scene => Thrown(() => scene.Disk.CreateRoot(scene.Key, scene.Tree.DataTemplate, default, default)),
        [("CreateRoot", XnStatus.NotFree)] = scene => Thrown(() =>
        {
            for (int i = 0; scene.Tree.FindFree(0, 1) is { } extent; i++)
            {
                _ = extent;
                Assert.NotEqual(default, scene.Disk.CreateRoot(scene.Key, scene.Tree.RootTemplate, default, default));
            }

            scene.Disk.CreateRoot(scene.Key, scene.Tree.RootTemplate, default, default);
        }),
        [("CreateRoot", XnStatus.BadFrames)] = scene => Thrown(() =>
        {
            scene.ExhaustFrames();
            scene.Disk.CreateRoot(scene.Key, scene.Tree.RootTemplate, default, default);
        }),
        [("CreateRoot", XnStatus.TypeError)] = scene => Thrown(() =>
        {
            byte[] contents = new byte[1024];
            contents[StampedFormat.OffsetOf(0)] = 1;
            scene.Disk.CreateRoot(scene.Key, scene.Tree.RootTemplate, default, contents);
        }),
        [("CreateRoot", XnStatus.BadRange)] = scene => Thrown(() => scene.Disk.CreateRoot(scene.Key, scene.Tree.RootTemplate, default, new byte[4097])),

        [("PublishRoot", XnStatus.AccessDenied)] = scene => Thrown(() => scene.Disk.PublishRoot(scene.Stranger, "x", scene.A.Block)),
        [("PublishRoot", XnStatus.ReadOnly)] = scene => Thrown(() => scene.ReadOnly().PublishRoot(scene.Key, "x", scene.A.Block)),
        [("PublishRoot", XnStatus.Exists)] = scene => Thrown(() => scene.Disk.PublishRoot(scene.Key, StampedTree.RootName, NewRoot(scene))),
        [("PublishRoot", XnStatus.CatalogueFull)] = scene => Thrown(() =>
        {
            for (int i = 0; i < RootBlock.EntriesMax; i++)
            {
                scene.Disk.PublishRoot(scene.Key, $"root {i}", NewRoot(scene));
            }
        }),
        [("PublishRoot", XnStatus.NotFound)] = scene => Thrown(() => scene.Disk.PublishRoot(scene.Key, "x", scene.A.Block)),
        [("PublishRoot", XnStatus.Tainted)] = scene =>
            Thrown(() => scene.Disk.PublishRoot(scene.Key, "x", scene.Disk.CreateRoot(scene.Key, scene.Tree.RootTemplate, default, default))),
        [("PublishRoot", XnStatus.BadRange)] = scene => Thrown(() => scene.Disk.PublishRoot(scene.Key, new string('x', 65), scene.A.Block)),

        [("OpenRoot", XnStatus.NotFound)] = scene => Thrown(() => scene.Disk.OpenRoot(scene.Key, "x")),
        [("OpenRoot", XnStatus.AccessDenied)] = scene => Thrown(() => scene.Disk.OpenRoot(scene.Stranger, StampedTree.RootName)),
        [("OpenRoot", XnStatus.BadFrames)] = scene => Thrown(() =>
        {
            scene.Disk.Dispose();
            using XnVolume again = XnVolume.Attach(scene.Stamped.Device);
            scene.ExhaustFrames();
            again.OpenRoot(scene.Key, StampedTree.RootName);
        }),
    };

    public static TheoryData<string, XnStatus> Provocations
    {
        get
        {
            TheoryData<string, XnStatus> data = [];
            foreach ((string operation, XnStatus status) in s_provocations.Keys)
            {
                data.Add(operation, status);
            }

            return data;
        }
    }

    public static TheoryData<string> Operations => [.. s_provocations.Keys.Select(key => key.Operation).Distinct()];

    [Theory]
    [MemberData(nameof(Provocations))]
    public void Is_provoked(string operation, XnStatus status)
    {
        using Scene scene = new();
        Assert.Equal(status, s_provocations[(operation, status)](scene));
    }

    [Theory]
    [MemberData(nameof(Operations))]
    public void The_documentation_names_exactly_what_is_provoked(string operation)
    {
        XElement member = Document().Descendants("member").First(
            member => $"{member.Attribute("name")!.Value}(".StartsWith($"M:Exo.Storage.XN.XnVolume.{operation}(", StringComparison.Ordinal));
        IEnumerable<XElement> parts =
            member.Elements("returns").Concat(member.Elements("exception").Where(element => element.Attribute("cref")!.Value == "T:Exo.Storage.XN.XnException"));
        string text = string.Join(' ', parts.Select(part => part.Value));
        XnStatus[] named = [.. Word().Matches(text).Select(match => match.Value).Where(word => word != "Ok" && Enum.IsDefined(typeof(XnStatus), word)).Select(Enum.Parse<XnStatus>).Distinct().Order()];
        Assert.Equal(s_provocations.Keys.Where(key => key.Operation == operation).Select(key => key.Status).Order(), named);
    }

    [Fact]
    public void Every_status_is_provoked_somewhere() =>
        Assert.Equal(Enum.GetValues<XnStatus>().Where(status => status != XnStatus.Ok), s_provocations.Keys.Select(key => key.Status).Distinct().Order());

    private static XnStatus Thrown(Action action) => Assert.Throws<XnException>(action).Status;

    /// <summary>Does something while the data is being read.</summary>
    private static XnStatus WhileReading(Scene scene, Func<XnVolume, XnStatus> action)
    {
        (XnVolume volume, GateBlockDevice gate) = scene.Gated();
        gate.Shut();
        ValueTask<int> reading = volume.ReadAsync(scene.Key, new[] { scene.DataRequest }, scene.FrameArray(3), TestContext.Current.CancellationToken);
        XnStatus status = action(volume);
        gate.Open();
        Assert.Equal(0, reading.AsTask().GetAwaiter().GetResult());
        return status;
    }

    private static BlockNumber NewRoot(Scene scene)
    {
        BlockNumber root = scene.Disk.CreateRoot(scene.Key, scene.Tree.RootTemplate, default, default);
        scene.Tree.Sync();
        return root;
    }

    private static XDocument Document() => XDocument.Load(Path.Combine(AppContext.BaseDirectory, "Exo.Storage.XN.xml"));

    [GeneratedRegex(@"\w+")]
    private static partial Regex Word();
}
