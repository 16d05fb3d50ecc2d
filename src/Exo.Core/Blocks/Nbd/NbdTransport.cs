// SPDX-License-Identifier: MIT
using Exo.Core.Linux;

namespace Exo.Core.Blocks.Nbd;

/// <summary>
/// A connected byte stream. At most one thread sends and one receives at a time; <see cref="Shutdown"/> may come from any
/// thread and ends both; <see cref="Dispose"/> only when nobody is inside. Failures are <see cref="NbdConnectionException"/>.
/// </summary>
internal abstract unsafe class NbdTransport : IDisposable
{
    private long _deadline;

    /// <summary>Whether <see cref="Send"/> can be asked not to wait.</summary>
    public abstract bool CanSendWithoutWaiting { get; }

    /// <summary>Sends the vectors' beginning: at least one byte, or, if it may not wait, nothing.</summary>
    /// <returns>Bytes sent.</returns>
    public abstract long Send(IoVector* vectors, int count, bool mayWait);

    /// <summary>Receives at least one byte into the vectors' beginning.</summary>
    /// <returns>Bytes received; 0: the peer has closed its side.</returns>
    public abstract long Receive(IoVector* vectors, int count);

    /// <summary>Ends the conversation: whoever waits inside wakes up.</summary>
    public abstract void Shutdown();

    /// <summary>Limits the wait of one receive and one send; 0: for ever.</summary>
    public abstract void SetTimeouts(int receiveMs, int sendMs);

    /// <summary>Limits all exact transfers from now on together, as long as it is set; 0: no limit.</summary>
    public void SetDeadline(int timeoutMs) => _deadline = timeoutMs == 0 ? 0 : Environment.TickCount64 + timeoutMs;

    /// <exception cref="NbdConnectionException">The deadline has passed: the peer sends, but not to get anywhere.</exception>
    public void CheckDeadline()
    {
        if (_deadline != 0 && Environment.TickCount64 > _deadline)
        {
            throw new NbdConnectionException(Libc.ErrnoTimedOut, "the negotiation takes too long");
        }
    }

    public abstract void Dispose();

    /// <summary>Sends all of it, waiting.</summary>
    public void SendAll(ReadOnlySpan<byte> bytes)
    {
        fixed (byte* start = bytes)
        {
            // Bounds: Base + LengthBytes is always the end of the span.
            var vector = new IoVector { Base = (nint)start, LengthBytes = (nuint)bytes.Length };
            while (vector.LengthBytes > 0)
            {
                CheckDeadline();
                long sent = Send(&vector, 1, mayWait: true);
                vector.Base += (nint)sent;
                vector.LengthBytes -= (nuint)sent;
            }
        }
    }

    /// <summary>Receives exactly so many bytes.</summary>
    public void ReceiveAll(Span<byte> bytes)
    {
        fixed (byte* start = bytes)
        {
            var vector = new IoVector { Base = (nint)start, LengthBytes = (nuint)bytes.Length };
            while (vector.LengthBytes > 0)
            {
                CheckDeadline();
                long received = Receive(&vector, 1);
                if (received == 0)
                {
                    throw NbdConnectionException.Closed();
                }

                vector.Base += (nint)received;
                vector.LengthBytes -= (nuint)received;
            }
        }
    }
}
