// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Net.Security;
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks.Nbd;

/// <summary>
/// An export of an NBD server as a disk: <c>nbd://host:port/export</c>, <c>nbd+unix:///export?socket=/path</c>, with TLS
/// <c>nbds://</c> and <c>nbds+unix://</c>. Opened by <see cref="BlockDevice.Open"/>.
/// <para>
/// When the connection breaks, a new one is made and what was not acknowledged is sent again, for as long as
/// <see cref="NbdOptions.ReconnectTimeoutMs"/> allows. A server that comes back may have lost what it had acknowledged but not
/// made durable. Exo cannot send that again, for it no longer has it; so if there was any, the next flush, and each that was
/// under way, fails with errno ECONNRESET (104), once. As after every failed flush, nothing written since the last successful
/// one may be taken for durable. Writes with <see cref="BlockRequest.ForceUnitAccess"/> are not concerned.
/// </para>
/// <para>
/// A server that breaks the protocol, that refuses the export on reconnection, or that stays away for too long, is given up: then
/// every request fails, with EPROTO (71), the refusal's error, or ETIMEDOUT (110), until the device is disposed and opened anew.
/// </para>
/// </summary>
public sealed partial class NbdBlockDevice : BlockDevice
{
    private readonly NbdUri _uri;
    private readonly NbdOptions _options;
    private readonly NbdExport _export;
    private readonly NbdConnection[] _connections;
    private readonly ConcurrentQueue<NbdBatch> _idle = new();
    private readonly DeviceGate _queries = new();
    private int _turn;

    private NbdBlockDevice(
        FramePool frames, NbdUri uri, BlockDeviceOptions options, NbdOptions nbd, List<NbdTransport> transports, NbdExport export)
        : base(frames, GeometryOf(uri, export, options.ReadOnly))
    {
        _uri = uri;
        _options = nbd;
        _export = export;
        _connections = [.. transports.Select(transport => new NbdConnection(this, transport, export, options.QueueDepth))];
        foreach (NbdTransport transport in transports)
        {
            transport.SetTimeouts(nbd.ReplyTimeoutMs, nbd.ReplyTimeoutMs);
        }
    }

    /// <summary>Connections in use.</summary>
    public int ConnectionCount => _connections.Length;

    /// <summary>How often broken connections were replaced.</summary>
    public long Reconnections => Volatile.Read(ref _reconnections);

    /// <summary>Whether the server tells holes from data: whether <see cref="ReadAllocation"/> works.</summary>
    public bool KnowsAllocation => _export.AllocationContext.HasValue;

    internal static NbdBlockDevice OpenExport(string path, FramePool frames, BlockDeviceOptions options)
    {
        if (options.Create)
        {
            throw new ArgumentException("An export cannot be created from this side.", nameof(options));
        }

        if (options.Partition is not null || options.Driver != BlockDriver.Auto || options.Direct == DirectIo.On)
        {
            throw new BlockDeviceException(Errno.EOPNOTSUPP, path, $"{path}: an export has no partitions, drivers or direct I/O to choose from this side.");
        }

        NbdOptions nbd = options.Nbd ?? new NbdOptions();
        nbd.Validate();
        try
        {
            NbdUri uri = NbdUri.Parse(path);
            (List<NbdTransport> transports, NbdExport export) = Connect(uri, nbd, nbd.Connections);
            return new NbdBlockDevice(frames, uri, options, nbd, transports, export);
        }
        catch (NbdConnectionException refused)
        {
            throw new BlockDeviceException(refused.Errno, path, $"{path}: {refused.Message}");
        }
    }

    /// <summary>
    /// Asks which parts of a stretch are holes. The answer begins at <paramref name="first"/> and may cover less than was asked
    /// for, or, in its last part, more. Holds for this moment only.
    /// </summary>
    /// <param name="first">First block.</param>
    /// <param name="blockCount">Blocks; at most 2^20 - 1, which is as far as one question of the protocol goes.</param>
    /// <exception cref="ArgumentOutOfRangeException">The stretch is empty, too long, or leaves the device.</exception>
    /// <exception cref="NotSupportedException">The server does not know (<see cref="KnowsAllocation"/>).</exception>
    /// <exception cref="BlockDeviceException">It failed.</exception>
    public IReadOnlyList<NbdAllocation> ReadAllocation(BlockNumber first, int blockCount)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(blockCount, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(blockCount, (1 << 20) - 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(first.Value, Geometry.BlockCount, nameof(first));
        ArgumentOutOfRangeException.ThrowIfGreaterThan((ulong)blockCount, Geometry.BlockCount - first.Value, nameof(blockCount));
        if (!KnowsAllocation)
        {
            throw new NotSupportedException($"{Geometry.Path}: the server has no {nameof(NbdProtocol.BaseAllocation)}.");
        }

        _queries.Enter(this);
        try
        {
            var query = new NbdAllocationQuery(first.Value * FramePool.FrameBytes, (uint)blockCount * FramePool.FrameBytes);
            NbdBatch batch = Rent();
            batch.Begin([], isAsync: false);
            batch.Query = query;
            Run(batch);
            batch.End();
            return query.Error == 0
                ? query.Answer
                : throw new BlockDeviceException(query.Error, Geometry.Path, $"{Geometry.Path}: status of {blockCount} blocks at {first}: {Errno.Describe(query.Error)}.");
        }
        finally
        {
            _queries.Leave();
        }
    }

    /// <summary>For the connections.</summary>
    internal void CountSystemCall() => CountSystemCalls(1);

    internal void Return(NbdBatch batch) => _idle.Enqueue(batch);

    /// <inheritdoc/>
    protected override void ExecuteCore(Span<BlockRequest> batch)
    {
        NbdBatch own = Rent();
        own.Begin(batch, isAsync: false);
        Run(own);
        own.CopyErrors(batch);
        own.End();
    }

    /// <inheritdoc/>
    protected override ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
    {
        NbdBatch own = Rent();
        own.Begin(batch.Span, isAsync: true, batch);
        ValueTask task = own.AsTask();
        _connections[(uint)Interlocked.Increment(ref _turn) % (uint)_connections.Length].Submit(own);
        return task;
    }

    /// <inheritdoc/>
    protected override void DisposeCore()
    {
        if (_queries.TryClose())
        {
            _queries.WaitUntilEmpty();
        }

        EndRecovery();
        foreach (NbdConnection connection in _connections)
        {
            connection.Dispose();
        }
    }

    /// <summary>A thread keeps to one connection: then nobody else's replies pass through its hands.</summary>
    private void Run(NbdBatch batch)
    {
        NbdConnection connection = _connections[(uint)Environment.CurrentManagedThreadId % (uint)_connections.Length];
        connection.Submit(batch);
        connection.Wait(batch);
    }

    private NbdBatch Rent() => _idle.TryDequeue(out NbdBatch? idle) ? idle : new NbdBatch(this);

    /// <summary>One connection, or as many as wanted if the server keeps them consistent.</summary>
    private static (List<NbdTransport> Transports, NbdExport Export) Connect(NbdUri uri, NbdOptions options, int wanted)
    {
        SslClientAuthenticationOptions? tls = uri.IsTls
            ? options.Tls ?? new SslClientAuthenticationOptions { TargetHost = uri.Host.Length > 0 ? uri.Host : "localhost" }
            : null;
        var transports = new List<NbdTransport>();
        NbdExport? export = null;
        try
        {
            do
            {
                (NbdTransport transport, NbdExport found) = NbdHandshake.Run(
                    SocketTransport.Connect(uri, options.ConnectTimeoutMs), uri.Export, tls, options.ConnectTimeoutMs);
                transports.Add(transport);
                if (export is not null && (found with { AllocationContext = export.AllocationContext }) != export)
                {
                    throw NbdConnectionException.Refusal(Errno.EIO, "the server describes the export to each connection differently");
                }

                export ??= found;
            }
            while (transports.Count < wanted && export.Has(NbdProtocol.ExportMultipleConnections));
            return (transports, export);
        }
        catch
        {
            foreach (NbdTransport transport in transports)
            {
                transport.Dispose();
            }

            throw;
        }
    }

    private static BlockGeometry GeometryOf(NbdUri uri, NbdExport export, bool readOnly) => new()
    {
        BlockCount = export.LengthBytes / FramePool.FrameBytes,
        LogicalSectorBytes = Math.Max(512, export.MinimumBlockBytes),
        PhysicalSectorBytes = Math.Max(512, Math.Min(export.PreferredBlockBytes, FramePool.FrameBytes)),
        IsReadOnly = readOnly || export.IsReadOnly,
        HasVolatileCache = export.Has(NbdProtocol.ExportFlush),
        SupportsDiscard = export.Has(NbdProtocol.ExportTrim),
        DiscardGranularityBytes = export.Has(NbdProtocol.ExportTrim) ? FramePool.FrameBytes : 0,
        Path = uri.Text,
        Driver = "nbd",
    };
}
