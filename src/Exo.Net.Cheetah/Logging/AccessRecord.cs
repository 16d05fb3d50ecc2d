// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Logging;

/// <summary>
/// What is known of one response, as it lies in a ring: this, then the bytes of the three texts, then up to seven bytes of nothing.
/// <code>
/// |record|GET / HTTP/1.1|http://referer/|user agent|.|record|...
/// </code>
/// </summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
internal struct AccessRecord
{
    /// <summary>Bytes up to the next record.</summary>
    public int LengthBytes;

    /// <summary>0: no record, the next one is at the ring's beginning. This and the length are read first: nothing else may be there.</summary>
    public int Status;

    public long UnixSeconds;
    public long BodyBytes;
    public InternetAddress Remote;
    public int RequestLineBytes;

    /// <summary>-1: the request had no such field.</summary>
    public int RefererBytes;
    public int UserAgentBytes;
    private readonly int padding;

    /// <summary>Bytes of all texts.</summary>
    public readonly int TextBytes => RequestLineBytes + Math.Max(0, RefererBytes) + Math.Max(0, UserAgentBytes);
}
