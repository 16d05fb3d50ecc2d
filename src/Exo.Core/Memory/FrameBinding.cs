// SPDX-License-Identifier: MIT
using Exo.Capabilities;

namespace Exo.Core.Memory;

/// <summary>
/// A secure binding (SOSP'95, section 3.2): the right to a frame was checked once, when the binding was made; using it costs
/// one comparison of generations. It does not keep the frame: once the frame is freed, or <see cref="FramePool.TryUnbind"/>
/// or a change of the access-control list took the binding back, using it throws.
/// </summary>
/// <remarks>A value; copies are the same binding. Revoking a capability does not by itself undo bindings made with it.</remarks>
public readonly struct FrameBinding
{
    private readonly FramePool? _pool;
    private readonly uint _generation;

    internal FrameBinding(FramePool pool, FrameNumber frame, uint generation, Rights rights)
    {
        _pool = pool;
        _generation = generation;
        Frame = frame;
        Rights = rights;
    }

    /// <summary>The frame that is bound.</summary>
    public FrameNumber Frame { get; }

    /// <summary>What may be done with it.</summary>
    public Rights Rights { get; }

    /// <summary>Whether the binding still holds.</summary>
    public bool IsValid => _pool is not null && _pool.IsCurrent(Frame, _generation);

    /// <summary>The frame's 4,096 bytes, to read.</summary>
    /// <exception cref="InvalidOperationException">The binding no longer holds.</exception>
    public ReadOnlySpan<byte> Bytes => Checked().Bytes(Frame);

    /// <summary>The frame's 4,096 bytes, to write.</summary>
    /// <exception cref="InvalidOperationException">The binding no longer holds.</exception>
    /// <exception cref="AccessDeniedException">It was made without the right to write.</exception>
    public Span<byte> WritableBytes
    {
        get
        {
            FramePool pool = Checked();
            if ((Rights & Rights.Write) == 0)
            {
                throw new AccessDeniedException(Frame.ToString(), Rights.Write, AccessRefusal.RightNotHeld);
            }

            return pool.Bytes(Frame);
        }
    }

    private FramePool Checked() =>
        IsValid ? _pool! : throw new InvalidOperationException($"The binding to {Frame} no longer holds: the frame was freed or unbound.");
}
