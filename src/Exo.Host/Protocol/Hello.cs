// SPDX-License-Identifier: MIT
namespace Exo.Host.Protocol;

/// <summary>What somebody who connects says first, in eight bytes: what it wants to be.</summary>
internal enum Hello : ulong
{
    /// <summary>A library OS ("EXOLIBOS"): it is sent a <see cref="Greeting"/>.</summary>
    LibraryOS = 0x534F42494C4F5845,

    /// <summary>An observer ("EXOWATCH"): it sends <see cref="ObserverRequest"/>, and is sent a length (u32) and as many bytes of JSON for each.</summary>
    Observer = 0x48435441574F5845,

    /// <summary>Somebody who has a mounted volume changed by the process that mounts it ("EXOADMIN"): frames of JSON follow both ways (the <c>exo</c> command's <c>AdministrationFrames</c>).</summary>
    Administrator = 0x4E494D44414F5845,
}

/// <summary>What an observer may ask, a byte each.</summary>
internal enum ObserverRequest : byte
{
    /// <summary>A snapshot taken after this was asked.</summary>
    Observe = (byte)'?',
}
