// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <content>
/// Writing data early, while its owner goes on, and without the turn that commits, checkpoints and other writes in place take. A turn is not needed, because
/// <list type="bullet">
/// <item>data holds no pointers: rule one lets it be written any time, and that it is written early only lets what points to it be written earlier;</item>
/// <item>what the commit log has an image of, which a replay would put over what is written here, is passed over, and so is what is being put there;</item>
/// <item>a block on its way to its place is not taken into a transaction, nor is what waits for it, nor is it anybody else's when it is freed.</item>
/// </list>
/// While the last transaction is in doubt nothing is written: a replay might come.
/// </content>
public sealed partial class XnVolume
{
    /// <summary>
    /// Writes those blocks of some extents in place that are dirty data and that nothing stands in the way of, adjacent ones as one request, through the device's asynchronous door. All others are passed over: they stay
    /// as they are, for <see cref="WriteBack"/> or <see cref="TryCommit"/>. What is changed meanwhile is dirty again; whoever changes the bytes of a block whose frame is held by a write does it in another frame (<see cref="Rebind"/>).
    /// Any number may be under way. The blocks are durable after a <see cref="Flush"/> that begins when this has ended.
    /// </summary>
    /// <returns>How many blocks were written.</returns>
    /// <exception cref="BlockDeviceException">The device failed. What it failed to write is dirty again: nothing is lost, and who makes it durable will be told.</exception>
    public async ValueTask<int> WriteBehindAsync(Credential credential, ReadOnlyMemory<BlockExtent> extents)
    {
        ArgumentNullException.ThrowIfNull(credential);
        WritePlan plan = BeginBehind(extents.Span);
        if (plan.Requests.Length == 0)
        {
            return 0;
        }

        try
        {
            await _device.ExecuteAsync(plan.Requests).ConfigureAwait(false);
        }
        finally
        {
            EndWrite(plan);
        }

        return plan.Blocks.Count;
    }

    private WritePlan BeginBehind(ReadOnlySpan<BlockExtent> extents)
    {
        ThrowIfClosed();
        List<(BlockNumber, FrameNumber)> writing = [];
        List<FrameNumber> held = [];
        using (new Changing(this))
        {
            foreach (BlockExtent extent in extents)
            {
                for (uint i = 0; !IsReadOnly && !_isLogInDoubt && i < extent.Count; i++)
                {
                    BlockNumber block = extent.First + i;
                    int index = _registry.Find(block.Value);
                    if (index < 0 || !_registry[index].Has(EntryFlags.Dirty) || _registry[index].Has(EntryFlags.Live | EntryFlags.Committing)
                        || _registry.TemplateOf(index).IsMetadata || MayWrite(index) != XnStatus.Ok)
                    {
                        continue;
                    }

                    FrameNumber frame = new(_registry[index].Frame);
                    _frames.Retain(frame);
                    held.Add(frame);
                    writing.Add((block, frame));
                    Submit(index);
                }
            }

            _underWay += writing.Count;
            _blocksWritten += writing.Count;
        }

        return new WritePlan(BlockRuns.Build(BlockOperation.Write, writing), writing, held);
    }
}
