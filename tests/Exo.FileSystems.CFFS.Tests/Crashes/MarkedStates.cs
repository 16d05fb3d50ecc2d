// SPDX-License-Identifier: MIT
using Exo.Simulation.Crashes;
using Exo.Simulation.Recording;

namespace Exo.FileSystems.CFFS.Tests.Crashes;

/// <summary>What a power cut may leave of a recording whose marks say how far the workload was.</summary>
internal static class MarkedStates
{
    /// <summary>Checks each state, with the last mark before the cut. What fails says which state it was.</summary>
    /// <returns>How many there were.</returns>
    public static int Check<TMoment>(DiskRecording recording, CrashExplorationOptions options, Action<CrashState, TMoment?> check)
        where TMoment : struct
    {
        int states = 0;
        foreach (CrashState state in CrashStates.Enumerate(recording, options))
        {
            states++;
            TMoment? moment = state.Marks.Count == 0 ? null : (TMoment)state.Marks[^1].Value!;
            try
            {
                check(state, moment);
            }
            catch (Exception failure)
            {
                throw new InvalidOperationException($"{state.Description}, {moment}: {failure.Message}", failure);
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{states} states");
        return states;
    }
}
