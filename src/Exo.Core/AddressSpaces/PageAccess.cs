// SPDX-License-Identifier: MIT
namespace Exo.Core.AddressSpaces;

/// <summary>What may be done with a page to which a frame is bound.</summary>
public enum PageAccess : byte
{
    /// <summary>Read. A write is a fault of kind <see cref="PageFaultKind.WriteProtected"/>. Needs the right to read the frame.</summary>
    Read = 0,

    /// <summary>Read and write. Needs the right to write the frame.</summary>
    Write = 1,

    /// <summary>
    /// Read; a write gives the page a frame of its own first. Needs the right to read the frame. While the space is the frame's only holder a write just makes the page writable;
    /// otherwise it is a fault of kind <see cref="PageFaultKind.CopyOnWrite"/>.
    /// </summary>
    CopyOnWrite = 2,
}
