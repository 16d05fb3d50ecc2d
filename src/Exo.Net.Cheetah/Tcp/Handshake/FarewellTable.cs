// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Exo.Core.Net;

namespace Exo.Net.Cheetah.Tcp.Handshake;

/// <summary>
/// Connections whose peers' FINs a handler may acknowledge, because the stack has sent its own FIN and all that is missing is that one segment. The stack writes, the handler on
/// another processor takes, and one word decides between them:
/// <code>
///   slot, 16 bytes:  name | 3 = the handler may    name | 2 = it has    0 = free        SND.NXT, RCV.NXT: the segment must acknowledge the one and have the other as its number
/// </code>
/// Behind the slots lie the secrets of cookies (<see cref="CookieSecrets"/>), two words each.
/// A name is the keyed hash of the connection's four; bits 32 and up choose the slot, of which only the stack makes a free one taken.
/// </summary>
internal sealed unsafe class FarewellTable : IDisposable
{
    public const int Slots = 4096, SlotBytes = 16, SecretsAt = Slots * SlotBytes, SecretBytes = 16, SizeBytes = SecretsAt + (CookieSecrets.Places * SecretBytes);

    private readonly HandlerMemory memory;

    /// <summary>A table with all slots free.</summary>
    /// <param name="interfaceName">For messages.</param>
    /// <exception cref="NetworkDeviceException">The kernel refused the memory.</exception>
    public FarewellTable(string interfaceName) => memory = HandlerMemory.Create(interfaceName, SizeBytes);

    public int Descriptor => memory.Descriptor;

    /// <summary>Lets the handler acknowledge. Returns the slot, or -1: another connection has it.</summary>
    public int TryArm(ulong name, uint sendNext, uint receiveNext)
    {
        int slot = (int)(name >> 32) & (Slots - 1);
        ref ulong word = ref Word(slot);
        if (Volatile.Read(ref word) != 0)
        {
            return -1;
        }

        Unsafe.Add(ref word, 1) = sendNext | ((ulong)receiveNext << 32);
        Volatile.Write(ref word, name | 3);
        return slot;
    }

    /// <summary>Frees a slot. True when the handler has acknowledged; from now on it does not.</summary>
    public bool Take(int slot, ulong name) => Interlocked.Exchange(ref Word(slot), 0) == ((name | 3) ^ 1);

    /// <summary>A secret for handlers. Its two words are written one after the other: at a time when no cookie is good that would be made with them.</summary>
    public void WriteSecret(int place, SipHash secret)
    {
        ref ulong words = ref *(ulong*)(memory.Address + SecretsAt + (place * SecretBytes));
        Volatile.Write(ref words, secret.Key0);
        Volatile.Write(ref Unsafe.Add(ref words, 1), secret.Key1);
    }

    /// <summary>The secrets as handlers read them.</summary>
    public SipHash ReadSecret(int place)
    {
        ref ulong words = ref *(ulong*)(memory.Address + SecretsAt + (place * SecretBytes));
        return new SipHash(Volatile.Read(ref words), Volatile.Read(ref Unsafe.Add(ref words, 1)));
    }

    public void Dispose() => memory.Dispose();

    // Slots are those that TryArm returned, so inside the memory.
    private ref ulong Word(int slot) => ref *(ulong*)(memory.Address + (slot * SlotBytes));
}
