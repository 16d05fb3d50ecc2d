// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Runtime.CompilerServices;
using Exo.Capabilities;
using Exo.Core.DownloadedCode;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Observation;

namespace Exo.Core.Predicates;

/// <summary>
/// A wakeup predicate (SOSP'97, section 5.1; Xok's wk.c): a sum of products over words of frames, bound once and compiled. It is
/// evaluated when a frame it names may have changed and when the time it names has come, never in between: who sleeps costs nothing.
/// <para>
/// Binding checks everything and pins the frames: they stay what they are until the predicate is disposed or a binding it rests on is
/// revoked, which ends a sleep with <see cref="AccessRefusal.Revoked"/>. A frame may have changed when a use of it that could
/// write ends (<see cref="BindingUse{T}.Dispose"/>); whoever goes on writing within a use, or writes without one, says so with
/// <see cref="FrameUse.Announce"/> or <see cref="FramePool.Ring"/>.
/// </para>
/// <para>
/// Evaluation reads every word once and takes the first product that holds. No wakeup is lost: either the writer that rings sees the
/// sleeper, or the sleeper, who looks once more after he is listed, sees what was written. A word that is changed and changed back before anybody
/// looks wakes nobody.
/// </para>
/// One flow may sleep on a predicate at a time, any number of times. Thread-safe.
/// </summary>
public sealed partial class WakeupPredicate : IDisposable
{
    /// <summary>Products of a predicate, at most.</summary>
    public const int ProductsMax = 64;

    /// <summary>Terms of all products together, at most.</summary>
    public const int TermsMax = 256;

    /// <summary>Different words, at most.</summary>
    public const int WordsMax = 128;

    private readonly PredicateProduct[] _products;
    private readonly PredicateProgram _program;
    private readonly WordSource[] _words;
    private readonly bool _usesTime;
    private readonly bool _isPlain;
    private readonly FramePool? _pool;
    private readonly TimeProvider _time;
    private readonly List<BindingEpoch> _pins = [];
    private readonly Watcher[] _watchers;
    private readonly FrameWatch _own;
    private bool _standsBy;
    private int _isUnbound;
    private volatile bool _isRevoked;

    private WakeupPredicate(PredicateProduct[] products, PredicateProgram program, List<PredicateValue> words, FramePool? pool, TimeProvider time)
    {
        _products = products;
        _program = program;
        _pool = pool;
        _time = time;
        _words = new WordSource[words.Count];
        List<Watcher> watchers = [];
        for (int i = 0; i < _words.Length; i++)
        {
            PredicateValue word = words[i];
            if (word.Kind == PredicateValueKind.Time)
            {
                _usesTime = true;
                continue;
            }

            FrameNumber frame = word.Binding.Named.Number;
            _words[i] = new WordSource(pool!.Address(frame) + word.OffsetBytes, word.LengthBytes == 4);
            if (watchers.TrueForAll(known => known.Frame != frame))
            {
                watchers.Add(new Watcher(this, pool.WatchOf(frame), frame));
            }
        }

        _isPlain = Array.TrueForAll(_words, word => word is { IsHalf: false, Address: not 0 });

        // In one order of frames for all; no two are ever held together, so this is tidiness and not a need.
        _watchers = [.. watchers.OrderBy(watcher => watcher.Frame.Value)];
        _own = _watchers.Length > 0 ? _watchers[0].Watch : new FrameWatch();
        _timer = _usesTime
            ? time.CreateTimer(static predicate => ((WakeupPredicate)predicate!).OnTime(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan)
            : null;
    }

    /// <summary>The verified program, for those who want to read it: r0 is the number of the product, from 1.</summary>
    public Program Program => _program.Code.Program;

    /// <summary>Checks, pins and compiles.</summary>
    /// <param name="products">One product or more; the first that holds gives the tag. All frames are of one pool.</param>
    /// <param name="time">The clock of <see cref="PredicateValue.Now"/>; null is the system's.</param>
    /// <exception cref="PredicateRejectedException">Too large, a word outside its frame or not aligned, a binding that binds nothing, frames of two pools; says where.</exception>
    /// <exception cref="AccessDeniedException">A binding is revoked, or without the right to read.</exception>
    public static WakeupPredicate Bind(ReadOnlySpan<PredicateProduct> products, TimeProvider? time = null)
    {
        PredicateProduct[] all = products.ToArray();
        FramePool? pool = Check(all);
        PredicateProgram program = PredicateProgram.Of(all, out List<PredicateValue> words);
        if (words.Count > WordsMax)
        {
            throw new PredicateRejectedException(-1, -1, $"{words.Count} words; {WordsMax} are the most");
        }

        WakeupPredicate predicate = new(all, program, words, pool, time ?? TimeProvider.System);
        try
        {
            predicate.Pin(words);
        }
        catch
        {
            predicate.Dispose();
            throw;
        }

        return predicate;
    }

    /// <summary>A predicate of one product.</summary>
    /// <inheritdoc cref="Bind(ReadOnlySpan{PredicateProduct}, TimeProvider?)"/>
    public static WakeupPredicate Bind(PredicateProduct product, TimeProvider? time = null) => Bind([product], time);

    /// <summary>The tag of the first product that holds now; 0: none does. Allocates nothing.</summary>
    /// <exception cref="AccessDeniedException">A binding was revoked.</exception>
    /// <exception cref="ObjectDisposedException">The predicate is disposed.</exception>
    public ulong Evaluate()
    {
        lock (_own.Lock)
        {
            ThrowIfUnbound();
            int product = EvaluatePinned();
            return product == 0 ? 0 : _products[product - 1].Tag;
        }
    }

    /// <summary>What it waits for, for those who look at the sleeper. Of what never changes, so without a lock.</summary>
    internal PredicateSnapshot Observe(ExoEnvironment sleeper) => new(
        sleeper.Name.ToString(), PredicateText.Of(_products), _products.Length, _products.Sum(product => product.Terms.Length), [.. _watchers.Select(watcher => watcher.Frame.Value)], _usesTime);

    /// <summary>Ends a sleep in progress with <see cref="ObjectDisposedException"/> and lets the frames go.</summary>
    public void Dispose() => Unbind(SleepEnd.Disposed);

    private static FramePool? Check(PredicateProduct[] products)
    {
        if (products.Length is 0 or > ProductsMax)
        {
            throw new PredicateRejectedException(-1, -1, $"{products.Length} products; a predicate has 1 to {ProductsMax}");
        }

        FramePool? pool = null;
        int terms = 0;
        for (int p = 0; p < products.Length; p++)
        {
            PredicateProduct product = products[p] ?? throw new PredicateRejectedException(p, -1, "there is none");
            for (int t = 0; t < product.Terms.Length; t++)
            {
                if (++terms > TermsMax)
                {
                    throw new PredicateRejectedException(p, t, $"more than {TermsMax} terms");
                }

                PredicateTerm term = product.Terms[t];
                if (term.Comparison > PredicateComparison.AtMost)
                {
                    throw new PredicateRejectedException(p, t, $"{(byte)term.Comparison} is no comparison");
                }

                Check(term.Left, p, t, ref pool);
                Check(term.Right, p, t, ref pool);
            }
        }

        return pool;
    }

    private static void Check(PredicateValue value, int product, int term, ref FramePool? pool)
    {
        if (value.Kind != PredicateValueKind.Word)
        {
            return;
        }

        if (value.Binding.Epoch is null)
        {
            throw new PredicateRejectedException(product, term, "the binding binds nothing");
        }

        if (value.OffsetBytes < 0 || value.OffsetBytes > FramePool.FrameBytes - value.LengthBytes || value.OffsetBytes % value.LengthBytes != 0)
        {
            throw new PredicateRejectedException(
                product, term, $"{value.OffsetBytes} is no place of a word of {value.LengthBytes} bytes in a frame of {FramePool.FrameBytes}");
        }

        FramePool of = value.Binding.Named.Pool!;
        if (pool is not null && pool != of)
        {
            throw new PredicateRejectedException(product, term, "its frame is of another pool");
        }

        pool = of;
    }

    private void Pin(List<PredicateValue> words)
    {
        foreach (PredicateValue word in words)
        {
            if (word.Kind != PredicateValueKind.Word)
            {
                continue;
            }

            if ((word.Binding.Rights & Rights.Read) != Rights.Read)
            {
                throw new AccessDeniedException(word.Binding.Named.ToString(), Rights.Read, AccessRefusal.RightNotHeld);
            }

            BindingEpoch epoch = word.Binding.Epoch!;
            if (_pins.Contains(epoch))
            {
                continue;
            }

            if (!epoch.TryHold())
            {
                throw BindingPoint.Revoked(word.Binding.Named.ToString(), Rights.Read);
            }

            _pins.Add(epoch);
        }

        // All pins first: from the first subscription on a revocation may unbind everything, on another thread.
        foreach (BindingEpoch epoch in _pins.ToArray())
        {
            if (!epoch.TrySubscribe(OnRevoked))
            {
                _isRevoked = true;
                throw BindingPoint.Revoked("a frame of the predicate", Rights.Read);
            }
        }

        if (Volatile.Read(ref _isUnbound) != 0)
        {
            // A revocation came in between and has let the pins go; what was subscribed after that is taken back.
            _pins.ForEach(epoch => epoch.Unsubscribe(OnRevoked));
            ThrowIfUnbound();
        }
    }

    private void OnRevoked()
    {
        _isRevoked = true;
        Unbind(SleepEnd.Revoked);
    }

    private void Unbind(SleepEnd end)
    {
        if (Interlocked.Exchange(ref _isUnbound, 1) != 0)
        {
            return;
        }

        End(end);

        // A grace period. Whoever evaluates does so under one of these locks and has looked at _isUnbound or at the sleep's state, both settled by now.
        lock (_own.Lock)
        {
        }

        foreach (Watcher watcher in _watchers)
        {
            lock (watcher.Watch.Lock)
            {
            }
        }

        if (_standsBy)
        {
            _pool!.RemoveWatcher(_watchers[0].Frame);
        }

        Volatile.Read(ref _listedIn)?.RemoveSleeper(this);
        _timer?.Dispose();
        foreach (BindingEpoch epoch in _pins)
        {
            epoch.Unsubscribe(OnRevoked);
            epoch.Drop();
        }
    }

    private void ThrowIfUnbound()
    {
        if (Volatile.Read(ref _isUnbound) != 0)
        {
            throw _isRevoked ? BindingPoint.Revoked("a frame of the predicate", Rights.Read) : new ObjectDisposedException(nameof(WakeupPredicate));
        }
    }

    /// <summary>The number of the first product that holds, from 1; 0: none. Under the lock of one of the watches, or of the own one, while the frames are pinned.</summary>
    [SkipLocalsInit]
    private unsafe int EvaluatePinned()
    {
        // Every word's place was checked against its frame when it was bound, and the pins keep the pool's memory mapped.
        ulong* values = stackalloc ulong[WordsMax];
        WordSource[] words = _words;
        Debug.Assert(words.Length <= WordsMax);
        if (_isPlain)
        {
            for (int i = 0; i < words.Length; i++)
            {
                values[i] = Volatile.Read(ref *(ulong*)words[i].Address);
            }
        }
        else
        {
            for (int i = 0; i < words.Length; i++)
            {
                values[i] = Read(words[i]);
            }
        }

        return _program.Run(values);
    }

    private unsafe ulong Read(WordSource word) =>
        word.Address == 0 ? (ulong)_time.GetUtcNow().UtcTicks
        : word.IsHalf ? Volatile.Read(ref *(uint*)word.Address)
        : Volatile.Read(ref *(ulong*)word.Address);

    /// <summary>Where a word is; address 0 is the time.</summary>
    private readonly record struct WordSource(nint Address, bool IsHalf);
}
