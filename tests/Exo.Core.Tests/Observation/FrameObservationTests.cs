// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Observation;

namespace Exo.Core.Tests.Observation;

/// <summary>A pool's frames as an observer is told them, beside a model.</summary>
public sealed class FrameObservationTests
{
    [Fact]
    public void Every_frame_is_counted_as_what_it_is()
    {
        Gen.Select(Gen.Int[0, 4], Gen.Int[0, 63]).List[1, 100].Sample(steps =>
        {
            using FramePool pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 * FramePool.FrameBytes });
            Credential[] owners = [pool.RootCredential, .. Enumerable.Range(1, 3).Select(i => Credential.Of(pool.Authority.Root.Forge(CapabilityName.Create((byte)i), Rights.All)))];
            Dictionary<uint, (int Owner, int References)> model = [];
            Dictionary<uint, BindingEpochHold> uses = [];
            foreach ((int what, int which) in steps)
            {
                FrameNumber frame = new((uint)which);
                int owner = which % owners.Length;
                switch (what)
                {
                    case 0 or 1:
                        // A frame that is in use from before it was freed cannot be taken yet.
                        Assert.Equal(!model.ContainsKey(frame.Value) && !uses.ContainsKey(frame.Value), pool.TryAllocate(owners[owner], frame));
                        model.TryAdd(frame.Value, (owner, 1));
                        if (uses.ContainsKey(frame.Value) && pool.ReferenceCount(frame) == 0)
                        {
                            model.Remove(frame.Value);
                        }

                        break;
                    case 2 when model.TryGetValue(frame.Value, out (int Owner, int References) held):
                        pool.Retain(frame);
                        model[frame.Value] = held with { References = held.References + 1 };
                        break;
                    case 3 when model.TryGetValue(frame.Value, out (int Owner, int References) held):
                        pool.Release(frame);
                        model[frame.Value] = held with { References = held.References - 1 };
                        if (held.References == 1)
                        {
                            model.Remove(frame.Value);
                        }

                        break;
                    case 4 when uses.Remove(frame.Value, out BindingEpochHold? use):
                        use.Dispose();
                        break;
                    case 4 when model.TryGetValue(frame.Value, out (int Owner, int References) held):
                        uses[frame.Value] = new BindingEpochHold(pool.Bind(owners[held.Owner], frame, Rights.Read));
                        break;
                    default:
                        break;
                }

                FramesSnapshot seen = pool.Observe();
                Assert.Equal(64, seen.FrameCount);
                Assert.Equal(model.Count, seen.Held);
                Assert.Equal(pool.FreeCount, seen.Free);
                Assert.Equal(uses.Keys.Count(used => !model.ContainsKey(used)), seen.Draining);
                Assert.Equal(model.Values.Count(held => held.References > 1), seen.Shared);
                Assert.Equal(uses.Keys.Count(model.ContainsKey), seen.Pinned);
                Assert.Equal((0, 0, true), (seen.Watched, seen.Exported, seen.IsComplete));
                Assert.Equal(
                    model.Values.GroupBy(held => owners[held.Owner].Capabilities[0].Name.ToString()).ToDictionary(group => group.Key, group => group.Count()),
                    seen.Owners.ToDictionary(of => of.Name, of => of.Frames));
                Assert.Equal(seen.Owners.Select(of => of.Frames).OrderDescending(), seen.Owners.Select(of => of.Frames));
            }

            foreach (BindingEpochHold use in uses.Values)
            {
                use.Dispose();
            }
        }, threads: 1);
    }

    [Fact]
    public void Only_so_many_owners_are_named()
    {
        using FramePool pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 * FramePool.FrameBytes });
        for (byte i = 1; i <= 4; i++)
        {
            for (int j = 0; j < i; j++)
            {
                Assert.True(pool.TryAllocate(Credential.Of(pool.Authority.Root.Forge(CapabilityName.Create(i), Rights.All)), out _));
            }
        }

        FramesSnapshot seen = pool.Observe(ownersMax: 2);
        Assert.False(seen.IsComplete);
        Assert.Equal([("4", 4), ("3", 3)], seen.Owners.Select(of => (of.Name, of.Frames)));
        Assert.Empty(pool.Observe(ownersMax: 0).Owners);
    }

    // A use that belongs to no thread, as a ring or a sleeping predicate has it.
    private sealed class BindingEpochHold : IDisposable
    {
        private readonly BindingEpoch _epoch;

        public BindingEpochHold(SecureBinding<Frame> binding)
        {
            _epoch = binding.Epoch!;
            Assert.True(_epoch.TryHold());
        }

        public void Dispose() => _epoch.Drop();
    }
}
