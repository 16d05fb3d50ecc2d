// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.DownloadedCode;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.PacketFilters;

namespace Exo.Core.Tests.PacketFilters;

/// <summary>The tree, and the programs made of it, against a list of filters that is searched whole.</summary>
public sealed class FilterTreeModelTests
{
    private static readonly Gen<(PacketFilter[] Filters, int[] Removals, byte[][] Packets)> Scenario =
        Gen.Select(FilterGen.Filter(6, hasSteps: true).Array[1, 24], Gen.Int[0, 23].Array[0, 16], FilterGen.Packet(0, 14).Array[1, 40]);

    [Fact]
    public void The_tree_answers_as_the_list_does_through_insertions_and_removals() => Scenario.Sample(
        scenario =>
        {
            using ExoEnvironment root = FilterGen.Root();
            PacketFilterTree tree = FilterGen.Tree(root);
            List<InstalledFilter> model = [];
            foreach (PacketFilter filter in scenario.Filters)
            {
                model.Add(tree.Insert(root, filter));
                Compare(tree, model, scenario.Packets);
            }

            foreach (int removal in scenario.Removals.Where(_ => model.Count > 0))
            {
                InstalledFilter removed = model[removal % model.Count];
                model.Remove(removed);
                removed.Dispose();
                Compare(tree, model, scenario.Packets);
            }

            Assert.Equal(model.Count, tree.Count);
            model.ForEach(one => one.Dispose());
            Assert.Equal("", tree.ToString());
            Assert.Equal(0, root.Held(ResourceKind.Ports));
        },
        iter: 1500);

    [Fact]
    public void The_shape_depends_on_the_filters_and_not_on_their_history() =>
        Gen.Select(FilterGen.Filter(6, hasSteps: true).Array[1, 16], FilterGen.Filter(6, hasSteps: true)).Sample(
            (filters, extra) =>
            {
                using ExoEnvironment root = FilterGen.Root();
                PacketFilterTree tree = FilterGen.Tree(root);
                foreach (PacketFilter filter in filters)
                {
                    tree.Insert(root, filter);
                }

                string before = tree.ToString();
                tree.Insert(root, extra).Dispose();
                Assert.Equal(before, tree.ToString());
            },
            iter: 500);

    [Fact]
    public void The_program_is_verified_and_answers_as_the_tree_does() => Scenario.Sample(
        scenario =>
        {
            using ExoEnvironment root = FilterGen.Root();
            PacketFilterTree tree = FilterGen.Tree(root);
            foreach (PacketFilter filter in scenario.Filters)
            {
                tree.Insert(root, filter);
            }

            Assert.True(tree.TryToProgram(out Program? program));
            VerifiedProgram verified = Verifier.Verify(program, PacketFilterTree.ProgramContract).Require();
            byte[] frame = new byte[FramePool.FrameBytes];
            foreach (byte[] packet in scenario.Packets)
            {
                // What lies behind the packet is a stranger's and must not count.
                frame.AsSpan().Fill(1);
                packet.CopyTo(frame, 0);
                ulong expected = tree.Classify(packet)?.Number ?? 0;
                ProgramInput input = new(frame) { R2 = (ulong)packet.Length };
                ExecutionResult interpreted = Interpreter.Run(verified, input);
                Assert.Equal((ExecutionStatus.Completed, expected), (interpreted.Status, interpreted.R0));
                Assert.Equal(interpreted, Compiler.Run(verified, input));
            }
        },
        iter: 60);

    [Fact]
    public void Fields_of_every_width_at_every_end_are_read_alike() =>
        Gen.Select(Gen.Byte.Array[0, 40], Gen.Int[0, 24], FilterGen.OneOf(8, 16, 32, 64, 128), Gen.ULong, Gen.ULong).Sample(
            (packet, offset, width, high, low) =>
            {
                UInt128 mask = new UInt128(high, low) & (width == 128 ? UInt128.MaxValue : (UInt128.One << width) - 1);
                UInt128 field = 0;
                for (int i = 0; i < width / 8 && offset + i < packet.Length; i++)
                {
                    field = (field << 8) | packet[offset + i];
                }

                PacketFilter filter = PacketFilter.Build().Equal(offset, width, mask, field & mask).ToFilter();
                using ExoEnvironment root = FilterGen.Root();
                PacketFilterTree tree = FilterGen.Tree(root);
                tree.Insert(root, filter);
                bool isLongEnough = offset + (width / 8) <= packet.Length;
                Assert.Equal(isLongEnough, filter.Accepts(packet));
                Assert.Equal(isLongEnough, tree.Classify(packet) is not null);
                Assert.True(tree.TryToProgram(out Program? program));
                byte[] frame = new byte[FramePool.FrameBytes];
                packet.CopyTo(frame, 0);
                VerifiedProgram verified = Verifier.Verify(program, PacketFilterTree.ProgramContract).Require();
                Assert.Equal(isLongEnough ? 1UL : 0, Interpreter.Run(verified, new ProgramInput(frame) { R2 = (ulong)packet.Length }).R0);
            },
            iter: 2000);

    private static void Compare(PacketFilterTree tree, List<InstalledFilter> model, byte[][] packets)
    {
        foreach (byte[] packet in packets)
        {
            Assert.Same(FilterGen.Naive(model, packet), tree.Classify(packet));
        }
    }
}
