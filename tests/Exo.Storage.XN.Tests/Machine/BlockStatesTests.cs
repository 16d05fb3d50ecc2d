// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN.Tests.Stamped;
using Exo.Storage.XN.Tests.Statuses;

namespace Exo.Storage.XN.Tests.Machine;

/// <summary>The table of docs/xn-registry.md, every edge of it: a block is brought into each state, and each operation is tried on it there.</summary>
public sealed class BlockStatesTests
{
    private static readonly string[] s_states = ["absent", "entered", "fresh", "reading", "clean", "dirty", "writing", "rewriting", "written", "leaving"];
    private static readonly string[] s_operations = ["Insert", "Read", "Bind", "BindOverwrite", "MarkDirty", "WriteBack", "Flush", "Unbind", "free", "input/output ends"];

    public static TheoryData<string, string, string> Edges
    {
        get
        {
            TheoryData<string, string, string> edges = [];
            foreach (string[] row in Table().Skip(1))
            {
                for (int i = 0; i < s_operations.Length; i++)
                {
                    edges.Add(row[0], s_operations[i], row[i + 1]);
                }
            }

            return edges;
        }
    }

    [Fact]
    public void The_table_has_every_state_and_every_operation()
    {
        string[][] table = Table();
        Assert.Equal(s_operations, table[0].Skip(1));
        Assert.Equal(s_states, table.Skip(1).Select(row => row[0]));
    }

    [Theory]
    [MemberData(nameof(Edges))]
    public async Task Leads_where_the_table_says(string state, string operation, string expected)
    {
        using Scene scene = new();
        Block block = new(scene);
        await block.BringTo(state);
        Assert.Equal(state, block.State);
        string answer = await block.Do(operation);
        string actual = answer != "Ok" ? answer : block.State == state ? "·" : block.State;
        await block.Finish();
        Assert.Equal(expected, actual);
    }

    private static string[][] Table([CallerFilePath] string here = "")
    {
        string text = File.ReadAllText(Path.Combine(Path.GetDirectoryName(here)!, "../../../docs/xn-registry.md"));
        string[] lines = [.. text.Split('\n').SkipWhile(line => !line.StartsWith("| state", StringComparison.Ordinal)).TakeWhile(line => line.StartsWith('|'))];
        return [.. lines.Where((_, i) => i != 1).Select(line => line.Trim('|', ' ').Split('|').Select(cell => cell.Trim().Trim('`')).ToArray())];
    }

    /// <summary>One block of data and what is under way for it.</summary>
    private sealed class Block
    {
        private readonly Scene _scene;
        private readonly XnVolume _volume;
        private readonly GateBlockDevice _gate;
        private readonly List<Task> _underWay = [];
        private readonly XnTransaction _transaction = new();
        private XnReadRequest _request;
        private bool _isFreed;

        public Block(Scene scene)
        {
            _scene = scene;
            (_volume, _gate) = scene.Gated();
            _request = scene.DataRequest with { Extent = new BlockExtent(scene.Data.Block, 1) };
        }

        public string State
        {
            get
            {
                if (!_volume.TryGetEntry(Number, out RegistryEntryInfo entry))
                {
                    return "absent";
                }

                return entry switch
                {
                    { IsWriting: true } when _isFreed => "leaving",
                    { IsReading: true } => "reading",
                    { HasFrame: false, IsInitialised: false } => "fresh",
                    { HasFrame: false } => "entered",
                    { IsDirty: true, IsWriting: true } => "rewriting",
                    { IsWriting: true } => "writing",
                    { IsDirty: true } => "dirty",
                    _ => entry.DurableVersion == entry.Version ? "clean" : "written",
                };
            }
        }

        private BlockNumber Number => _request.Extent.First;

        private Credential Key => _scene.Key;

        public async Task BringTo(string state)
        {
            switch (state)
            {
                case "entered":
                    await Do("Insert");
                    break;
                case "fresh":
                    BlockExtent extent = _scene.Tree.FindFree(300, 1)!.Value;
                    _request = new XnReadRequest(_scene.A.Block, 9, extent);
                    _transaction.Clear();
                    _transaction.Write(_scene.A.Block, StampedFormat.OffsetOf(9), StampedFormat.Entry(extent, StampedFormat.Data, 99));
                    _transaction.ClaimAllocate(extent, _scene.Tree.DataTemplate, _scene.A.Block, 9);
                    Assert.Equal(XnStatus.Ok, _volume.Apply(Key, _transaction));
                    break;
                case "reading":
                    _gate.Shut();
                    await Do("Read");
                    break;
                case "clean":
                    await Do("Read");
                    break;
                case "dirty":
                    await BringTo("clean");
                    await Do("MarkDirty");
                    break;
                case "writing":
                    await BringTo("dirty");
                    _gate.Shut();
                    await Do("WriteBack");
                    break;
                case "rewriting":
                    await BringTo("writing");
                    await Do("MarkDirty");
                    break;
                case "written":
                    await BringTo("dirty");
                    await Do("WriteBack");
                    break;
                case "leaving":
                    await BringTo("writing");
                    await Do("free");
                    break;
                default:
                    break;
            }
        }

        public async Task<string> Do(string operation)
        {
            try
            {
                XnStatus status = operation switch
                {
                    "Insert" => _volume.Insert(Key, _request),
                    "Bind" => _volume.Bind(Key, Number, [_scene.Frame()], BindMode.Contents),
                    "BindOverwrite" => _volume.BindOverwrite(Key, _request, [_scene.Frame()]),
                    "MarkDirty" => _volume.MarkDirty(Key, Number, 1),
                    "Unbind" => _volume.Unbind(Key, Number),
                    "free" => Free(),
                    "Read" => await Begin(_volume.ReadAsync(Key, new[] { _request }, new[] { _scene.Frame() }).AsTask()) is { IsCompleted: true } ? XnStatus.Ok : XnStatus.Ok,
                    "WriteBack" => await Begin(_volume.WriteBackAsync(Key, new[] { Number }).AsTask()) is Task<XnStatus> { IsCompleted: true } done ? await done : XnStatus.Ok,
                    "Flush" => await Begin(_volume.FlushAsync().AsTask()) is not null ? XnStatus.Ok : XnStatus.Ok,
                    _ => await End(),
                };
                return status.ToString();
            }
            catch (XnException refused)
            {
                return refused.Status.ToString();
            }
        }

        /// <summary>Lets everything that is under way end.</summary>
        public async Task Finish()
        {
            _gate.Open();
            foreach (Task task in _underWay)
            {
                try
                {
                    await task;
                }
                catch (XnException)
                {
                    // Was the answer.
                }
            }
        }

        private XnStatus Free()
        {
            _transaction.Clear();
            bool isFresh = _request.Partition == 9;
            byte[] entry = isFresh
                ? new byte[StampedFormat.EntryBytes]
                : StampedFormat.Entry(new BlockExtent(Number + 1, 2), StampedFormat.Data, _scene.Data.Serial);
            _transaction.Write(_scene.A.Block, StampedFormat.OffsetOf(_request.Partition), entry);
            _transaction.ClaimFree(_request.Extent, _scene.Tree.DataTemplate, _scene.A.Block, _request.Partition);
            XnStatus status = _volume.Apply(Key, _transaction);
            _isFreed |= status == XnStatus.Ok;
            return status;
        }

        private async Task<XnStatus> End()
        {
            await Finish();
            return XnStatus.Ok;
        }

        /// <summary>Starts something; refusals come at once, and so does the end of what the gate does not hold.</summary>
        private async Task<Task> Begin(Task task)
        {
            _underWay.Add(task);
            if (task.IsFaulted)
            {
                await task;
            }

            return task;
        }
    }
}
