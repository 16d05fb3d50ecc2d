// SPDX-License-Identifier: MIT
namespace Exo.Storage.XN;

/// <summary>What XN answers to a request. A closed list; everything but <see cref="Ok"/> is a refusal after which nothing has changed.</summary>
public enum XnStatus
{
    /// <summary>Done.</summary>
    Ok = 0,

    /// <summary>The volume is attached read-only.</summary>
    ReadOnly = 1,

    /// <summary>The credential does not pass the <c>acl</c> function that guards the block, or is not the volume's own.</summary>
    AccessDenied = 2,

    /// <summary>A block number lies outside the disk or in XN's own region.</summary>
    BadBlock = 3,

    /// <summary>A block that the request names is not in the registry.</summary>
    NotRegistered = 4,

    /// <summary>A block that must be looked at has no frame: read it in first.</summary>
    NotInCore = 5,

    /// <summary>The block already has a frame.</summary>
    InCore = 6,

    /// <summary>An edit leaves its block, or a partition does not exist.</summary>
    BadRange = 7,

    /// <summary>What <c>owns</c> says before and after differs from what the request claims, or <c>owns</c> emits what no function may.</summary>
    TypeError = 8,

    /// <summary>A block to be allocated is not free.</summary>
    NotFree = 9,

    /// <summary>The parent does not own the blocks, or not with this template.</summary>
    NotOwned = 10,

    /// <summary>A metadata block that is to be freed still owns blocks.</summary>
    HasPointers = 11,

    /// <summary>A block would come to lie below itself.</summary>
    Cycle = 12,

    /// <summary>The block must not reach the disk before blocks that it points to (rule one), or that it gave a pointer to (rule three).</summary>
    Tainted = 13,

    /// <summary>The order asked for contradicts orders already pending: write back and flush, then try again.</summary>
    OrderCycle = 14,

    /// <summary>A pointer cannot move between two sectors of one block: they do not reach the disk together.</summary>
    SplitSectorMove = 15,

    /// <summary>More than one pointer leads to the block, or one that did is not durably gone: it may not change in place.</summary>
    Shared = 16,

    /// <summary>The block has changes that are not on the disk.</summary>
    Dirty = 17,

    /// <summary>The block is being read or written.</summary>
    Busy = 18,

    /// <summary>The block's last write is not durable yet.</summary>
    NotDurable = 19,

    /// <summary>The operation is not for a block of this template.</summary>
    WrongTemplate = 20,

    /// <summary>No root or template of this name.</summary>
    NotFound = 21,

    /// <summary>A root of this name exists.</summary>
    Exists = 22,

    /// <summary>No room in the root catalogue or the template catalogue.</summary>
    CatalogueFull = 23,

    /// <summary>Frames given and blocks named do not match in number, or a frame is not usable.</summary>
    BadFrames = 24,

    /// <summary>The block's template does not approve of what a change would make of it (<see cref="TemplateSource.Approve"/>).</summary>
    Disapproved = 25,
}
