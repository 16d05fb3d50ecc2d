// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;

namespace Exo.Storage.XN;

/// <summary>A verified template, ready to run. Immutable.</summary>
internal sealed class Template
{
    private const int BlockBytes = 4096;

    private Template(TemplateId id, TemplateSource source, TemplateId[] children)
    {
        Id = id;
        Source = source;
        Children = children;
    }

    public TemplateId Id { get; }

    public TemplateSource Source { get; }

    public TemplateId[] Children { get; }

    public VerifiedProgram? Owns { get; private set; }

    public VerifiedProgram? Acl { get; private set; }

    public VerifiedProgram? Size { get; private set; }

    public VerifiedProgram? Approve { get; private set; }

    /// <summary>Bytes of what <see cref="Approve"/> judges at a time.</summary>
    public int UnitBytes => Source.ApproveUnitBytes;

    /// <summary>Offset of each partition's read set.</summary>
    public ushort[] Offsets { get; private set; } = [];

    /// <summary>Partition indices in the order of their offsets.</summary>
    public ushort[] ByOffset { get; private set; } = [];

    public int ReadSetBytes => Source.ReadSetBytes;

    public int PartitionCount => Offsets.Length;

    /// <summary>Blocks of this template point to others.</summary>
    public bool IsMetadata => Owns is not null;

    /// <summary>A pointer to such a block waits until the block is durable.</summary>
    public bool Taints => IsMetadata || (Source.Flags & TemplateFlags.InitialiseFirst) != 0;

    /// <summary>Several partitions may point to one block of this template.</summary>
    public bool IsCounted => (Source.Flags & TemplateFlags.Counted) != 0;

    /// <summary>Verifies a template: its functions against their contracts, its partitions against one another.</summary>
    /// <exception cref="XnException">What is wrong with it.</exception>
    public static Template Verify(TemplateId id, TemplateSource source, TemplateId[] children)
    {
        List<ushort> offsets = CheckShape(source);
        Template template = new(id, source, children);
        template.Offsets = [.. offsets];
        template.ByOffset = [.. Enumerable.Range(0, offsets.Count).OrderBy(i => offsets[i]).Select(i => (ushort)i)];
        for (int i = 1; i < template.ByOffset.Length; i++)
        {
            Require(
                source,
                offsets[template.ByOffset[i - 1]] + source.ReadSetBytes <= offsets[template.ByOffset[i]],
                "the read sets of two partitions overlap");
        }

        template.Owns = Check(source, source.Owns, "owns", source.Owns is null ? null : TemplateContracts.Owns(source.ReadSetBytes));
        template.Acl = Check(source, source.Acl, "acl", TemplateContracts.Acl);
        template.Size = Check(source, source.Size, "size", TemplateContracts.Size);
        template.Approve = Check(source, source.Approve, "approve", source.Approve is null ? null : TemplateContracts.Approve(source.ApproveUnitBytes));

        // The base case of XN's induction: an empty block owns nothing.
        if (template.Owns is not null)
        {
            OwnsRunner runner = new();
            ExtentSet set = new();
            Span<byte> zeros = stackalloc byte[source.ReadSetBytes];
            zeros.Clear();
            for (int partition = 0; partition < template.PartitionCount; partition++)
            {
                Require(
                    source,
                    runner.TryRun(template, partition, zeros, ulong.MaxValue, set) && set.Count == 0,
                    $"owns emits blocks for partition {partition} of an empty block");
            }
        }

        return template;
    }

    /// <summary>What a template must be like, whatever its functions do; the offsets of its partitions. What has passed has room in the fields of a catalogue block, except that it may be longer than one.</summary>
    /// <exception cref="XnException">What is wrong with it.</exception>
    public static List<ushort> CheckShape(TemplateSource source)
    {
        int nameBytes = System.Text.Encoding.UTF8.GetByteCount(source.Name);
        Require(source, nameBytes is >= 1 and <= 63 && !source.Name.Contains('\0', StringComparison.Ordinal), "its name must have 1 to 63 bytes");
        Require(source, source.ReadSetBytes is >= 0 and <= BlockBytes, "its read set is larger than a block");
        Require(source, (source.Owns is null) == (source.Partitions.Count == 0), "owns and partitions go together");
        Require(source, source.Owns is null || source.ReadSetBytes > 0, "owns needs a read set");
        Require(source, (source.Flags & ~(TemplateFlags.InitialiseFirst | TemplateFlags.Counted)) == 0, "a flag is not known");
        Require(source, source.Owns is null || (source.Flags & TemplateFlags.Counted) == 0, "only data can be counted");

        Require(source, source.Approve is null || source.Owns is not null, "approve is for metadata");
        Require(source, source.Approve is null ? source.ApproveUnitBytes == 0 : source.ApproveUnitBytes is 512 or 1024 or 2048 or 4096, "approve judges 512, 1024, 2048 or 4096 bytes at a time");

        List<ushort> offsets = [];
        foreach (PartitionGroup group in source.Partitions)
        {
            Require(source, group.Count > 0 && group.OffsetBytes >= 0 && group.StrideBytes >= 0, "a partition group is empty or negative");
            Require(source, group.Count == 1 || group.StrideBytes >= source.ReadSetBytes, "the read sets of a partition group overlap");
            Require(
                source,
                group.Count <= BlockBytes && group.OffsetBytes + ((long)(group.Count - 1) * group.StrideBytes) + source.ReadSetBytes <= BlockBytes,
                "a partition leaves the block");
            for (int i = 0; i < group.Count; i++)
            {
                offsets.Add((ushort)(group.OffsetBytes + (i * group.StrideBytes)));
            }
        }

        return offsets;
    }

    private static VerifiedProgram? Check(TemplateSource source, Program? program, string function, ProgramContract? contract)
    {
        if (program is null)
        {
            return null;
        }

        VerifyResult result = Verifier.Verify(program, contract!);
        return result.IsAccepted ? result.Program : throw Refuse(source, $"the verifier refused its {function} function: {result.Rejection}");
    }

    private static void Require(TemplateSource source, bool condition, string problem)
    {
        if (!condition)
        {
            throw Refuse(source, problem);
        }
    }

    private static XnException Refuse(TemplateSource source, string problem) =>
        new(XnStatus.WrongTemplate, $"template '{source.Name}': {problem}");
}
