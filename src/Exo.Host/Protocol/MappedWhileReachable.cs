// SPDX-License-Identifier: MIT
using Exo.Core.Linux;

namespace Exo.Host.Protocol;

/// <summary>Keeps memory mapped that is read without a lock: it goes when nobody can be in it any more, which is when nobody refers to this.</summary>
internal sealed class MappedWhileReachable(SharedMemory memory)
{
    ~MappedWhileReachable() => memory.Dispose();

    public SharedMemory Memory => memory;
}
