// SPDX-License-Identifier: MIT
namespace Exo.Core.Observation;

/// <summary>What an environment is doing.</summary>
public enum EnvironmentState : byte
{
    /// <summary>It is on no scheduler: its code runs on whatever threads call it.</summary>
    Unscheduled = 0,

    /// <summary>It waits for something.</summary>
    Asleep = 1,

    /// <summary>It waits for its turn.</summary>
    Runnable = 2,

    /// <summary>A processor runs it.</summary>
    Running = 3,

    /// <summary>It sleeps itself, and a caller is inside by a protected call.</summary>
    Called = 4,

    /// <summary>It has ended.</summary>
    Ended = 5,
}

/// <summary>An environment at one moment. What is held is counted as quotas are: with what all environments below it hold.</summary>
/// <param name="Name">Its name, as capabilities have it: bytes in decimal, dots between.</param>
/// <param name="Label">What its name has beyond its parent's, where that is text; else null.</param>
/// <param name="Number">Its number on its scheduler, 0 on none.</param>
/// <param name="State">What it is doing.</param>
/// <param name="Slices">Positions that it owns in the vector of time slices.</param>
/// <param name="SlicesBegun">Slices it was given.</param>
/// <param name="RanMicroseconds">How long it ran, without what runs now.</param>
/// <param name="Capabilities">Valid capabilities in its list.</param>
/// <param name="FramesHeld">Frames held.</param>
/// <param name="FramesQuota">Frames it may hold; null: as many as its parent may.</param>
/// <param name="BlocksHeld">Disk blocks held.</param>
/// <param name="RingSlotsHeld">Slots of packet rings held.</param>
/// <param name="PortsHeld">Ports and packet filters held.</param>
/// <param name="PredicatesAsleep">Predicates that it sleeps on.</param>
/// <param name="Rings">Open ends of pipes and rings.</param>
/// <param name="Sleeps">Times it went to sleep on a predicate that did not hold yet.</param>
/// <param name="Wakes">Times a predicate woke it.</param>
/// <param name="Refusals">Requests refused by a quota.</param>
/// <param name="Repossessed">Things taken from it by force.</param>
public sealed record EnvironmentSnapshot(
    string Name, string? Label, int Number, EnvironmentState State, int Slices, long SlicesBegun, long RanMicroseconds, int Capabilities, long FramesHeld, long? FramesQuota,
    long BlocksHeld, long RingSlotsHeld, long PortsHeld, int PredicatesAsleep, int Rings, long Sleeps, long Wakes, long Refusals, long Repossessed);

/// <summary>A predicate that an environment sleeps on.</summary>
/// <param name="Environment">Who sleeps.</param>
/// <param name="Condition">What it waits for, at most 200 characters: products with <c>|</c> between, a word as <c>frame[offset]</c>.</param>
/// <param name="Products">Products.</param>
/// <param name="Terms">Terms of all products together.</param>
/// <param name="Frames">The frames that it is over.</param>
/// <param name="UsesTime">Whether it also waits for a moment.</param>
public sealed record PredicateSnapshot(string Environment, string Condition, int Products, int Terms, IReadOnlyList<uint> Frames, bool UsesTime);

/// <summary>
/// Environments, what they sleep on, and their ends of rings. Everything in it was true at some moment of the call; what all environments hold was true at one and the same moment, so that no parent holds less than its children do.
/// </summary>
/// <param name="Environments">From the root down, parents before their children.</param>
/// <param name="Predicates">Predicates that are slept on.</param>
/// <param name="Rings">Ends of pipes, message rings and packet rings.</param>
/// <param name="IsComplete">False: there were more of something than was asked for, and the rest is left out.</param>
public sealed record EnvironmentTreeSnapshot(
    IReadOnlyList<EnvironmentSnapshot> Environments, IReadOnlyList<PredicateSnapshot> Predicates, IReadOnlyList<RingSnapshot> Rings, bool IsComplete);
