// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks.Nbd;

/// <summary>
/// One client of a server, on a thread of its own:
/// <code>
/// receive --> take all requests that are complete --> one batch to the device --> all replies with one system call --> receive
/// </code>
/// What a client can make this cost is bounded: the input buffer, the frames of one gathering (<see cref="GatherFramesMax"/>, or
/// of one request of 32 MiB), no queue. A client that does not fetch its replies keeps only its own thread waiting.
/// </summary>
internal sealed unsafe partial class NbdServerConnection
{
    private const int InputBytes = 256 << 10;
    private const int GatherMax = 128;

    /// <summary>Frames that one gathering uses, 4 MiB, unless a single request needs more.</summary>
    private const int GatherFramesMax = 1024;

    /// <summary>Frames kept from one gathering to the next.</summary>
    private const int IdleFramesMax = 1024;

    private readonly NbdServer _server;
    private readonly NbdTransport _accepted;
    private readonly Lock _closing = new();
    private readonly Thread _thread;
    private readonly NbdServerRequest[] _taken = new NbdServerRequest[GatherMax];
    private readonly BlockRequest[] _batch = new BlockRequest[GatherMax];
    private NbdTransport _transport;
    private NbdAgreement _agreement;
    private bool _isClosed;
    private int _takenCount;
    private int _batchCount;
    private bool _isOver;
    private FrameNumber[] _frames = new FrameNumber[64];
    private int _framesHeld;
    private int _framesUsed;
    private byte* _input;
    private int _inputStart;
    private int _inputEnd;

    public NbdServerConnection(NbdServer server, NbdTransport accepted)
    {
        _server = server;
        _accepted = accepted;
        _transport = accepted;
        _thread = new Thread(Run) { IsBackground = true, Name = "exo nbd client" };
    }

    private int Buffered => _inputEnd - _inputStart;

    public void Start() => _thread.UnsafeStart();

    /// <summary>Ends the conversation; what is with the device is finished first.</summary>
    public void Stop()
    {
        lock (_closing)
        {
            if (!_isClosed)
            {
                _accepted.Shutdown();
            }
        }
    }

    public void Join() => _thread.Join();

    private void Run()
    {
        try
        {
            (_transport, NbdAgreement? agreement) = NbdServerHandshake.Run(_server, _accepted);
            if (agreement is { } agreed)
            {
                _agreement = agreed;
                _input = (byte*)NativeMemory.Alloc(InputBytes);
                _headers = (byte*)NativeMemory.Alloc(GatherMax * HeaderBytesMax);
                _vectors = (IoVector*)NativeMemory.Alloc(VectorsMax * (nuint)sizeof(IoVector));
                while (!_isOver)
                {
                    Gather();
                    Carry();
                    Answer();
                    ReleaseFrames(IdleFramesMax);
                }
            }
        }
        catch (NbdConnectionException)
        {
            // The client left, or said what no client says: either way it is gone, and nobody else is concerned.
        }
        finally
        {
            ReleaseFrames(0);
            NativeMemory.Free(_input);
            NativeMemory.Free(_headers);
            NativeMemory.Free(_vectors);
            lock (_closing)
            {
                _isClosed = true;
                _transport.Dispose();
                _accepted.Dispose();
            }

            _server.Remove(this);
        }
    }

    /// <summary>Waits for a request and takes it and those behind it, as far as they have arrived and go together.</summary>
    private void Gather()
    {
        _takenCount = 0;
        _batchCount = 0;
        _framesUsed = 0;
        while (!_isOver && _takenCount < GatherMax && TryTake())
        {
        }

        _server.CountRequests(_takenCount);
    }

    /// <returns>False: the next request has to wait for its turn.</returns>
    private bool TryTake()
    {
        bool isFirst = _takenCount == 0;
        while (Buffered < NbdProtocol.RequestBytes)
        {
            if (!isFirst)
            {
                return false;
            }

            Receive();
        }

        var header = new ReadOnlySpan<byte>(_input + _inputStart, NbdProtocol.RequestBytes);
        if (BinaryPrimitives.ReadUInt32BigEndian(header) != NbdProtocol.RequestMagic)
        {
            throw NbdConnectionException.Violation("no request");
        }

        NbdServerRequest request = new()
        {
            Flags = BinaryPrimitives.ReadUInt16BigEndian(header[4..]),
            Command = BinaryPrimitives.ReadUInt16BigEndian(header[6..]),
            Cookie = BinaryPrimitives.ReadUInt64BigEndian(header[8..]),
            OffsetBytes = BinaryPrimitives.ReadUInt64BigEndian(header[16..]),
            LengthBytes = BinaryPrimitives.ReadUInt32BigEndian(header[24..]),
            BatchIndex = -1,
        };
        if (request.Command == NbdProtocol.CommandDisconnect)
        {
            _isOver = true; // What was taken before is still answered.
            return false;
        }

        uint payloadBytes = request.Command == NbdProtocol.CommandWrite ? request.LengthBytes : 0;
        if (payloadBytes > NbdProtocol.PayloadBytesMax)
        {
            throw NbdConnectionException.Violation($"a write of {payloadBytes} bytes");
        }

        request.Error = Refusal(in request);
        bool isCarried = request.Error == 0 && request.Command != NbdProtocol.CommandBlockStatus;
        int frames = isCarried && request.Command is NbdProtocol.CommandRead or NbdProtocol.CommandWrite ? request.FrameCount : 0;

        // A write whose payload has not arrived, and what must go alone, do not keep others waiting.
        bool isAlone = isCarried && request.IsAlone;
        if (!isFirst && (isAlone || _framesUsed + frames > GatherFramesMax || payloadBytes > Buffered - NbdProtocol.RequestBytes))
        {
            return false;
        }

        _inputStart += NbdProtocol.RequestBytes;
        if (isCarried && !TryHoldFrames(frames))
        {
            request.Error = Errno.ENOMEM;
            isCarried = false;
        }

        if (isCarried)
        {
            request.Frames = _frames.AsMemory(_framesUsed, frames);
            _framesUsed += frames;
            if (payloadBytes > 0)
            {
                ReceivePayload(in request);
            }

            if (!isAlone)
            {
                request.BatchIndex = _batchCount;
                _batch[_batchCount++] = request.ToBlockRequest();
            }
        }
        else
        {
            SkipPayload(payloadBytes);
        }

        _taken[_takenCount++] = request;
        return !isAlone;
    }

    /// <summary>Why a request is not even tried, or 0.</summary>
    private int Refusal(in NbdServerRequest request)
    {
        int allowed = request.Command switch
        {
            NbdProtocol.CommandRead => NbdProtocol.CommandDontFragment,
            NbdProtocol.CommandWriteZeroes => NbdProtocol.CommandForceUnitAccess | NbdProtocol.CommandNoHole,
            NbdProtocol.CommandBlockStatus => NbdProtocol.CommandRequestOne,
            NbdProtocol.CommandFlush => 0,
            _ => NbdProtocol.CommandForceUnitAccess,
        };

        // Clients may say FUA with any command (proto.md, "Request flags"); where there is nothing to write it says nothing.
        if ((request.Flags & ~(allowed | NbdProtocol.CommandForceUnitAccess)) != 0)
        {
            return Errno.EINVAL;
        }

        switch (request.Command)
        {
            case NbdProtocol.CommandFlush:
                return 0;
            case NbdProtocol.CommandRead:
                return request.LengthBytes > NbdProtocol.PayloadBytesMax || !IsWithin(in request) ? Errno.EINVAL : 0;
            case NbdProtocol.CommandBlockStatus:
                return !_agreement.HasAllocation || !IsWithin(in request) ? Errno.EINVAL : 0;
            case NbdProtocol.CommandWrite or NbdProtocol.CommandTrim or NbdProtocol.CommandWriteZeroes:
                return _server.IsReadOnly ? Errno.EPERM
                    : request.LengthBytes == 0 ? Errno.EINVAL
                    : !IsWithin(in request) ? Errno.ENOSPC
                    : 0;
            default:
                return Errno.EINVAL;
        }
    }

    /// <summary>Written so that nothing overflows.</summary>
    private bool IsWithin(in NbdServerRequest request) =>
        request.LengthBytes > 0 && request.OffsetBytes < _server.LengthBytes && request.LengthBytes <= _server.LengthBytes - request.OffsetBytes;

    /// <summary>So many frames more than are in use, in runs where there are any.</summary>
    private bool TryHoldFrames(int count)
    {
        const int run = 64;
        FramePool pool = _server.Device.Frames;
        if (_frames.Length < _framesUsed + count)
        {
            Array.Resize(ref _frames, Math.Max(_framesUsed + count, 2 * _frames.Length));
        }

        while (_framesHeld < _framesUsed + count)
        {
            if (_frames.Length - _framesHeld >= run && pool.TryAllocateRun(pool.RootCredential, run, out FrameNumber first))
            {
                for (uint i = 0; i < run; i++)
                {
                    _frames[_framesHeld++] = new FrameNumber(first.Value + i);
                }
            }
            else if (pool.TryAllocate(pool.RootCredential, out FrameNumber frame))
            {
                _frames[_framesHeld++] = frame;
            }
            else
            {
                return false;
            }
        }

        return true;
    }

    private void ReleaseFrames(int keep)
    {
        while (_framesHeld > keep)
        {
            _server.Device.Frames.Release(_frames[--_framesHeld]);
        }
    }

    private void ReceivePayload(in NbdServerRequest request)
    {
        long offset = request.SkipBytes;
        long left = request.LengthBytes;
        while (left > 0)
        {
            int count = FrameVector.Build(
                _server.Device.Frames, request.Frames.Span, offset, (int)Math.Min(left, FrameVector.LengthBytesMax), _vectors, out int described);
            int done = 0;
            if (Buffered > 0)
            {
                for (int i = 0; i < count && Buffered > 0; i++)
                {
                    // Bounds: the vector lies in frames of the request; the piece is no longer than either side.
                    int piece = (int)Math.Min(_vectors[i].LengthBytes, (nuint)Buffered);
                    new ReadOnlySpan<byte>(_input + _inputStart, piece).CopyTo(new Span<byte>((void*)_vectors[i].Base, piece));
                    _inputStart += piece;
                    done += piece;
                }
            }
            else
            {
                done = (int)_transport.Receive(_vectors, count);
                if (done == 0)
                {
                    throw NbdConnectionException.Closed();
                }

                Invariant.Check(done <= described);
            }

            offset += done;
            left -= done;
        }
    }

    private void SkipPayload(uint lengthBytes)
    {
        while (lengthBytes > 0)
        {
            if (Buffered == 0)
            {
                Receive();
            }

            int piece = (int)Math.Min(lengthBytes, (uint)Buffered);
            _inputStart += piece;
            lengthBytes -= (uint)piece;
        }
    }

    /// <summary>Waits for more bytes behind those that are buffered.</summary>
    private void Receive()
    {
        if (_inputStart > 0)
        {
            new Span<byte>(_input + _inputStart, Buffered).CopyTo(new Span<byte>(_input, InputBytes));
            _inputEnd = Buffered;
            _inputStart = 0;
        }

        Invariant.Check(_inputEnd < InputBytes);
        var vector = new IoVector { Base = (nint)(_input + _inputEnd), LengthBytes = (nuint)(InputBytes - _inputEnd) };
        int received = (int)_transport.Receive(&vector, 1);
        if (received == 0)
        {
            throw NbdConnectionException.Closed();
        }

        _inputEnd += received;
    }
}
