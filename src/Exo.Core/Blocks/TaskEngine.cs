// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;

namespace Exo.Core.Blocks;

public abstract partial class BlockDevice
{
    /// <summary>
    /// A <see cref="BlockQueue"/> over any device, through its asynchronous door, one task per request. A device that
    /// never waits carries a request out inside <see cref="Advance"/>; another completes on a thread of its own, which puts the
    /// slot into a list and wakes the owner.
    /// </summary>
    private sealed class TaskEngine : QueueEngine
    {
        private readonly BlockDevice _device;
        private readonly Errand[] _errands;
        private readonly Queue<Errand> _started;
        private readonly Queue<Errand> _done;
        private readonly object _lock = new();

        public TaskEngine(BlockDevice device, int depth)
        {
            _device = device;
            _started = new Queue<Errand>(depth);
            _done = new Queue<Errand>(depth);
            _errands = new Errand[depth];
            for (int i = 0; i < depth; i++)
            {
                _errands[i] = new Errand(this, i);
            }
        }

        public override void Start(int slot, Memory<BlockRequest> request)
        {
            _errands[slot].Request = request;
            _started.Enqueue(_errands[slot]);
        }

        public override void Kick()
        {
            while (_started.TryDequeue(out Errand? errand))
            {
                errand.Run(_device);
            }
        }

        public override long Advance(int minCount)
        {
            Kick();
            lock (_lock)
            {
                while (_done.Count < minCount)
                {
                    Monitor.Wait(_lock);
                }
            }

            return 0;
        }

        public override bool TryTake(out int slot, out Exception? defect)
        {
            lock (_lock)
            {
                bool taken = _done.TryDequeue(out Errand? errand);
                slot = taken ? errand!.Slot : -1;
                defect = errand?.Defect;
                return taken;
            }
        }

        public override void Dispose()
        {
        }

        private void Put(Errand errand)
        {
            lock (_lock)
            {
                _done.Enqueue(errand);
                Monitor.Pulse(_lock);
            }
        }

        /// <summary>One slot's request on its way through the device.</summary>
        private sealed class Errand
        {
            private readonly TaskEngine _engine;
            private readonly Action _completed;
            private ConfiguredValueTaskAwaitable.ConfiguredValueTaskAwaiter _core;

            public Errand(TaskEngine engine, int slot)
            {
                _engine = engine;
                Slot = slot;
                _completed = Finish;
            }

            public int Slot { get; }

            public Memory<BlockRequest> Request { get; set; }

            public Exception? Defect { get; private set; }

            public void Run(BlockDevice device)
            {
                Defect = null;
#pragma warning disable CA2012 // The awaiter is consumed exactly once, in Finish; kept in a field so that waiting allocates nothing.
                try
                {
                    _core = device.ExecuteCoreAsync(Request).ConfigureAwait(false).GetAwaiter();
                }
                catch (Exception thrown)
                {
                    _core = ValueTask.FromException(thrown).ConfigureAwait(false).GetAwaiter();
                }
#pragma warning restore CA2012

                if (_core.IsCompleted)
                {
                    Finish();
                }
                else
                {
                    _core.UnsafeOnCompleted(_completed);
                }
            }

            private void Finish()
            {
                try
                {
                    _core.GetResult();
                }
                catch (Exception thrown)
                {
                    Defect = thrown;
                }

                _core = default;
                Request = default;
                _engine.Put(this);
            }
        }
    }
}
