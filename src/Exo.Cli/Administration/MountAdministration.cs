// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Security.Cryptography;
using Exo.Adapters.Fuse;
using Exo.Cli.Output;
using Exo.FileSystems.CFFS;
using Exo.Host;
using Exo.Host.Protocol;

namespace Exo.Cli.Administration;

/// <summary>
/// The door of a mount for those who administer it: a UNIX socket whose name says which mount it is. Who may is the user who mounts, and the superuser, as the kernel knows the other end. A request runs on a thread of its
/// own, so that it holds up nobody who uses the mount; several may.
/// </summary>
internal sealed class MountAdministration : IDisposable
{
    private const int AdministratorsMax = 8;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_betweenReports = TimeSpan.FromMilliseconds(100);

    private readonly Func<VolumeRequest, StepCounts, CancellationToken, VolumeResult> _carryOut;
    private readonly Reception _reception;
    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource _broken = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly HashSet<Task> _served = [];
    private readonly Lock _lock = new();
    private readonly Func<HostPeer, bool> _admit;
    private int _disposed;

    /// <summary>Listens.</summary>
    /// <param name="connectionNumber">The mount's number.</param>
    /// <param name="carryOut">Does what is asked for; called on a thread that may block.</param>
    /// <param name="admit">Who may; null: the process' own user and the superuser.</param>
    /// <exception cref="IOException">There can be no socket.</exception>
    public MountAdministration(int connectionNumber, Func<VolumeRequest, StepCounts, CancellationToken, VolumeResult> carryOut, Func<HostPeer, bool>? admit = null)
    {
        _carryOut = carryOut;
        _admit = admit ?? ObservationServer.IsOwnUserOrRoot;
        try
        {
            _reception = new Reception($"\0{AdministrationFrames.NameOf(connectionNumber)}{RandomNumberGenerator.GetHexString(16, lowercase: true)}", Welcome);
        }
        catch (SocketException refused)
        {
            throw new IOException($"no socket for commands to the mount: {refused.Message}", refused);
        }
    }

    /// <summary>Faults when a request has met a bug: nothing can be trusted any more. Does not end otherwise.</summary>
    public Task Broken => _broken.Task;

    /// <summary>Starts for a mount that works; null where another one covers it already.</summary>
    /// <exception cref="IOException">There can be no socket.</exception>
    public static MountAdministration? Start(CffsVolume volume, FuseMount mount) =>
        FuseMount.ListMounts().FirstOrDefault(point => point.Directory == mount.Directory) is not { } point ? null : new MountAdministration(
            point.ConnectionNumber,
            (request, counts, cancellationToken) =>
            {
                if (request.IsChange)
                {
                    mount.WriteBack();
                }

                VolumeResult result = request.CarryOut(volume, counts, cancellationToken);

                // Who asked may look at the mount next.
                mount.CatchUp();
                return result;
            });

    /// <summary>Cancels what is under way, and waits until it has ended.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        _reception.Dispose();
        Task[] served;
        lock (_lock)
        {
            _stopping.Cancel();
            served = [.. _served];
        }

        Task.WaitAll(served);
        _stopping.Dispose();
    }

    private void Welcome(Socket socket, HostPeer peer, Hello hello)
    {
        lock (_lock)
        {
            if (hello != Hello.Administrator || !_admit(peer) || _served.Count == AdministratorsMax || _stopping.IsCancellationRequested)
            {
                socket.Dispose();
                return;
            }

            Task served = Task.Run(() => ServeAsync(socket));
            _served.Add(served);
            _ = served.ContinueWith(Forget, TaskScheduler.Default);
        }
    }

    private void Forget(Task served)
    {
        lock (_lock)
        {
            _served.Remove(served);
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        using CancellationTokenSource cancel = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
        try
        {
            byte[]? json;
            using (CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token))
            {
                patience.CancelAfter(s_patience);
                json = await AdministrationFrames.ReceiveAsync(socket, AdministrationFrames.RequestBytesMax, patience.Token).ConfigureAwait(false);
            }

            if (json is null || AdministrationFrames.ParseRequest(json) is not { } request)
            {
                await SayAsync(socket, new AdministrationReply { Error = "the process that serves the mount does not know this request; it is another version of exo" }).ConfigureAwait(false);
                return;
            }

            Task hearing = HearAsync(socket, cancel);
            try
            {
                await SayAsync(socket, await CarryOutAsync(request, socket, cancel).ConfigureAwait(false)).ConfigureAwait(false);
            }
            finally
            {
                socket.Dispose();
                await hearing.ConfigureAwait(false);
            }
        }
        catch (Exception gone) when (gone is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // It has gone, or said nothing.
        }
        finally
        {
            socket.Dispose();
        }
    }

    /// <summary>Runs the request on a thread of its own, and tells how far it has come. Returns when it has ended, whatever has become of who asked.</summary>
    private async Task<AdministrationReply> CarryOutAsync(VolumeRequest request, Socket socket, CancellationTokenSource cancel)
    {
        StepCounts counts = new();
        Task<AdministrationReply> work = Task.Factory.StartNew(() => CarryOut(request, counts, cancel.Token), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        bool listens = true;
        long told = 0;
        while (await Task.WhenAny(work, Task.Delay(s_betweenReports)).ConfigureAwait(false) != work)
        {
            AdministrationReply report = new() { Done = counts.Items, Expected = counts.ItemsExpected };
            if (!listens || report.Done == told)
            {
                continue;
            }

            told = report.Done;
            try
            {
                await SayAsync(socket, report).ConfigureAwait(false);
            }
            catch (Exception gone) when (gone is SocketException or ObjectDisposedException or OperationCanceledException)
            {
                listens = false;
                await cancel.CancelAsync().ConfigureAwait(false);
            }
        }

        return await work.ConfigureAwait(false);
    }

    private AdministrationReply CarryOut(VolumeRequest request, StepCounts counts, CancellationToken cancellationToken)
    {
        try
        {
            return new AdministrationReply { Result = _carryOut(request, counts, cancellationToken) };
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            return new AdministrationReply { IsCancelled = true };
        }
        catch (Exception error)
        {
            if (Failure.Describe(error) is { } line)
            {
                return new AdministrationReply { Error = line };
            }

            _broken.TrySetException(error);
            return new AdministrationReply { Error = OneLine.Of($"the process that serves the mount ends: {error.Message}") };
        }
    }

    /// <summary>Whatever it says now, and its going away, means that it does not want it any more.</summary>
    private static async Task HearAsync(Socket socket, CancellationTokenSource cancel)
    {
        try
        {
            _ = await socket.ReceiveAsync(new byte[1], cancel.Token).ConfigureAwait(false);
        }
        catch (Exception over) when (over is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // The same.
        }

        await cancel.CancelAsync().ConfigureAwait(false);
    }

    private static async Task SayAsync(Socket socket, AdministrationReply reply)
    {
        using CancellationTokenSource patience = new(s_patience);
        await AdministrationFrames.SendAsync(socket, AdministrationFrames.Frame(reply), patience.Token).ConfigureAwait(false);
    }
}
