// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;

namespace Exo.Storage.XN.Tests.Layout;

/// <summary>docs/xn-format.md and the Layout code say the same, field by field.</summary>
public sealed partial class FormatDocumentTests
{
    public static TheoryData<string> Structures => ["XnSuperblock", "TemplateBlock", "RootBlock", "RootEntry", "FreeMapBlock", "OwnersBlock", "OwnersEntry", "LogTransaction", "LogEntry"];

    [Theory]
    [MemberData(nameof(Structures))]
    public void The_document_lists_exactly_the_fields_of_the_code(string structure)
    {
        XnField[] code = structure switch
        {
            "XnSuperblock" => XnSuperblock.Fields,
            "TemplateBlock" => TemplateBlock.Fields,
            "RootBlock" => RootBlock.Fields,
            "RootEntry" => RootBlock.EntryFields,
            "OwnersBlock" => OwnersBlock.Fields,
            "OwnersEntry" => OwnersBlock.EntryFields,
            "LogTransaction" => LogRecord.Fields,
            "LogEntry" => LogRecord.EntryFields,
            _ => FreeMapBlock.Fields,
        };
        Assert.Equal(code, Document(structure));
    }

    [Theory]
    [MemberData(nameof(Structures))]
    public void Fields_neither_overlap_nor_leave_their_structure(string structure)
    {
        int end = 0;
        foreach (XnField field in Document(structure))
        {
            Assert.True(field.OffsetBytes >= end, $"{structure}.{field.Name} overlaps the field before it");
            end = field.OffsetBytes + field.SizeBytes;
        }

        Assert.True(end <= Number(Regex.Match(Text(), $"layout: {structure} size (\\d+)").Groups[1].Value), $"{structure} is longer than stated");
    }

    private static string Text([CallerFilePath] string here = "") =>
        File.ReadAllText(Path.Combine(Path.GetDirectoryName(here)!, "../../../docs/xn-format.md"));

    private static XnField[] Document(string structure)
    {
        string text = Text();
        int start = text.IndexOf($"<!-- layout: {structure} size", StringComparison.Ordinal);
        Assert.True(start >= 0, $"the document has no table for {structure}");
        return
        [
            .. text[start..].Split('\n').Skip(1).SkipWhile(line => !line.StartsWith('|')).TakeWhile(line => line.StartsWith('|'))
                .Select(line => Row().Match(line)).Where(match => match.Success)
                .Select(match => new XnField(match.Groups[3].Value, Number(match.Groups[1].Value), Number(match.Groups[2].Value))),
        ];
    }

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^\| (\d+) \| (\d+) \| (\w+) \|")]
    private static partial Regex Row();
}
