// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;

namespace Exo.Core.Predicates;

/// <summary>A predicate as people read it: <c>17[0] != 18[0] | 17[8] != 0</c>, a word as frame and offset.</summary>
internal static class PredicateText
{
    private const int LengthMax = 200;
    private const string Cut = "...";

    /// <summary>At most 200 characters; what is cut off ends in dots.</summary>
    public static string Of(ReadOnlySpan<PredicateProduct> products)
    {
        StringBuilder text = new();
        foreach (PredicateProduct product in products)
        {
            text.Append(text.Length == 0 ? "" : " | ");
            for (int i = 0; i < product.Terms.Length && text.Length <= LengthMax; i++)
            {
                PredicateTerm term = product.Terms[i];
                text.Append(i == 0 ? "" : " & ").Append(Of(term.Left)).Append(' ').Append(Sign(term.Comparison)).Append(' ').Append(Of(term.Right));
            }

            text.Append(product.Terms.Length == 0 ? "always" : "");
            if (text.Length > LengthMax)
            {
                text.Length = LengthMax - Cut.Length;
                return text.Append(Cut).ToString();
            }
        }

        return text.ToString();
    }

    private static string Of(PredicateValue value) => value.Kind switch
    {
        PredicateValueKind.Constant => value.Constant.ToString(CultureInfo.InvariantCulture),
        PredicateValueKind.Time => "now",
        _ => string.Create(CultureInfo.InvariantCulture, $"{value.Binding.Named.Number.Value}[{value.OffsetBytes}]"),
    };

    private static string Sign(PredicateComparison comparison) => comparison switch
    {
        PredicateComparison.Equal => "==",
        PredicateComparison.NotEqual => "!=",
        PredicateComparison.Above => ">",
        PredicateComparison.AtLeast => ">=",
        PredicateComparison.Below => "<",
        _ => "<=",
    };
}
