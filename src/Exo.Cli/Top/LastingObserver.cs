// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Exo.Host;

namespace Exo.Cli.Top;

/// <summary>Looks at whoever listens at a socket, also when that is another process than before: a page outlives the hosts that it shows.</summary>
internal sealed class LastingObserver(string socketPath) : IDisposable
{
    private readonly SemaphoreSlim _turn = new(1);
    private ExokernelObserver? _observer;

    /// <summary>A snapshot as JSON.</summary>
    /// <exception cref="IOException">Nobody is there now.</exception>
    public async Task<byte[]> LookAsync(CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            _observer ??= ExokernelObserver.Attach(socketPath);
            return await _observer.ObserveJsonAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception exception)
        {
            _observer?.Dispose();
            _observer = null;
            if (exception is SocketException)
            {
                throw new IOException($"Nobody listens at {socketPath}.", exception);
            }

            throw;
        }
        finally
        {
            _turn.Release();
        }
    }

    public void Dispose() => _observer?.Dispose();
}
