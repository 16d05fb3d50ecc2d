// SPDX-License-Identifier: MIT
namespace Exo.Core.Predicates;

/// <summary>How the two sides of a <see cref="PredicateTerm"/> are compared, as unsigned numbers of 64 bits.</summary>
public enum PredicateComparison : byte
{
    /// <summary>The same.</summary>
    Equal = 0,

    /// <summary>Different.</summary>
    NotEqual = 1,

    /// <summary>The left is greater.</summary>
    Above = 2,

    /// <summary>The left is greater, or the same.</summary>
    AtLeast = 3,

    /// <summary>The left is smaller.</summary>
    Below = 4,

    /// <summary>The left is smaller, or the same.</summary>
    AtMost = 5,
}

/// <summary>One comparison.</summary>
/// <param name="Left">The left side.</param>
/// <param name="Comparison">How.</param>
/// <param name="Right">The right side.</param>
public readonly record struct PredicateTerm(PredicateValue Left, PredicateComparison Comparison, PredicateValue Right)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Left} {Comparison} {Right}";
}

/// <summary>Terms that must all hold, and the tag that tells that they did. Without terms it always holds.</summary>
public sealed class PredicateProduct
{
    /// <summary>Makes a product.</summary>
    /// <param name="tag">What a sleeper is given when this product wakes it; not zero. Several products may have the same.</param>
    /// <param name="terms">The terms.</param>
    /// <exception cref="ArgumentOutOfRangeException">The tag is zero.</exception>
    public PredicateProduct(ulong tag, params ReadOnlySpan<PredicateTerm> terms)
    {
        ArgumentOutOfRangeException.ThrowIfZero(tag);
        Tag = tag;
        Terms = [.. terms];
    }

    /// <summary>What a sleeper is given when this product wakes it.</summary>
    public ulong Tag { get; }

    internal PredicateTerm[] Terms { get; }
}

/// <summary>A predicate that cannot be bound; nothing was bound.</summary>
public sealed class PredicateRejectedException : Exception
{
    internal PredicateRejectedException(int product, int term, string message, Exception? inner = null)
        : base(product < 0 ? message : term < 0 ? $"product {product}: {message}" : $"product {product}, term {term}: {message}", inner)
    {
        Product = product;
        Term = term;
    }

    /// <summary>The product at fault, from 0; -1 when it is the whole.</summary>
    public int Product { get; }

    /// <summary>The term at fault, from 0; -1 when it is the whole product.</summary>
    public int Term { get; }
}
