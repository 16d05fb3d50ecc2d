// SPDX-License-Identifier: MIT
using Exo.Core.Observation;
using Exo.Host;
using Exo.Tests;

namespace Exo.Samples.Tests.Exos;

/// <summary>A system at work, looked at from another process.</summary>
public sealed class ObservationTests
{
    [Fact]
    public async Task A_pipeline_that_waits_is_seen_with_its_pipe_and_its_predicates()
    {
        string folder = Directory.CreateTempSubdirectory("exos").FullName;
        try
        {
            string socket = Path.Combine(folder, "s");
            using ExoProcess system = ExoProcess.Start("exos.dll", Path.Combine(folder, "disk.img"), "--observe", socket, "-c", "echo up; sleep 1000 | cat");
            system.WaitForLine("up");
            using ExokernelObserver observer = ExokernelObserver.Attach(socket);
            ExokernelSnapshot seen;
            RingSnapshot? reads;
            do
            {
                seen = await observer.ObserveAsync(TestContext.Current.CancellationToken);
                reads = seen.Rings.FirstOrDefault(ring => !ring.Writes);
            }
            while (reads is null || !seen.Predicates.Any(predicate => predicate.Environment == reads.Environment));
            Assert.Equal((RingKind.Pipe, 0L), (reads.Kind, reads.Depth));
            Assert.Contains(seen.Rings, ring => ring.Writes && ring.Frame == reads.Frame);
            Assert.Contains($"{reads.Frame}[", seen.Predicates.First(predicate => predicate.Environment == reads.Environment).Condition, StringComparison.Ordinal);
            Assert.Contains(seen.Environments, environment => environment.Name == reads.Environment && environment is { Number: > 0, Slices: > 0, PredicatesAsleep: > 0 });
            Assert.True(seen.Frames!.Pinned > 0 && seen.Registry!.InCore > 0 && seen.Scheduler!.SlicesTaken >= 3);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
