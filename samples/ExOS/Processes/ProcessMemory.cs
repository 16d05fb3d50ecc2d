// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Exo.Capabilities;
using Exo.Core.AddressSpaces;
using Exo.Core.Memory;

namespace ExOS.Processes;

/// <summary>
/// The memory of a process: an address space of Exo whose pages come when they are touched, and are copied when parent or child writes after a fork. What a program keeps here a fork copies; what it keeps in objects
/// of C# it does not.
/// <code>
///   0 .. 64 KiB      variables: those of the environment and the shell's own (ProcessVariables)
///   64 .. 128 KiB    what a forked child is to do (Task)
///   128 KiB ..       the program's own
/// </code>
/// </summary>
internal sealed class ProcessMemory : IDisposable
{
    public const int LengthBytes = 4 << 20;
    public const int VariablesAt = 0;
    public const int TaskAt = 64 << 10;
    public const int HeapAt = 128 << 10;
    private const int TextBytesMax = (64 << 10) - 4;

    private readonly FramePool _frames;
    private readonly AddressSpace _space;
    private readonly Credential _owner;

    private ProcessMemory(FramePool frames, Credential owner, AddressSpace? parent)
    {
        _frames = frames;
        _owner = owner;
        _space = parent?.Fork(Resolve, withWindow: false) ?? AddressSpace.Reserve(frames, LengthBytes, Resolve, withWindow: false);
    }

    public static ProcessMemory Empty(FramePool frames, Credential owner) => new(frames, owner, null);

    /// <summary>The table, for <c>/proc</c>.</summary>
    public ReadOnlySpan<Translation> Translations => _space.Translations;

    public int BoundPages => _space.BoundPages;

    /// <summary>What a child gets: the same frames, copied by who writes first.</summary>
    public ProcessMemory Fork(Credential owner) => new(_frames, owner, _space);

    public void Read(long address, Span<byte> into) => _space.Read(address, into);

    public void Write(long address, ReadOnlySpan<byte> bytes) => _space.Write(address, bytes);

    /// <summary>A text of at most 64 KiB, with its length in front.</summary>
    public string ReadText(long address)
    {
        Span<byte> length = stackalloc byte[4];
        Read(address, length);
        byte[] bytes = new byte[Math.Clamp(BinaryPrimitives.ReadInt32LittleEndian(length), 0, TextBytesMax)];
        Read(address + 4, bytes);
        return Encoding.UTF8.GetString(bytes);
    }

    /// <exception cref="ExosException">NoMemory: the text is too long, or there is no frame.</exception>
    public void WriteText(long address, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        if (bytes.Length > TextBytesMax)
        {
            throw new ExosException(Errno.NoMemory);
        }

        Span<byte> length = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, bytes.Length);
        try
        {
            Write(address, length);
            Write(address + 4, bytes);
        }
        catch (PageFaultException)
        {
            throw new ExosException(Errno.NoMemory);
        }
    }

    public void Dispose() => _space.Dispose();

    /// <summary>The upcall of a page that is missing, or that somebody else has too.</summary>
    private bool Resolve(in PageFault fault)
    {
        if (!_frames.TryAllocate(_owner, out FrameNumber fresh, zero: fault.Kind == PageFaultKind.Missing))
        {
            return false;
        }

        if (fault.Kind == PageFaultKind.CopyOnWrite)
        {
            fault.Space.CopyPage(_owner, fault.Page, fresh);
        }
        else
        {
            fault.Space.Bind(_owner, fault.Page, fresh, PageAccess.Write);
        }

        _frames.Release(fresh);
        return true;
    }
}
