// SPDX-License-Identifier: MIT
namespace Exo.Capabilities;

/// <summary>The protection layer refused a call. Nothing was changed.</summary>
public sealed class AccessDeniedException : UnauthorizedAccessException
{
    /// <summary>Names the resource, the right wanted and the rule that was broken.</summary>
    public AccessDeniedException(string resource, Rights wanted, AccessRefusal refusal)
        : base($"access to {resource} refused: wanted {wanted}, {Describe(refusal)}")
    {
        Resource = resource;
        Wanted = wanted;
        Refusal = refusal;
    }

    /// <summary>What was to be used.</summary>
    public string Resource { get; }

    /// <summary>With which right.</summary>
    public Rights Wanted { get; }

    /// <summary>The rule that was broken.</summary>
    public AccessRefusal Refusal { get; }

    private static string Describe(AccessRefusal refusal) => refusal switch
    {
        AccessRefusal.NoValidCapability => "the credential holds no valid capability",
        AccessRefusal.RightNotHeld => "no capability presented carries the right",
        AccessRefusal.NotDominated => "no capability presented governs it",
        AccessRefusal.OwnerEntryMustKeepAllRights => "the owner's entry must keep all rights",
        AccessRefusal.IndexOutOfRange => "the position is out of range",
        AccessRefusal.NotOffered => "nothing was offered",
        AccessRefusal.Revoked => "it has been revoked",
        _ => refusal.ToString(),
    };
}
