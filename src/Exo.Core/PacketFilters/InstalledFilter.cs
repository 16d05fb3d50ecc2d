// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Environments;

namespace Exo.Core.PacketFilters;

/// <summary>
/// A filter in a tree: a secure binding of its environment to the packets that it accepts. It ends by <see cref="Dispose"/>, by revocation
/// or with its environment; from then on no packet is classified to it and <see cref="Binding"/> fails with <see cref="AccessRefusal.Revoked"/>.
/// </summary>
public sealed class InstalledFilter : IDisposable
{
    private readonly SecureResource<PacketFilter> resource;

    internal InstalledFilter(PacketFilterTree tree, ulong number, PacketFilter filter, ExoEnvironment owner, AccessControlList guard)
    {
        Tree = tree;
        Number = number;
        Filter = filter;
        Owner = owner;
        Rank = filter.Form.Rank;
        Way = FilterMove.Of(filter.Form);
        resource = new SecureResource<PacketFilter>($"packet filter {number}", filter, guard);
    }

    /// <summary>Where it is installed.</summary>
    public PacketFilterTree Tree { get; }

    /// <summary>Its physical name: counted from 1 in the order of insertion, never used again.</summary>
    public ulong Number { get; }

    /// <summary>What it accepts.</summary>
    public PacketFilter Filter { get; }

    /// <summary>Whose packets these are; charged for it as <see cref="ResourceKind.Ports"/>.</summary>
    public ExoEnvironment Owner { get; }

    /// <summary>The owner's binding.</summary>
    public SecureBinding<PacketFilter> Binding { get; private set; }

    /// <summary>Whether it is in the tree still.</summary>
    public bool IsInstalled => Binding.IsValid;

    internal ulong Rank { get; }

    internal FilterMove[] Way { get; }

    /// <summary>Removes it, at once: a classification that begins later does not see it. Twice is once.</summary>
    public void Dispose() => Tree.Remove(this);

    /// <inheritdoc/>
    public override string ToString() => $"packet filter {Number} of {Owner}: {Filter}";

    internal AccessRefusal Check(Credential credential) => resource.Check(credential, Rights.Write);

    internal AccessRefusal TryBind()
    {
        AccessRefusal refusal = resource.TryBind(Owner.Credential, Rights.Read, out SecureBinding<PacketFilter> binding);
        Binding = binding;
        return refusal;
    }

    internal void Retire() => resource.Retire(static () => { });
}

/// <summary>Why a filter was not installed. A closed list.</summary>
public enum FilterRefusal : byte
{
    /// <summary>It was.</summary>
    None = 0,

    /// <summary>A packet may be accepted by it and by another owner's filter, whose capability the inserter's credential does not dominate.</summary>
    Overlap = 1,

    /// <summary>A quota stands against it.</summary>
    Quota = 2,

    /// <summary>The owner's capability is revoked or of another authority than the tree.</summary>
    Access = 3,
}

/// <summary>The answer to <see cref="PacketFilterTree.TryInsert"/>.</summary>
/// <param name="Refusal">The rule that stood against it, or none.</param>
/// <param name="InTheWay">With <see cref="FilterRefusal.Overlap"/>: the filter that stands in the way, or one of them.</param>
/// <param name="Quota">With <see cref="FilterRefusal.Quota"/>: whose.</param>
/// <param name="Access">With <see cref="FilterRefusal.Access"/>: the rule of the guard.</param>
public readonly record struct FilterVerdict(FilterRefusal Refusal, InstalledFilter? InTheWay, QuotaVerdict Quota, AccessRefusal Access)
{
    /// <summary>True when the filter is installed.</summary>
    public bool IsInstalled => Refusal == FilterRefusal.None;
}
