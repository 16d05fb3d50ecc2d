// SPDX-License-Identifier: MIT
using System.Net;

namespace Exo.Core.Net;

/// <summary>Who knows the hardware addresses of an interface's neighbours, for a stack that does not ask for them itself because somebody else answers for its addresses.</summary>
public interface INeighborResolver
{
    /// <summary>Looks a neighbour up, and has it asked for when it is not known or may have changed. Does not wait for answers. For the thread that polls the stack.</summary>
    /// <param name="neighbor">An address on the link.</param>
    /// <param name="hardware">Where to send to.</param>
    /// <returns>False: it is not known now; ask again.</returns>
    bool TryFind(IPAddress neighbor, out MacAddress hardware);

    /// <summary>Tells what has changed since the last call: neighbours with their addresses, or with null those that are known no longer. For the thread that polls the stack.</summary>
    /// <returns>False: more has changed than is told; what was found before must be looked up again.</returns>
    bool ReadChanges(Action<IPAddress, MacAddress?> told);
}
