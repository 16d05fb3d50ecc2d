// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>
/// A device driven by one thread that submits and polls: the cheapest way to keep many requests under way. Made by
/// <see cref="BlockDevice.OpenQueue"/>; on an io_uring device it is a ring of its own, on any other it goes through the device's
/// asynchronous door with the same contract.
/// <code>
/// using BlockQueue queue = disk.OpenQueue(32);
/// BlockCompletion[] done = new BlockCompletion[32];
/// while (more)
/// {
///     while (more &amp;&amp; queue.TrySubmit(next, cookie)) { ... }     // one call into the kernel for several
///     int count = queue.Reap(done);                          // one call: hands over the rest, waits for at least one
/// }
/// </code>
/// Requests are carried out in any order and complete in any order. Frames are retained, and the caller's vector of frames copied, at
/// submission. What was submitted cannot be taken back. Nothing is allocated after the first requests.
/// </summary>
/// <remarks>
/// Belongs to the thread that opened it; others are refused with an <see cref="InvalidOperationException"/>. Disposing of the device
/// disposes of the queues of the calling thread and waits until the owners of others have reaped what is under way. Dispose of a queue
/// before its thread ends: of a ring whose thread has ended the frames that were under way are lost to the pool.
/// </remarks>
public sealed class BlockQueue : IDisposable
{
    private readonly BlockDevice _device;
    private readonly QueueEngine _engine;
    private readonly BlockRequest[] _requests;
    private readonly ulong[] _cookies;
    private readonly FrameNumber[][] _frames;
    private readonly int[] _freeSlots;
    private readonly Thread _owner = Thread.CurrentThread;
    private Exception? _defect;
    private int _isClosed;

    internal BlockQueue(BlockDevice device, QueueEngine engine, int depth)
    {
        _device = device;
        _engine = engine;
        _requests = new BlockRequest[depth];
        _cookies = new ulong[depth];
        _frames = new FrameNumber[depth][];
        _freeSlots = new int[depth];
        for (int i = 0; i < depth; i++)
        {
            _frames[i] = new FrameNumber[1];
            _freeSlots[i] = depth - 1 - i;
        }
    }

    /// <summary>The device.</summary>
    public BlockDevice Device => _device;

    /// <summary>Requests that fit.</summary>
    public int Depth => _requests.Length;

    /// <summary>Requests that were submitted and not yet reaped.</summary>
    public int InFlight { get; private set; }

    private bool IsOwnedByCaller => ReferenceEquals(Thread.CurrentThread, _owner);

    /// <summary>
    /// Takes a request. It reaches the device together with its neighbours: when a sixteenth of the depth has gathered, and at
    /// the next <see cref="Reap"/> or <see cref="Kick"/> at the latest. <see cref="BlockRequest.Error"/> of the argument stays as it is: the error comes with the completion.
    /// </summary>
    /// <param name="request">What to do. A flush covers the writes that have been reaped before.</param>
    /// <param name="cookie">Comes back with the completion; any number.</param>
    /// <returns>False if the queue is full: reap first.</returns>
    /// <exception cref="ArgumentException">The request makes no sense (block range, frames).</exception>
    /// <exception cref="BlockDeviceException">It would change a device that is open for reading only.</exception>
    /// <exception cref="ObjectDisposedException">Queue or device are gone.</exception>
    public bool TrySubmit(in BlockRequest request, ulong cookie)
    {
        CheckOwner();
        if (InFlight == Depth)
        {
            return false;
        }

        BlockRequest taken = request;
        _device.Validate(new Span<BlockRequest>(ref taken));
        if (InFlight > 0)
        {
            // Or the queue could keep its device from closing for ever.
            ObjectDisposedException.ThrowIf(_device.Gate.IsClosed, _device);
        }
        else
        {
            // Inside the device from the first submission to the last completion: one entry for all of them.
            _device.Gate.Enter(_device);
        }

        int slot = _freeSlots[Depth - 1 - InFlight];
        int count = request.Frames.Length;
        if (_frames[slot].Length < count)
        {
            _frames[slot] = new FrameNumber[count];
        }

        request.Frames.Span.CopyTo(_frames[slot]);
        taken.Frames = _frames[slot].AsMemory(0, count);
        _requests[slot] = taken;
        _cookies[slot] = cookie;
        _device.RetainFrames(_requests.AsSpan(slot, 1));
        InFlight++;
        _engine.Start(slot, _requests.AsMemory(slot, 1));
        return true;
    }

    /// <summary>Hands over what was submitted, without waiting for anything.</summary>
    public void Kick()
    {
        CheckOwner();
        if (InFlight > 0)
        {
            _engine.Kick();
        }
    }

    /// <summary>
    /// Hands over what was submitted, waits until enough requests are through, and takes completions. One call
    /// into the kernel as a rule.
    /// </summary>
    /// <param name="completions">Filled from the start.</param>
    /// <param name="minCount">
    /// Wait for at least so many; less if less are under way or fit. 0 polls: takes what is there and returns.
    /// </param>
    /// <returns>Completions taken; 0 when nothing is under way.</returns>
    /// <exception cref="ObjectDisposedException">The queue is gone.</exception>
    /// <exception cref="InvalidOperationException">
    /// A device threw what is no I/O error: its request completed with EIO, and the call after that throws this, once.
    /// </exception>
    public int Reap(Span<BlockCompletion> completions, int minCount = 1)
    {
        CheckOwner();
        return Take(completions, minCount);
    }

    private int Take(Span<BlockCompletion> completions, int minCount)
    {
        if (_defect is { } defect)
        {
            _defect = null;
            throw new InvalidOperationException("The device failed in a way that is no I/O error.", defect);
        }

        if (InFlight == 0)
        {
            return 0;
        }

        int wanted = Math.Min(Math.Min(minCount, completions.Length), InFlight);
        long systemCalls = _engine.Advance(wanted);
        DeviceTally.Sum sum = default;
        int count = 0;
        while (count < completions.Length && _engine.TryTake(out int slot, out Exception? thrown))
        {
            Span<BlockRequest> request = _requests.AsSpan(slot, 1);
            if (thrown is not null)
            {
                request[0].Error = (thrown as BlockDeviceException)?.Errno ?? Linux.Errno.EIO;
                _defect ??= thrown is BlockDeviceException ? null : thrown;
            }

            sum.Add(in request[0]);
            completions[count++] = new BlockCompletion(_cookies[slot], request[0].Error);
            _device.ReleaseFrames(request);
            request[0] = default;
            InFlight--;
            _freeSlots[Depth - 1 - InFlight] = slot;
        }

        _device.Count(in sum, systemCalls);
        if (InFlight == 0)
        {
            // The last thing: from here on somebody else may close the engine.
            _device.Gate.Leave();
        }

        return count;
    }

    /// <summary>Waits for what is under way, drops its completions, and closes.</summary>
    public void Dispose()
    {
        if (Volatile.Read(ref _isClosed) != 0)
        {
            return;
        }

        CheckOwner();
        Drain();
        _device.Forget(this);
        CloseEngine();
    }

    /// <summary>
    /// The device is being disposed of, no request can come any more. Takes the completions that nobody else will take: those of the
    /// calling thread, and those of a thread that has ended without disposing of its queue.
    /// </summary>
    internal void TakeOver()
    {
        if (IsOwnedByCaller)
        {
            Drain();
        }
        else if (!_owner.IsAlive && InFlight > 0)
        {
            if (_engine.TryAbandon())
            {
                // The frames are never given back: the kernel may still be ending the thread's requests, and a lost frame is better than
                // one with two owners.
                InFlight = 0;
                _device.Gate.Leave();
            }
            else
            {
                Drain();
            }
        }
    }

    /// <summary>Nothing is under way and nothing can come: the owner is done, or the device's gate is closed and empty.</summary>
    internal void CloseEngine()
    {
        if (Interlocked.Exchange(ref _isClosed, 1) == 0)
        {
            _engine.Dispose();
        }
    }

    private void Drain()
    {
        Span<BlockCompletion> dropped = stackalloc BlockCompletion[16];
        while (InFlight > 0)
        {
            _defect = null;
            Take(dropped, 1);
        }
    }

    private void CheckOwner()
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _isClosed) != 0, this);
        if (!IsOwnedByCaller)
        {
            throw new InvalidOperationException("A queue is used by the thread that opened it: open one for each thread.");
        }
    }
}
