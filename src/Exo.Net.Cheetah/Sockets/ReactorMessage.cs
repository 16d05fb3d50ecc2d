// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah.Sockets;

/// <summary>Work that another thread gives to a reactor.</summary>
internal abstract class ReactorMessage
{
    /// <summary>Runs on the reactor's thread.</summary>
    public abstract void Run(Reactor reactor);
}

/// <summary>One connection waiting for one lookup; the answer travels back to the reactor in it.</summary>
internal sealed class DocumentTicket(Reactor reactor, Connection connection) : ReactorMessage, IDocumentWaiter
{
    private DocumentResult result;

    public void Complete(DocumentResult result)
    {
        this.result = result;
        reactor.Post(this);
    }

    /// <inheritdoc/>
    public override void Run(Reactor reactor) => reactor.OnDocument(this, connection, result);
}

/// <summary>There is news of a response whose document is fetched while it is sent. Posted again and again.</summary>
internal sealed class FlowNews(Connection connection, ResponseFlow flow) : ReactorMessage
{
    public override void Run(Reactor reactor) => reactor.OnNews(connection, flow);
}

/// <summary>Stop accepting, finish what is under way, end by the deadline.</summary>
internal sealed class DrainMessage(TimeSpan timeout) : ReactorMessage
{
    public override void Run(Reactor reactor) => reactor.BeginDrain(timeout);
}

/// <summary>Something to be done on the reactor's thread.</summary>
internal sealed class ReactorWork(Action<Reactor> work) : ReactorMessage
{
    public override void Run(Reactor reactor) => work(reactor);
}

/// <summary>Reads a number off the reactor's thread; for tests. It allocates nothing there.</summary>
internal sealed class AllocationProbe : ReactorMessage, IDisposable
{
    private readonly ManualResetEventSlim done = new();
    private long allocatedBytes;

    public override void Run(Reactor reactor)
    {
        allocatedBytes = GC.GetAllocatedBytesForCurrentThread();
        done.Set();
    }

    public long Wait()
    {
        done.Wait();
        return allocatedBytes;
    }

    public void Dispose() => done.Dispose();
}
