// SPDX-License-Identifier: MIT
using Exo.Adapters.Fuse.Messages;

namespace Exo.Adapters.Fuse.Session;

/// <summary>How many messages of each kind the kernel has sent. What a mount costs is decided by how many messages an operation takes, not by their bytes. Thread-safe.</summary>
internal sealed class MessageCounts
{
    // Opcodes up to 63 each; what lies beyond (CUSE's) is counted together in the last place.
    private const int Places = 64;
    private readonly long[] _counts = new long[Places];

    public void Add(FuseOpcode opcode) => Interlocked.Increment(ref _counts[Math.Min((uint)opcode, Places - 1)]);

    /// <summary>The kinds that have come, in the order of their opcodes.</summary>
    public List<FuseMessageCount> Snapshot()
    {
        List<FuseMessageCount> counts = [];
        for (int i = 0; i < Places; i++)
        {
            long count = Volatile.Read(ref _counts[i]);
            if (count > 0)
            {
                counts.Add(new FuseMessageCount(FuseOpcodeNames.NameOf((FuseOpcode)i), count));
            }
        }

        return counts;
    }
}
