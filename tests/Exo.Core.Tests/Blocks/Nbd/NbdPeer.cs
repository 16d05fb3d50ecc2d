// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Exo.Core.Blocks;
using Exo.Core.Blocks.Nbd;
using Exo.Core.Memory;
using Exo.Tests;

namespace Exo.Core.Tests.Blocks.Nbd;

/// <summary>A server with a disk of zeroes: Exo's own in this process, or nbdkit.</summary>
internal sealed class NbdPeer : IDisposable
{
    private readonly DiskKind _kind;
    private readonly string _socket = NewSocketPath();
    private readonly FramePool? _frames;
    private readonly MemoryBlockDevice? _disk;
    private readonly NbdServer? _server;
    private readonly NbdProgram? _program;

    public NbdPeer(DiskKind kind, ulong blockCount)
    {
        _kind = kind;
        if (kind == DiskKind.NbdKit)
        {
            _program = NbdProgram.NbdKit(_socket, "memory", (blockCount * 4096).ToString(System.Globalization.CultureInfo.InvariantCulture));
            return;
        }

        _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        _disk = new MemoryBlockDevice(_frames, blockCount);
        _server = new NbdServer(_disk, new NbdServerOptions
        {
            EndPoint = kind == DiskKind.NbdConnections ? new IPEndPoint(IPAddress.Loopback, 0) : new UnixDomainSocketEndPoint(_socket),
            ExportName = "disk",
            Tls = kind == DiskKind.NbdTls ? new SslServerAuthenticationOptions { ServerCertificate = Certificate.Value } : null,
        });
        _server.Start();
    }

    /// <summary>One that nobody trusts, made anew for each run.</summary>
    public static Lazy<X509Certificate2> Certificate { get; } = new(() =>
    {
        using var key = RSA.Create(2048);
        var request = new CertificateRequest("CN=exo-test", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        using X509Certificate2 made = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        return X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pfx), null);
    });

    public string Uri => _kind switch
    {
        DiskKind.NbdConnections => $"nbd://127.0.0.1:{((IPEndPoint)_server!.EndPoint).Port}/disk",
        DiskKind.NbdTls => $"nbds+unix:///disk?socket={_socket}",
        DiskKind.NbdKit => $"nbd+unix:///?socket={_socket}",
        _ => $"nbd+unix:///disk?socket={_socket}",
    };

    public static string NewSocketPath() => Path.Combine(Path.GetTempPath(), $"exo-{Guid.NewGuid():N}.sock");

    public BlockDevice Open(FramePool frames, int queueDepth) => BlockDevice.Open(Uri, frames, new BlockDeviceOptions
    {
        QueueDepth = queueDepth,
        Nbd = new NbdOptions
        {
            Connections = _kind == DiskKind.NbdConnections ? 3 : 1,
            Tls = _kind == DiskKind.NbdTls ? Trusting() : null,
        },
    });

    /// <summary>Trusts the certificate above and no other.</summary>
    public static SslClientAuthenticationOptions Trusting() => new()
    {
        TargetHost = "exo-test",
        RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate is not null && certificate.GetCertHashString() == Certificate.Value.GetCertHashString(),
    };

    public void Dispose()
    {
        _server?.Dispose();
        _disk?.Dispose();
        _frames?.Dispose();
        _program?.Dispose();
        File.Delete(_socket);
    }
}

/// <summary>A server that is a program of its own.</summary>
internal sealed class NbdProgram : IDisposable
{
    private readonly Process _process;
    private readonly string _socket;

    private NbdProgram(string socket, string program, params string[] arguments)
    {
        _socket = socket;
        var start = new ProcessStartInfo(Requires.Program(program)) { RedirectStandardError = true, RedirectStandardOutput = true };
        foreach (string argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        _process = Process.Start(start)!;
        _process.BeginErrorReadLine();
        _process.BeginOutputReadLine();
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (!IsListening())
        {
            Assert.False(_process.HasExited, $"{program} ended with {(_process.HasExited ? _process.ExitCode : 0)}");
            limit.Token.ThrowIfCancellationRequested();
            Thread.Sleep(5);
        }
    }

    public static NbdProgram NbdKit(string socket, params string[] arguments) =>
        new(socket, "nbdkit", ["--foreground", "--unix", socket, "--exit-with-parent", .. arguments]);

    public static NbdProgram QemuNbd(string socket, string image, string format, params string[] arguments) =>
        new(socket, "qemu-nbd", ["--persistent", "--socket", socket, "--format", format, .. arguments, image]);

    public bool HasExited => _process.WaitForExit(10_000);

    public void Kill()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }

        _process.WaitForExit();
        File.Delete(_socket);
    }

    public void Dispose()
    {
        Kill();
        _process.Dispose();
    }

    /// <summary>The socket's file is there a moment before its server listens; connecting would be the server's first client.</summary>
    private bool IsListening()
    {
        // In /proc/net/unix a listening socket has the flag __SO_ACCEPTCON, 0x10000.
        return File.ReadLines("/proc/net/unix").Any(line => line.EndsWith(_socket, StringComparison.Ordinal) && line.Contains(" 00010000 ", StringComparison.Ordinal));
    }
}
