// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Http;

/// <summary>How many connections are doing what.</summary>
/// <param name="Idle">Nothing is under way.</param>
/// <param name="Receiving">A request has come in part.</param>
/// <param name="Waiting">The answer waits for a document, or for a deferred handler.</param>
/// <param name="Sending">The client has not taken what it was sent, or is waited for to close.</param>
internal readonly record struct ConnectionStates(int Idle, int Receiving, int Waiting, int Sending)
{
    /// <summary>One more, whose time runs for <paramref name="kind"/>.</summary>
    public ConnectionStates And(DeadlineKind kind) => kind switch
    {
        DeadlineKind.Idle => this with { Idle = Idle + 1 },
        DeadlineKind.Request => this with { Receiving = Receiving + 1 },
        DeadlineKind.Document => this with { Waiting = Waiting + 1 },
        _ => this with { Sending = Sending + 1 },
    };

    public static ConnectionStates operator +(ConnectionStates one, ConnectionStates other) =>
        new(one.Idle + other.Idle, one.Receiving + other.Receiving, one.Waiting + other.Waiting, one.Sending + other.Sending);
}
