// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah;

namespace Exo.Adapters.Kestrel.Tests;

/// <summary>A network with a device for the server, and a way for clients to reach it.</summary>
internal interface ITestNetwork : IAsyncDisposable
{
    NetworkDevice Device { get; }

    NetworkStackOptions Options { get; }

    FramePool Frames { get; }

    /// <summary>Connects a client to the server's address.</summary>
    Task<ClientStream> ConnectAsync(IPEndPoint server, CancellationToken cancellationToken);
}
