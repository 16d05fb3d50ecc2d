// SPDX-License-Identifier: MIT
using System.Runtime.ExceptionServices;
using KeyValue.Format;

namespace KeyValue.Log;

/// <summary>Batches of several callers that become durable by one write. Callers add theirs until the writer takes it; then it is done, well or not, for all of them.</summary>
internal sealed class CommitGroup
{
    private byte[] _bytes = new byte[4096];
    private int _end = LogBatch.HeaderBytes;
    private Exception? _failure;

    public int RecordBytes => _end - LogBatch.HeaderBytes;

    /// <summary>Room for a header, and the records.</summary>
    public Span<byte> Batch => _bytes.AsSpan(0, _end);

    public ReadOnlySpan<byte> Records => _bytes.AsSpan(LogBatch.HeaderBytes, RecordBytes);

    public bool IsDone { get; private set; }

    public void Add(ReadOnlySpan<byte> records)
    {
        if (_end + records.Length > _bytes.Length)
        {
            Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, _end + records.Length));
        }

        records.CopyTo(_bytes.AsSpan(_end));
        _end += records.Length;
    }

    public void End(Exception? failure = null)
    {
        _failure = failure;
        IsDone = true;
    }

    public void ThrowIfFailed()
    {
        if (_failure is not null)
        {
            ExceptionDispatchInfo.Throw(_failure);
        }
    }
}
