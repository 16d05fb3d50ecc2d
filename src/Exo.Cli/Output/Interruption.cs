// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Cli.Output;

/// <summary>
/// Ctrl-C, SIGTERM and the end of the terminal (SIGHUP) as a token: work stops at the next safe point, the volume is unmounted, and the process ends by itself.
/// A second signal ends it at once, which a C-FFS volume survives as it survives a crash.
/// </summary>
internal sealed class Interruption : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly PosixSignalRegistration[] _registrations;

    /// <param name="hangUp">Whether SIGHUP is one of them. Where it is ignored (nohup) it stays so.</param>
    public Interruption(bool hangUp = true)
    {
        PosixSignal[] signals = hangUp ? [PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGHUP] : [PosixSignal.SIGINT, PosixSignal.SIGTERM];
        _registrations = [.. signals.Select(signal => PosixSignalRegistration.Create(signal, Handle))];
    }

    public CancellationToken Token => _source.Token;

    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
        {
            registration.Dispose();
        }

        _source.Dispose();
    }

    private void Handle(PosixSignalContext context)
    {
        if (!_source.IsCancellationRequested)
        {
            context.Cancel = true;
            _source.Cancel();
        }
    }
}
