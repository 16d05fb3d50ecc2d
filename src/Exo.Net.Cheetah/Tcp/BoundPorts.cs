// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Net;
using Exo.Core.PacketFilters;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// The ports that a stack has been given (<see cref="IPortBinder"/>). A port is asked for before anybody listens or connects there, and given back when nobody listens there any more and no
/// connection is left, TIME-WAIT included: whoever gets it next gets no old segments. One thread.
/// </summary>
internal sealed class BoundPorts(IPortBinder binder) : IDisposable
{
    private readonly Dictionary<ushort, PortBinding> bindings = [];

    /// <summary>Has the port from now on, if it had it not before.</summary>
    public PortVerdict TryBind(ushort port, Credential? by)
    {
        if (bindings.TryGetValue(port, out PortBinding? had) && had.IsValid)
        {
            return new PortVerdict(PortRefusal.None, ProtocolFilters.Tcp, port);
        }

        had?.Dispose();   // revoked: it brings nothing any more
        bindings.Remove(port);
        PortVerdict verdict = binder.TryBind(ProtocolFilters.Tcp, port, by, out PortBinding? binding);
        if (verdict.IsBound)
        {
            bindings.Add(port, binding!);
        }

        return verdict;
    }

    /// <summary>Gives back what is no longer used. Looks at every connection when there is a port without a listener; to be called now and then.</summary>
    public void Collect(TcpLayer tcp)
    {
        List<ushort>? left = null;
        foreach (ushort port in bindings.Keys)
        {
            if (!tcp.IsListening(port))
            {
                (left ??= []).Add(port);
            }
        }

        if (left is null)
        {
            return;
        }

        HashSet<ushort> used = [];
        foreach (TcpConnection connection in tcp.Table.ToList())
        {
            used.Add(connection.Key.LocalPort);
        }

        tcp.TimeWaits.AddLocalPorts(used);
        foreach (ushort port in left)
        {
            if (!used.Contains(port))
            {
                bindings.Remove(port, out PortBinding? unused);
                unused!.Dispose();
            }
        }
    }

    public void Dispose()
    {
        foreach (PortBinding binding in bindings.Values)
        {
            binding.Dispose();
        }

        bindings.Clear();
    }
}
