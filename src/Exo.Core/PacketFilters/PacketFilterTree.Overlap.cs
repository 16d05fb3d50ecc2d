// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Environments;

namespace Exo.Core.PacketFilters;

/// <content>Finds the filters that may share a packet with a new one, with the tree's help.</content>
public sealed partial class PacketFilterTree
{
    // Null: nobody's, or only those of the same owner or of owners whom the credential dominates.
    private InstalledFilter? FindInTheWay(InstalledFilter candidate, Credential by)
    {
        Dictionary<ExoEnvironment, bool> isDominated = new(ReferenceEqualityComparer.Instance) { [candidate.Owner] = true };
        return FindIn(_root, candidate.Filter.Form, 0);

        // A credential does not change; of capabilities revoked meanwhile the first answer stands for the whole search.
        bool MayBlock(ExoEnvironment? owner)
        {
            if (owner is null)
            {
                return true;
            }

            if (!isDominated.TryGetValue(owner, out bool dominated))
            {
                dominated = new AccessControlList(owner.Name, capacity: 1, _authority).Check(by, Rights.Write) == AccessRefusal.None;
                isDominated.Add(owner, dominated);
            }

            return !dominated;
        }

        // "stage" is the stage of the new filter that has the same base as the node; negative: no longer comparable.
        InstalledFilter? FindIn(FilterNode node, FilterForm form, int stage)
        {
            foreach (InstalledFilter ended in node.Ended)
            {
                if (MayBlock(ended.Owner) && FilterOverlap.MayOverlap(form, ended.Filter.Form))
                {
                    return ended;
                }
            }

            foreach (FilterBranch branch in node.Branches)
            {
                if (MayBlock(branch.SoleOwner) && FindBehind(branch, form, stage) is { } found)
                {
                    return found;
                }
            }

            return null;
        }

        InstalledFilter? FindBehind(FilterBranch branch, FilterForm form, int stage)
        {
            if (branch.Step is { } step)
            {
                return FindIn(branch.Behind!, form, stage >= 0 && step == form.Stages[stage].Step ? stage + 1 : -1);
            }

            ulong mask = 0;
            ulong value = 0;
            for (int i = branch.EndBytes - branch.WidthBytes; stage >= 0 && i < branch.EndBytes; i++)
            {
                _ = form.Stages[stage].Bytes.TryGetValue(i, out (byte Mask, byte Value) there);
                mask = (mask << 8) | there.Mask;
                value = (value << 8) | there.Value;
            }

            mask &= branch.Mask;
            value &= mask;
            if (mask == branch.Mask)
            {
                return branch.Table!.Find(value) is { } only ? FindIn(only, form, stage) : null;
            }

            List<(ulong Value, FilterNode Node)> agreeing = [];
            branch.Table!.Collect(agreeing, mask, value, MayBlock);
            foreach ((_, FilterNode node) in agreeing)
            {
                if (MayBlock(node.SoleOwner) && FindIn(node, form, stage) is { } found)
                {
                    return found;
                }
            }

            return null;
        }
    }
}
