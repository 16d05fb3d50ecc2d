// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Net.Cheetah;
using Exo.Net.Cheetah.Pipes;

namespace ExOS.Network;

/// <summary>What sockets are made on: stacks of Cheetah's, each polled by a thread of its own.</summary>
internal abstract class ExosNetwork : IDisposable
{
    private readonly CancellationTokenSource _ending = new();
    private readonly List<Thread> _threads = [];

    /// <summary>Listens at a port.</summary>
    /// <exception cref="ExosException">AddressInUse; Invalid: no port.</exception>
    public async ValueTask<TcpPipeListener> ListenAsync(int port)
    {
        Check(port);
        try
        {
            return await TcpPipeListener.StartAsync(Servers(), port);
        }
        catch (InvalidOperationException)
        {
            throw new ExosException(Errno.AddressInUse);
        }
    }

    /// <summary>Connects to a port that somebody listens at.</summary>
    /// <exception cref="ExosException">ConnectionRefused; NotFound: there is no such host; Invalid: no port.</exception>
    /// <exception cref="OperationCanceledException">A signal came first.</exception>
    public async ValueTask<TcpPipeConnection> ConnectAsync(string host, int port, CancellationToken interruption)
    {
        Check(port);
        IPAddress address = Find(host) ?? throw new ExosException(Errno.NotFound, host);
        try
        {
            return await TcpPipeConnection.ConnectAsync(Clients(), new IPEndPoint(address, port), interruption);
        }
        catch (TcpConnectionException)
        {
            throw new ExosException(Errno.ConnectionRefused);
        }
    }

    public void Dispose()
    {
        _ending.Cancel();
        foreach (Thread thread in _threads)
        {
            thread.Join();
        }

        Close();
        _ending.Dispose();
    }

    /// <summary>The stack at which servers listen.</summary>
    protected abstract NetworkStack Servers();

    /// <summary>The stack from which clients connect.</summary>
    protected abstract NetworkStack Clients();

    /// <summary>The address of a host; null: there is none of that name.</summary>
    protected abstract IPAddress? Find(string host);

    /// <summary>Closes stacks and devices; nobody polls them any more.</summary>
    protected abstract void Close();

    /// <summary>Gives a stack a thread.</summary>
    protected void Poll(NetworkStack stack)
    {
        Thread thread = new(() => stack.Run(_ending.Token)) { IsBackground = true, Name = "exos-net" };
        _threads.Add(thread);
        thread.Start();
    }

    private static void Check(int port)
    {
        if (port is < 1 or > 65535)
        {
            throw new ExosException(Errno.Invalid);
        }
    }
}
