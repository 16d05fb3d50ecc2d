// SPDX-License-Identifier: MIT
namespace Exo.Core.Net;

/// <summary>A network device cannot be opened as asked, or is gone.</summary>
public sealed class NetworkDeviceException : IOException
{
    /// <summary>A refusal or a failure.</summary>
    /// <param name="errno">Error number of Linux; 0 if the refusal is not the kernel's.</param>
    /// <param name="device">The device's name.</param>
    /// <param name="message">One line that says what is wrong and what helps.</param>
    public NetworkDeviceException(int errno, string device, string message)
        : base(message)
    {
        Errno = errno;
        Device = device;
    }

    /// <summary>Error number of Linux.</summary>
    public int Errno { get; }

    /// <summary>The device's name.</summary>
    public string Device { get; }
}
