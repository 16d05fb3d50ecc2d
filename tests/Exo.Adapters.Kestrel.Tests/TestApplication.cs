// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Exo.Adapters.Kestrel.Tests;

/// <summary>An ASP.NET Core application on a network, as anybody would write it; one line names the transport. Port 80 is HTTP, 443 TLS, both with HTTP/1.1 and HTTP/2.</summary>
internal sealed class TestApplication : IAsyncDisposable
{
    public static readonly IPAddress Address = IPAddress.Parse("10.9.0.2");

    private static readonly Lazy<X509Certificate2> s_certificate = new(MakeCertificate);

    private readonly ITestNetwork network;

    private TestApplication(ITestNetwork network, WebApplication application, ConcurrentQueue<string> errors)
    {
        this.network = network;
        Application = application;
        Errors = errors;
    }

    public WebApplication Application { get; }

    /// <summary>What the server has logged as an error.</summary>
    public ConcurrentQueue<string> Errors { get; }

    public static async Task<TestApplication> StartAsync(ITestNetwork network, Action<WebApplication> map, Action<KestrelServerOptions>? listen = null)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        var errors = new ConcurrentQueue<string>();
        builder.Logging.ClearProviders();
        builder.Services.AddSingleton<ILoggerProvider>(new ErrorLog(errors));
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.UseExoTransport(options =>
        {
            options.Device = network.Device;
            options.Network = network.Options;
        });
        builder.WebHost.ConfigureKestrel(listen ?? (kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = null;
            kestrel.ListenAnyIP(80);
            kestrel.Listen(Address, 443, options => options.UseHttps(s_certificate.Value));
        }));
        WebApplication application = builder.Build();
        map(application);
        try
        {
            await application.StartAsync();
        }
        catch
        {
            await application.DisposeAsync();
            throw;
        }

        return new TestApplication(network, application, errors);
    }

    /// <summary>A client whose connections go over the network; the certificate has to be the right one.</summary>
    public HttpClient Client(Version? version = null) => new(new SocketsHttpHandler
    {
        ConnectCallback = async (context, cancellation) => await network.ConnectAsync(new IPEndPoint(Address, context.DnsEndPoint.Port), cancellation),
        SslOptions = new SslClientAuthenticationOptions { RemoteCertificateValidationCallback = (_, shown, _, _) => shown is X509Certificate2 { } certificate && certificate.Thumbprint == s_certificate.Value.Thumbprint },
        UseProxy = false,
    })
    {
        DefaultRequestVersion = version ?? HttpVersion.Version11,
        DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        Timeout = TimeSpan.FromMinutes(2),
    };

    public async ValueTask DisposeAsync() => await Application.DisposeAsync();

    private static X509Certificate2 MakeCertificate()
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new("CN=10.9.0.2", key, HashAlgorithmName.SHA256);
        using X509Certificate2 certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        return X509CertificateLoader.LoadPkcs12(certificate.Export(X509ContentType.Pkcs12), null);
    }

    private sealed class ErrorLog(ConcurrentQueue<string> errors) : ILoggerProvider, ILogger
    {
        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Error;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
            {
                errors.Enqueue($"{formatter(state, exception)} {exception}");
            }
        }

        public void Dispose()
        {
        }
    }
}
