// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using System.Net.Sockets;
using Exo.Host.Protocol;

namespace Exo.Host;

/// <summary>
/// Tells observers what there is to be seen, and bounds what that costs: at most ten snapshots a second are taken, whoever asks how often; who asked meanwhile is sent the same one, which was taken after he asked. An observer is served when it asks, and
/// has some seconds to take what it is sent; no thread waits for one.
/// </summary>
internal sealed class ObserverService(Func<ExokernelSnapshot> take, int observersMax) : IDisposable
{
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_idle = TimeSpan.FromMinutes(5);

    private readonly Lock _lock = new();
    private readonly HashSet<Socket> _observers = [];
    private readonly SemaphoreSlim _turn = new(1);
    private readonly CancellationTokenSource _stopping = new();
    private byte[] _latest = [];
    private long _takenAt = long.MinValue;
    private long _snapshots;

    /// <summary>Observers that are connected.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _observers.Count;
            }
        }
    }

    /// <summary>Snapshots taken so far.</summary>
    public long Snapshots => Volatile.Read(ref _snapshots);

    /// <summary>Serves somebody; takes the socket. Beyond as many observers as there may be, it is closed.</summary>
    public void Serve(Socket socket)
    {
        lock (_lock)
        {
            if (_stopping.IsCancellationRequested || _observers.Count == observersMax)
            {
                socket.Dispose();
                return;
            }

            _observers.Add(socket);
        }

        _ = ServeAsync(socket);
    }

    /// <summary>Sends all away, and waits for a snapshot that is being taken.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _stopping.Cancel();
        }

        // What is looked at may be gone when this returns.
        _turn.Wait();
        _turn.Release();
    }

    private async Task ServeAsync(Socket socket)
    {
        byte[] request = new byte[1];
        byte[] length = new byte[sizeof(uint)];
        try
        {
            while (await WithinAsync(s_idle, token => socket.ReceiveAsync(request, token)).ConfigureAwait(false) == 1 && (ObserverRequest)request[0] == ObserverRequest.Observe)
            {
                byte[] json = await SnapshotAsync(Stopwatch.GetTimestamp()).ConfigureAwait(false);
                BinaryPrimitives.WriteUInt32LittleEndian(length, (uint)json.Length);
                await WithinAsync(s_patience, async token => await SendAsync(socket, length, token).ConfigureAwait(false) + await SendAsync(socket, json, token).ConfigureAwait(false)).ConfigureAwait(false);
            }
        }
        catch (Exception exception) when (exception is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // It has gone, or does not take what it asked for, or there is nothing to be seen any more.
        }
        finally
        {
            lock (_lock)
            {
                _observers.Remove(socket);
            }

            socket.Dispose();
        }
    }

    private static async ValueTask<int> SendAsync(Socket socket, byte[] bytes, CancellationToken cancellationToken)
    {
        int sent = 0;
        while (sent < bytes.Length)
        {
            sent += await socket.SendAsync(bytes.AsMemory(sent), cancellationToken).ConfigureAwait(false);
        }

        return sent;
    }

    private async ValueTask<int> WithinAsync(TimeSpan time, Func<CancellationToken, ValueTask<int>> step)
    {
        using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
        patience.CancelAfter(time);
        return await step(patience.Token).ConfigureAwait(false);
    }

    private async Task<byte[]> SnapshotAsync(long asked)
    {
        await _turn.WaitAsync(_stopping.Token).ConfigureAwait(false);
        try
        {
            if (_takenAt <= asked)
            {
                TimeSpan left = _takenAt == long.MinValue ? TimeSpan.Zero : s_pause - Stopwatch.GetElapsedTime(_takenAt);
                if (left > TimeSpan.Zero)
                {
                    await Task.Delay(left, _stopping.Token).ConfigureAwait(false);
                }

                // The time first: what is in it was seen after that.
                _takenAt = Stopwatch.GetTimestamp();
                _latest = take().ToJson();
                Interlocked.Increment(ref _snapshots);
            }

            return _latest;
        }
        finally
        {
            _turn.Release();
        }
    }
}
