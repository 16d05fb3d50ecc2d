// SPDX-License-Identifier: MIT
using Exo.Adapters.Fuse.Session;

namespace Exo.Adapters.Fuse.Mounting;

/// <summary>
/// Has the kernel forget what it does not need. Done by whoever is about to tell it of another inode and finds that it remembers too many, while others are left to take the FORGETs that it brings:
/// pruning wants no lock of the kernel's that the asker of a message may hold. (Telling of names does: see <see cref="FuseInvalidations"/>.) Nobody waits any more once <paramref name="stop"/> is set.
/// </summary>
internal sealed class FusePruning(FuseSession session, FuseNotifications notifications, ManualResetEventSlim stop)
{
    // FORGETs come when the kernel likes. Where they do not, what it was asked to forget is in use.
    private const int RoundsMax = 200;
    private static readonly TimeSpan RoundTime = TimeSpan.FromMilliseconds(1);

    private readonly Lock _oneAtATime = new();

    /// <summary>Asks until no more than half of the frames are kept, or all that keeps them is in use. What is below a directory goes before the directory: so in rounds, as long as they help.</summary>
    public void Thin()
    {
        lock (_oneAtATime)
        {
            while (session.TakeCrowd() is { Length: > 0 } crowd)
            {
                int before = session.NodeCount;
                if (!notifications.Prune(crowd))
                {
                    session.Thin = null;
                    return;
                }

                for (int round = 0; round < RoundsMax && session.NodeCount > before - (crowd.Length / 2) && !stop.Wait(RoundTime); round++)
                {
                }

                if (session.NodeCount >= before)
                {
                    return;
                }
            }
        }
    }
}
