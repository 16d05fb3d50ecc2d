// SPDX-License-Identifier: MIT
namespace Exo.Core.Scheduling;

/// <summary>Something that an environment on a scheduler has to do, as an object that is there already when it comes up: putting it on the environment's queue allocates nothing and takes no lock. On one queue at a time.</summary>
internal abstract class EnvironmentWork
{
    /// <summary>The next one on the queue; of whoever has the queue.</summary>
    internal EnvironmentWork? NextWork { get; set; }

    /// <summary>Does it, in the environment. Taken off the queue before, so that it may be put on it again.</summary>
    internal abstract void Run();
}
