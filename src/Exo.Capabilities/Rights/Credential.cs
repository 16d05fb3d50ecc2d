// SPDX-License-Identifier: MIT
namespace Exo.Capabilities;

/// <summary>
/// What a caller presents with a call: the capabilities that it relies on for that call. There is no ambient authority; every guarded call takes one.
/// Immutable and thread-safe.
/// </summary>
public sealed class Credential
{
    private readonly Capability[] _capabilities;

    private Credential(Capability[] capabilities) => _capabilities = capabilities;

    /// <summary>The capabilities presented; some may have been revoked since.</summary>
    public ReadOnlySpan<Capability> Capabilities => _capabilities;

    /// <summary>Presents these capabilities.</summary>
    /// <exception cref="ArgumentException">None, or a null one.</exception>
    public static Credential Of(params ReadOnlySpan<Capability> capabilities)
    {
        if (capabilities.IsEmpty || capabilities.Contains(null!))
        {
            throw new ArgumentException("a credential presents at least one capability", nameof(capabilities));
        }

        return new Credential(capabilities.ToArray());
    }

    /// <inheritdoc/>
    public override string ToString() => string.Join(", ", (object[])_capabilities);
}
