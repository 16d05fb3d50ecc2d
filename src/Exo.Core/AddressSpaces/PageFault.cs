// SPDX-License-Identifier: MIT
namespace Exo.Core.AddressSpaces;

/// <summary>Why a page could not be accessed as wanted.</summary>
public enum PageFaultKind : byte
{
    /// <summary>No frame is bound to the page.</summary>
    Missing = 0,

    /// <summary>A write to a page that is bound for reading.</summary>
    WriteProtected = 1,

    /// <summary>A write to a page that is bound copy-on-write, whose frame others hold too.</summary>
    CopyOnWrite = 2,
}

/// <summary>A page fault, as its library OS sees it.</summary>
/// <param name="Space">Where.</param>
/// <param name="Page">Index of the page in the space.</param>
/// <param name="Kind">What was in the way.</param>
/// <param name="IsWrite">Whether the page was to be written.</param>
public readonly record struct PageFault(AddressSpace Space, int Page, PageFaultKind Kind, bool IsWrite);

/// <summary>
/// Resolves a page fault, by binding a frame of its choice or by changing the access of what is bound. Faults of one space are delivered one at a time, on the thread that serves them or, for
/// <see cref="AddressSpace.Read"/> and <see cref="AddressSpace.Write"/>, on the thread that faulted. What it throws reaches that thread; the access is then refused.
/// It must not touch unbound pages of the same space.
/// </summary>
/// <returns>False to refuse the access. True without having made it possible refuses it too.</returns>
public delegate bool PageFaultUpcall(in PageFault fault);

/// <summary>An access that nobody made possible.</summary>
public sealed class PageFaultException : InvalidOperationException
{
    internal PageFaultException(in PageFault fault)
        : base($"Page {fault.Page} cannot be {(fault.IsWrite ? "written" : "read")}: {fault.Kind}, and the fault was not resolved.")
    {
        Page = fault.Page;
        Kind = fault.Kind;
    }

    /// <summary>Index of the page.</summary>
    public int Page { get; }

    /// <summary>What was in the way.</summary>
    public PageFaultKind Kind { get; }
}
