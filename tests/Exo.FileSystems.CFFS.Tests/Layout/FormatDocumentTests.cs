// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Tests.Layout;

/// <summary>docs/cffs-format.md and the Layout code say the same, field by field.</summary>
public sealed partial class FormatDocumentTests
{
    public static TheoryData<string> Structures => ["SectorTrailer", "VolumeState", "VolumeGuard", "Slot", "TreeEntry", "TreeHeader", "IndexBucket", "AttributeBlock", "Intent"];

    [Theory]
    [MemberData(nameof(Structures))]
    public void The_document_lists_exactly_the_fields_of_the_code(string structure)
    {
        LayoutField[] code = structure switch
        {
            "SectorTrailer" => Sector.Fields,
            "VolumeState" => VolumeState.Fields,
            "VolumeGuard" => VolumeGuard.Fields,
            "Slot" => Slot.Fields,
            "TreeEntry" => TreeEntry.Fields,
            "TreeHeader" => TreeNode.HeaderFields,
            "IndexBucket" => IndexBucket.Fields,
            "AttributeBlock" => AttributeBlock.Fields,
            "Intent" => Intent.Fields,
            _ => throw new ArgumentOutOfRangeException(nameof(structure)),
        };
        Assert.Equal(code, Document(structure));
    }

    [Theory]
    [MemberData(nameof(Structures))]
    public void Fields_neither_overlap_nor_leave_their_structure(string structure)
    {
        (int baseBytes, int sizeBytes) = Extent(structure);
        int end = baseBytes;
        foreach (LayoutField field in Document(structure))
        {
            Assert.True(field.OffsetBytes >= end, $"{structure}.{field.Name} overlaps the field before it");
            end = field.OffsetBytes + field.SizeBytes;
        }

        Assert.True(end <= baseBytes + sizeBytes, $"{structure} is longer than stated");
    }

    private static string Text([CallerFilePath] string here = "") =>
        File.ReadAllText(Path.Combine(Path.GetDirectoryName(here)!, "../../../docs/cffs-format.md"));

    private static (int BaseBytes, int SizeBytes) Extent(string structure)
    {
        Match match = Regex.Match(Text(), $"<!-- layout: {structure} size (\\d+)(?: base (\\d+))? -->");
        Assert.True(match.Success, $"the document has no table for {structure}");
        return (match.Groups[2].Success ? Number(match.Groups[2].Value) : 0, Number(match.Groups[1].Value));
    }

    private static LayoutField[] Document(string structure)
    {
        string text = Text();
        int start = text.IndexOf($"<!-- layout: {structure} size", StringComparison.Ordinal);
        return
        [
            .. text[start..].Split('\n').Skip(1).SkipWhile(line => !line.StartsWith('|')).TakeWhile(line => line.StartsWith('|'))
                .Select(line => Row().Match(line)).Where(match => match.Success)
                .Select(match => new LayoutField(match.Groups[3].Value, Number(match.Groups[1].Value), Number(match.Groups[2].Value))),
        ];
    }

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^\| (\d+) \| (\d+) \| (\w+) \|")]
    private static partial Regex Row();
}
