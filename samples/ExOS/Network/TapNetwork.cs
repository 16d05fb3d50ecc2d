// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah;
using Exo.Net.Cheetah.Ip;

namespace ExOS.Network;

/// <summary>
/// A real network: one stack on a TAP interface, with an address of its own beside the kernel's, which sees it as another machine on that link. Hosts are addresses; there is no way from the system to itself.
/// </summary>
internal sealed class TapNetwork : ExosNetwork
{
    private readonly TapDevice _device;
    private readonly NetworkStack _stack;

    /// <summary>Opens the interface, makes it if there is none, and switches it on.</summary>
    /// <exception cref="NetworkDeviceException">The kernel refused.</exception>
    public TapNetwork(FramePool frames, string interfaceName, NetworkStackOptions options)
    {
        _device = TapDevice.Open(interfaceName, frames);
        try
        {
            using (NetworkLink link = NetworkLink.Open(interfaceName))
            {
                link.IsUp = true;
            }

            _stack = new NetworkStack(_device, options);
        }
        catch
        {
            _device.Dispose();
            throw;
        }

        Poll(_stack);
    }

    protected override NetworkStack Servers() => _stack;

    protected override NetworkStack Clients() => _stack;

    protected override IPAddress? Find(string host) => IPAddress.TryParse(host, out IPAddress? address) ? address : null;

    protected override void Close()
    {
        _stack.Dispose();
        _device.Dispose();
    }
}
