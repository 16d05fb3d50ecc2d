// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using Exo.Capabilities;

namespace Exo.Core.Net;

/// <summary>Whom a stack asks for ports before it listens or connects. For any thread.</summary>
public interface IPortBinder
{
    /// <summary>Binds a port, so that its packets come to the stack and to nobody else. Refused, nothing is changed.</summary>
    /// <param name="protocol">The protocol's number, e.g. <see cref="PacketFilters.ProtocolFilters.Tcp"/>.</param>
    /// <param name="port">1 to 65535.</param>
    /// <param name="by">What is presented for it; null: the own capability of whoever the ports are bound for.</param>
    /// <param name="binding">The binding; disposing it gives the port back.</param>
    /// <exception cref="NetworkDeviceException">The kernel refused the filters' program, or the device is gone; nothing is changed.</exception>
    PortVerdict TryBind(byte protocol, ushort port, Credential? by, [NotNullWhen(true)] out PortBinding? binding);
}
