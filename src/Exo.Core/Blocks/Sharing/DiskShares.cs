// SPDX-License-Identifier: MIT
using Exo.Core.Sharing;

namespace Exo.Core.Blocks;

/// <summary>
/// One disk shared by weight: each of those who use it has a <see cref="DiskShare"/>, a device like any other. So much is under way on the disk at a time as keeps it busy, and no more; who wants to begin something beyond
/// that waits here, and as others finish each goes on by its weight, counted in bytes (deficit round robin).
/// <code>
///   library OS --BlockQueue--> DiskShare, weight 2 --\
///                                                     whose turn it is --(bytes under way at most)--> the disk
///   library OS --BlockQueue--> DiskShare, weight 1 --/
/// </code>
/// Nothing is kept free: what one does not ask for the others get. Who asks for one thing at a time, and waits for it, gets what comes in between, whatever its weight; a share is of those who have more to ask for than there is.
/// </summary>
/// <remarks>It shares time, not blocks: which blocks are whose is for XN, or for partitions. Thread-safe.</remarks>
public sealed class DiskShares
{
    private const long QuantumBytes = 64 << 10;

    // A leaf: turns are given under it, and told without it.
    private readonly Lock _lock = new();
    private readonly ShareWheel _wheel = new(QuantumBytes);
    private readonly long _bytesMax;
    private DiskTurn? _unused;
    private long _bytesUnderWay;
    private int _waiting;

    /// <summary>Shares a device, which stays the caller's.</summary>
    /// <param name="device">The disk. It must outlive all shares.</param>
    /// <param name="bytesUnderWayMax">Bytes of requests under way at a time at most, 4,096 or more: as little as keeps the disk busy, since what is under way is nobody's turn any more. A batch that is larger goes when nothing else is under way.</param>
    public DiskShares(BlockDevice device, long bytesUnderWayMax = 1 << 20)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentOutOfRangeException.ThrowIfLessThan(bytesUnderWayMax, Memory.FramePool.FrameBytes);
        Device = device;
        _bytesMax = bytesUnderWayMax;
    }

    /// <summary>The disk that is shared.</summary>
    public BlockDevice Device { get; }

    /// <summary>Bytes of requests under way now.</summary>
    public long BytesUnderWay => Volatile.Read(ref _bytesUnderWay);

    /// <summary>Makes a share.</summary>
    /// <param name="weight">Its part of the disk, in proportion to the weights of the others who want something: 1 to 1,000,000.</param>
    public DiskShare Add(int weight = 1) => new(this, weight);

    /// <summary>Waits for the share's turn. The counterpart is <see cref="Leave"/>.</summary>
    internal ValueTask EnterAsync(DiskFlow flow, long bytes)
    {
        lock (_lock)
        {
            // Not asked of the wheel, which would begin another round without the one who is coming.
            if (_waiting == 0 && HasRoom(bytes))
            {
                _bytesUnderWay += bytes;
                flow.Begun += bytes;
                return default;
            }

            DiskTurn turn = _unused ?? new DiskTurn(this);
            _unused = turn.Next;
            turn.Begin(bytes);
            flow.Add(turn);
            _waiting++;
            _wheel.Activate(flow);
            return new ValueTask(turn, turn.Version);
        }
    }

    /// <summary>What a turn was taken for is through: others go on, on the calling thread as far as their next wait.</summary>
    internal void Leave(long bytes)
    {
        DiskTurn? first = null, last = null;
        lock (_lock)
        {
            _bytesUnderWay -= bytes;
            Invariant.Check(_bytesUnderWay >= 0);

            // The wheel is asked only when there may be room: its answer begins a round, in which whoever comes meanwhile has no part.
            while (_bytesUnderWay < _bytesMax && _wheel.Next() is DiskFlow flow && HasRoom(flow.HeadCost))
            {
                DiskTurn turn = flow.Take();
                _waiting--;
                flow.Charge(turn.Bytes);
                flow.Begun += turn.Bytes;
                _bytesUnderWay += turn.Bytes;
                if (last is null)
                {
                    first = turn;
                }
                else
                {
                    last.Next = turn;
                }

                last = turn;
            }
        }

        while (first is { } turn)
        {
            first = turn.Next;
            turn.Next = null;
            turn.Give();
        }
    }

    internal void Return(DiskTurn turn)
    {
        lock (_lock)
        {
            turn.Next = _unused;
            _unused = turn;
        }
    }

    private bool HasRoom(long bytes) => _bytesUnderWay == 0 || bytes <= _bytesMax - _bytesUnderWay;
}
